import type { UserId } from '#keys/ids.ts';
import type { Reader, Tx } from './database.ts';
import { sql } from './sql.ts';

/** Whose token it is. */
export interface TokenOwner {
  readonly userId: UserId;
  readonly deviceId: string;
  readonly isAdmin: boolean;
}

const OWNER = sql<[string], { user_id: UserId; device_id: string; is_admin: number }>(
  'accessTokens.owner',
  `SELECT t.user_id, t.device_id, u.is_admin FROM access_tokens t JOIN users u ON u.user_id = t.user_id
   WHERE t.token_hash = ? AND u.deactivated_ts IS NULL`,
);

const ADD = sql<[string, string, string, number]>(
  'accessTokens.add',
  'INSERT INTO access_tokens (token_hash, user_id, device_id, created_ts) VALUES (?, ?, ?, ?)',
);

const REMOVE_OF_DEVICE = sql<[string, string]>(
  'accessTokens.removeOfDevice',
  'DELETE FROM access_tokens WHERE user_id = ? AND device_id = ?',
);

/** Whose token it is, by its hash; undefined also where the account is deactivated. */
export async function ownerOf(reader: Reader, tokenHash: string): Promise<TokenOwner | undefined> {
  const row = await reader.get(OWNER, tokenHash);
  return row && { userId: row.user_id, deviceId: row.device_id, isAdmin: row.is_admin === 1 };
}

/** Gives a device a token, of which only the hash is stored. */
export async function add(
  tx: Tx,
  token: { hash: string; userId: UserId; deviceId: string; now: number },
): Promise<void> {
  await tx.run(ADD, token.hash, token.userId, token.deviceId, token.now);
}

/** Removes the tokens of a device. */
export async function removeOfDevice(tx: Tx, userId: UserId, deviceId: string): Promise<void> {
  await tx.run(REMOVE_OF_DEVICE, userId, deviceId);
}
