import type { UserId } from '#keys/ids.ts';
import type { Tx } from './database.ts';
import type { Origin } from './device-origins.ts';
import { sql } from './sql.ts';

const ADD = sql<[string, string, number, string | null, string | null, string | null]>(
  'loginTokens.add',
  `INSERT INTO login_tokens (token_hash, user_id, expires_ts, provider, subject, sid)
   VALUES (?, ?, ?, ?, ?, ?)`,
);
const FORGET = sql<[number]>('loginTokens.forget', 'DELETE FROM login_tokens WHERE expires_ts <= ?');
const OWNER = sql<
  [string, number],
  { user_id: UserId; provider: string | null; subject: string | null; sid: string | null }
>(
  'loginTokens.owner',
  `SELECT user_id, provider, subject, sid FROM login_tokens WHERE token_hash = ? AND expires_ts > ?`,
);
const REMOVE = sql<[string]>('loginTokens.remove', 'DELETE FROM login_tokens WHERE token_hash = ?');
const REMOVE_OF_USER = sql<[string]>(
  'loginTokens.removeOfUser',
  'DELETE FROM login_tokens WHERE user_id = ?',
);

const REMOVE_OF_SID = sql<[string, string]>(
  'loginTokens.removeOfSid',
  'DELETE FROM login_tokens WHERE provider = ? AND sid = ?',
);

/** Who signs in by a token, and which session of an identity provider they do it by, where it is one. */
export interface LoginToken {
  readonly userId: UserId;
  readonly origin?: Origin | undefined;
}

/** Stores a token's hash, and forgets those that have expired. Times are in milliseconds since 1970. */
export async function add(
  tx: Tx,
  token: LoginToken & { readonly hash: string; readonly expiresTs: number },
  now: number,
): Promise<void> {
  const { hash, userId, expiresTs, origin } = token;
  await tx.run(FORGET, now);
  const { provider = null, subject = null, sid = null } = origin ?? {};
  await tx.run(ADD, hash, userId, expiresTs, provider, subject, sid);
}

/** Uses a token up, and answers what it stands for; undefined where it is not known or has expired. */
export async function take(tx: Tx, hash: string, now: number): Promise<LoginToken | undefined> {
  const row = await tx.get(OWNER, hash, now);
  await tx.run(REMOVE, hash);
  if (row === undefined) return undefined;
  const { user_id: userId, provider, subject, sid } = row;
  if (provider === null || subject === null) return { userId };
  return { userId, origin: { provider, subject, sid: sid ?? undefined } };
}

/** Removes the tokens of a user. */
export async function removeOfUser(tx: Tx, userId: UserId): Promise<void> {
  await tx.run(REMOVE_OF_USER, userId);
}

/** Removes those that belong to one session of an identity provider. */
export async function removeOfSid(tx: Tx, provider: string, sid: string): Promise<void> {
  await tx.run(REMOVE_OF_SID, provider, sid);
}
