import type { UserId } from '#keys/ids.ts';
import type { Tx } from './database.ts';
import { sql } from './sql.ts';

const ADD = sql<[string, string, number]>(
  'loginTokens.add',
  'INSERT INTO login_tokens (token_hash, user_id, expires_ts) VALUES (?, ?, ?)',
);
const FORGET = sql<[number]>('loginTokens.forget', 'DELETE FROM login_tokens WHERE expires_ts <= ?');
const OWNER = sql<[string, number], { user_id: UserId }>(
  'loginTokens.owner',
  'SELECT user_id FROM login_tokens WHERE token_hash = ? AND expires_ts > ?',
);
const REMOVE = sql<[string]>('loginTokens.remove', 'DELETE FROM login_tokens WHERE token_hash = ?');
const REMOVE_OF_USER = sql<[string]>(
  'loginTokens.removeOfUser',
  'DELETE FROM login_tokens WHERE user_id = ?',
);

/** Stores a token's hash, and forgets those that have expired. Times are in milliseconds since 1970. */
export async function add(
  tx: Tx,
  token: { readonly hash: string; readonly userId: UserId; readonly expiresTs: number },
  now: number,
): Promise<void> {
  await tx.run(FORGET, now);
  await tx.run(ADD, token.hash, token.userId, token.expiresTs);
}

/** Uses a token up, and answers whose it was; undefined where it is not known or has expired. */
export async function take(tx: Tx, hash: string, now: number): Promise<UserId | undefined> {
  const row = await tx.get(OWNER, hash, now);
  await tx.run(REMOVE, hash);
  return row?.user_id;
}

/** Removes the tokens of a user. */
export async function removeOfUser(tx: Tx, userId: UserId): Promise<void> {
  await tx.run(REMOVE_OF_USER, userId);
}
