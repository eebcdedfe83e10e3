import { isServerName } from '#keys/ids.ts';
import type { Config } from '../config-options.ts';
import { carryOut } from './carry-out.ts';
import { performOnFederation } from './federation-operations.ts';
import type { Outcome } from './operations.ts';
import { UsageError } from './usage.ts';

/** Sends again what was set aside for a server: by the running server where there is one, else when it starts. */
export async function resendTo(config: Config, server: string): Promise<Outcome> {
  if (!isServerName(server)) {
    throw new UsageError(`"${server}" is not the name of a server: such as example.org, or example.org:8448`);
  }
  const operation = { operation: 'federation.resend', server };
  return carryOut(config, operation, ({ db }) => performOnFederation({ db }, operation));
}
