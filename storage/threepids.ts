/** Third-party identifiers of accounts: https://spec.matrix.org/v1.19/client-server-api/#adding-account-administrative-contact-information */

import type { UserId } from '#keys/ids.ts';
import type { Reader, Tx } from './database.ts';
import * as pushers from './pushers.ts';
import { sql } from './sql.ts';

/** An address of a user, in canonical form. Times are in milliseconds since 1970. */
export interface Threepid {
  readonly medium: string;
  readonly address: string;
  readonly validatedTs: number;
  readonly addedTs: number;
}

interface ThreepidRow {
  medium: string;
  address: string;
  validated_ts: number;
  added_ts: number;
}

const OWNER = sql<[string, string], { user_id: UserId }>(
  'threepids.owner',
  'SELECT user_id FROM user_threepids WHERE medium = ? AND address = ?',
);

const OF_USER = sql<[string], ThreepidRow>(
  'threepids.ofUser',
  `SELECT medium, address, validated_ts, added_ts FROM user_threepids WHERE user_id = ?
   ORDER BY medium, address`,
);

const ADD = sql<[string, string, string, number, number]>(
  'threepids.add',
  `INSERT INTO user_threepids (medium, address, user_id, validated_ts, added_ts) VALUES (?, ?, ?, ?, ?)
   ON CONFLICT (medium, address) DO NOTHING`,
);

const REMOVE = sql<[string, string, string]>(
  'threepids.remove',
  'DELETE FROM user_threepids WHERE user_id = ? AND medium = ? AND address = ?',
);

const CLEAR = sql<[string]>('threepids.clear', 'DELETE FROM user_threepids WHERE user_id = ?');

/** Whose address this is, given in canonical form. */
export async function ownerOf(reader: Reader, medium: string, address: string): Promise<UserId | undefined> {
  return (await reader.get(OWNER, medium, address))?.user_id;
}

/** The addresses of a user, in their order. */
export async function ofUser(reader: Reader, userId: UserId): Promise<Threepid[]> {
  const rows = await reader.all(OF_USER, userId);
  return rows.map((row) => ({
    medium: row.medium,
    address: row.address,
    validatedTs: row.validated_ts,
    addedTs: row.added_ts,
  }));
}

/** Adds an address to an account; false where it is somebody's already, perhaps this user's. */
export async function add(tx: Tx, userId: UserId, threepid: Threepid): Promise<boolean> {
  const { medium, address, validatedTs, addedTs } = threepid;
  return (await tx.run(ADD, medium, address, userId, validatedTs, addedTs)) === 1;
}

/** Takes an address from an account, which gets no letters there any more; false where it is not this user's. */
export async function remove(
  tx: Tx,
  userId: UserId,
  { medium, address }: Pick<Threepid, 'medium' | 'address'>,
): Promise<boolean> {
  if (medium === 'email') await pushers.removeOfAddress(tx, userId, address);
  return (await tx.run(REMOVE, userId, medium, address)) === 1;
}

/** Takes all addresses from an account: they may be given to another one. */
export async function clear(tx: Tx, userId: UserId): Promise<void> {
  await pushers.removeMail(tx, userId);
  await tx.run(CLEAR, userId);
}
