import type { UserId } from '#keys/ids.ts';
import type { Reader, Tx } from './database.ts';
import { sql } from './sql.ts';

const ADD = sql<[string, string, number]>(
  'openidTokens.add',
  'INSERT INTO openid_tokens (token_hash, user_id, expires_ts) VALUES (?, ?, ?)',
);
const FORGET = sql<[number]>('openidTokens.forget', 'DELETE FROM openid_tokens WHERE expires_ts <= ?');
const OWNER = sql<[string, number], { user_id: UserId }>(
  'openidTokens.owner',
  `SELECT t.user_id FROM openid_tokens t JOIN users u ON u.user_id = t.user_id
   WHERE t.token_hash = ? AND t.expires_ts > ? AND u.deactivated_ts IS NULL`,
);

const REMOVE_OF_USER = sql<[string]>(
  'openidTokens.removeOfUser',
  'DELETE FROM openid_tokens WHERE user_id = ?',
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

/** Whose token it is, by its hash; undefined where it has expired or the account is deactivated. */
export async function ownerOf(reader: Reader, hash: string, now: number): Promise<UserId | undefined> {
  return (await reader.get(OWNER, hash, now))?.user_id;
}

/** Removes the tokens of a user. */
export async function removeOfUser(tx: Tx, userId: UserId): Promise<void> {
  await tx.run(REMOVE_OF_USER, userId);
}
