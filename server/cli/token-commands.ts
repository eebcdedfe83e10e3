import type { JsonObject } from '#keys/json.ts';
import type { Config } from '../config-options.ts';
import { carryOut } from './carry-out.ts';
import type { Outcome } from './operations.ts';
import { performOnTokens, usesOf } from './token-operations.ts';
import { UsageError } from './usage.ts';

export interface TokenFlags {
  readonly uses: string | undefined;
  readonly expires: string | undefined;
  readonly note: string | undefined;
}

const USES = '1';
const EXPIRES = '7d';

/** Makes a registration token, and prints it. */
export function newRegistrationToken(config: Config, flags: TokenFlags): Promise<Outcome> {
  const { uses: given = USES, expires = EXPIRES, note = '' } = flags;
  const uses = usesOf(given);
  if (uses === undefined) throw new UsageError(`--uses ${given} is neither a number nor "any": see --help`);
  const { publicBaseurl: base = '' } = config;
  return operate(config, {
    ...{ operation: 'token.new', expires, note, base },
    ...(uses !== 'any' && { uses }),
  });
}

export function listRegistrationTokens(config: Config): Promise<Outcome> {
  return operate(config, { operation: 'token.list' });
}

/** Ends a token, given by itself or by its id in the list. */
export function revokeRegistrationToken(config: Config, token: string): Promise<Outcome> {
  return operate(config, { operation: 'token.revoke', token });
}

/** By the running server where there is one, else on its database. */
function operate(config: Config, operation: JsonObject): Promise<Outcome> {
  return carryOut(config, operation, (opened) => performOnTokens(opened, operation));
}
