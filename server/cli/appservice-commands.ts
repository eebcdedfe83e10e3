import { readFile } from 'node:fs/promises';
import type { JsonObject } from '#keys/json.ts';
import type { Config } from '../config-options.ts';
import { performOnAppservices, policyOfFlags } from './appservice-operations.ts';
import { carryOut } from './carry-out.ts';
import type { Outcome } from './operations.ts';
import { UsageError } from './usage.ts';

export interface PolicyFlags {
  readonly noFederation: boolean;
  readonly noPublicRooms: boolean;
  readonly maxMembers: string | undefined;
}

/** More than a registration may have, and less than the line to the server takes. */
const LARGEST_FILE = 48 * 1024;

/** Adds the application service of a registration file. */
export async function addAppservice(config: Config, file: string, flags: PolicyFlags): Promise<Outcome> {
  const policy = policyOfFlags(flags);
  if (policy === undefined)
    throw new UsageError(`--max-members ${flags.maxMembers} is no number: see --help`);
  const registration = await readFile(file, 'utf8').catch((cause: NodeJS.ErrnoException) => {
    throw new UsageError(`${file} cannot be read (${cause.code})`, { cause });
  });
  if (Buffer.byteLength(registration) > LARGEST_FILE) {
    return { kind: 'refused', problem: `${file} is too large for a registration` };
  }
  return operate(config, { operation: 'appservice.add', registration, policy });
}

export function removeAppservice(config: Config, id: string): Promise<Outcome> {
  return operate(config, { operation: 'appservice.remove', id });
}

export function listAppservices(config: Config): Promise<Outcome> {
  return operate(config, { operation: 'appservice.list' });
}

/** How the services take what they are told; or one of them. */
export function appserviceStatus(config: Config, id: string | undefined): Promise<Outcome> {
  return operate(config, { operation: 'appservice.status', ...(id !== undefined && { id }) });
}

/** By the running server where there is one, else on its database. */
function operate(config: Config, operation: JsonObject): Promise<Outcome> {
  return carryOut(config, operation, ({ db, serverName, clock }) =>
    performOnAppservices({ db, serverName, clock }, operation),
  );
}
