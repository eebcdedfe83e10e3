/** Codes that let those in who have lost their second factor, stored as hashes. */

import type { UserId } from '#keys/ids.ts';
import type { Reader, Tx } from './database.ts';
import { sql } from './sql.ts';

const ADD = sql<[string, string]>(
  'recoveryCodes.add',
  'INSERT INTO recovery_codes (user_id, code_hash) VALUES (?, ?) ON CONFLICT (user_id, code_hash) DO NOTHING',
);
const TAKE = sql<[string, string]>(
  'recoveryCodes.take',
  'DELETE FROM recovery_codes WHERE user_id = ? AND code_hash = ?',
);
const COUNT = sql<[string], { count: number }>(
  'recoveryCodes.count',
  'SELECT COUNT(*) AS count FROM recovery_codes WHERE user_id = ?',
);
const CLEAR = sql<[string]>('recoveryCodes.clear', 'DELETE FROM recovery_codes WHERE user_id = ?');

/** Gives a user other codes: the earlier ones are good no more. */
export async function replace(tx: Tx, userId: UserId, hashes: readonly string[]): Promise<void> {
  await clear(tx, userId);
  // One by one: there are ten.
  for (const hash of hashes) await tx.run(ADD, userId, hash);
}

/** Uses a code up; false where the user has no such code. */
export async function take(tx: Tx, userId: UserId, hash: string): Promise<boolean> {
  return (await tx.run(TAKE, userId, hash)) === 1;
}

/** How many are left. */
export async function count(reader: Reader, userId: UserId): Promise<number> {
  return Number((await reader.get(COUNT, userId))?.count ?? 0);
}

export async function clear(tx: Tx, userId: UserId): Promise<void> {
  await tx.run(CLEAR, userId);
}
