import type { KeyId, ServerName } from '#keys/ids.ts';
import * as contradictedKeys from '#storage/contradicted-keys.ts';
import type { Reader } from '#storage/database.ts';
import * as serverKeys from '#storage/server-keys.ts';
import { type Fault, keyFault } from '../fault.ts';

/** A server whose key changed and kept its id, so that nothing of it is verified. */
export interface KeyFault {
  readonly server: ServerName;
  readonly fault: Fault;
  /** Since when, in milliseconds since 1970. */
  readonly sinceTs: number;
}

const MOST = 1_000;

/** All servers with such a fault, at most 1,000, by name. */
export async function keyFaults(db: Reader): Promise<KeyFault[]> {
  const noted = await contradictedKeys.list(db, MOST);
  const found: KeyFault[] = [];
  // One after the other: there are few.
  for (const each of noted) found.push(...(await judged(db, each)));
  return found;
}

/** The fault of one server; undefined where there is none. */
export async function keyFaultOf(db: Reader, server: ServerName): Promise<KeyFault | undefined> {
  const noted = await contradictedKeys.of(db, server);
  return noted === undefined ? undefined : (await judged(db, noted))[0];
}

async function judged(
  db: Reader,
  { server, keys, notedTs }: contradictedKeys.ContradictedKeys,
): Promise<KeyFault[]> {
  const known = (await serverKeys.of(db, server))?.keys ?? new Map();
  const before = new Map<KeyId, string>([...known].map(([keyId, { publicKey }]) => [keyId, publicKey]));
  const fault = keyFault(before, keys);
  return fault === undefined ? [] : [{ server, fault, sinceTs: notedTs }];
}
