/** Passkeys, which are WebAuthn credentials: https://www.w3.org/TR/webauthn-3/#sctn-credential-storage-modality */

import type { UserId } from '#keys/ids.ts';
import type { Reader, Tx } from './database.ts';
import { sql } from './sql.ts';

/** Times are in milliseconds since 1970. */
export interface Passkey {
  /** In URL-safe Base64, as is the key. */
  readonly credentialId: string;
  readonly userId: UserId;
  /** COSE. */
  readonly publicKey: string;
  readonly counter: number;
  readonly transports: readonly string[];
  readonly name: string;
  readonly createdTs: number;
  readonly usedTs: number | undefined;
}

interface Row {
  credential_id: string;
  user_id: UserId;
  public_key: string;
  counter: number;
  transports: string;
  name: string;
  created_ts: number;
  used_ts: number | null;
}

const COLUMNS = 'credential_id, user_id, public_key, counter, transports, name, created_ts, used_ts';

const ADD = sql<[string, string, string, number, string, string, number]>(
  'passkeys.add',
  `INSERT INTO passkeys (credential_id, user_id, public_key, counter, transports, name, created_ts, used_ts)
   VALUES (?, ?, ?, ?, ?, ?, ?, NULL) ON CONFLICT (credential_id) DO NOTHING`,
);
const OF = sql<[string], Row>('passkeys.of', `SELECT ${COLUMNS} FROM passkeys WHERE credential_id = ?`);
const OF_USER = sql<[string], Row>(
  'passkeys.ofUser',
  `SELECT ${COLUMNS} FROM passkeys WHERE user_id = ? ORDER BY created_ts, credential_id`,
);
const USE = sql<[number, number, string]>(
  'passkeys.use',
  'UPDATE passkeys SET counter = ?, used_ts = ? WHERE credential_id = ?',
);
const REMOVE = sql<[string, string]>(
  'passkeys.remove',
  'DELETE FROM passkeys WHERE user_id = ? AND credential_id = ?',
);
const CLEAR = sql<[string]>('passkeys.clear', 'DELETE FROM passkeys WHERE user_id = ?');

/** Adds a passkey; false where it is somebody's already. */
export async function add(tx: Tx, passkey: Omit<Passkey, 'usedTs'>): Promise<boolean> {
  const { credentialId, userId, publicKey, counter, transports, name, createdTs } = passkey;
  const added = await tx.run(
    ADD,
    credentialId,
    userId,
    publicKey,
    counter,
    transports.join(','),
    name,
    createdTs,
  );
  return added === 1;
}

export async function of(reader: Reader, credentialId: string): Promise<Passkey | undefined> {
  const row = await reader.get(OF, credentialId);
  return row && passkeyOf(row);
}

/** Those of a user, in the order in which they were added. */
export async function ofUser(reader: Reader, userId: UserId): Promise<Passkey[]> {
  return (await reader.all(OF_USER, userId)).map(passkeyOf);
}

/** Notes a use, with the counter that the passkey told. */
export async function use(
  tx: Tx,
  credentialId: string,
  { counter, now }: { counter: number; now: number },
): Promise<void> {
  await tx.run(USE, counter, now, credentialId);
}

/** Removes a passkey of a user; false where they have no such. */
export async function remove(tx: Tx, userId: UserId, credentialId: string): Promise<boolean> {
  return (await tx.run(REMOVE, userId, credentialId)) === 1;
}

export async function clear(tx: Tx, userId: UserId): Promise<void> {
  await tx.run(CLEAR, userId);
}

function passkeyOf(row: Row): Passkey {
  return {
    credentialId: row.credential_id,
    userId: row.user_id,
    publicKey: row.public_key,
    counter: row.counter,
    transports: row.transports === '' ? [] : row.transports.split(','),
    name: row.name,
    createdTs: row.created_ts,
    usedTs: row.used_ts ?? undefined,
  };
}
