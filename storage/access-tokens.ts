import type { UserId } from '#keys/ids.ts';
import type { Reader, Tx } from './database.ts';
import { sql } from './sql.ts';

/** Whose token it is. Times are in milliseconds since 1970. */
export interface TokenOwner {
  readonly userId: UserId;
  readonly deviceId: string;
  readonly isAdmin: boolean;
  readonly isGuest: boolean;
  readonly isLocked: boolean;
  readonly isSuspended: boolean;
  /** Undefined for a token that does not end by itself. */
  readonly expiresTs: number | undefined;
  /** The refresh token for which this one was given out, as long as that is still good. */
  readonly replaces: string | undefined;
}

interface OwnerRow {
  user_id: UserId;
  device_id: string;
  is_admin: number;
  is_guest: number;
  locked_ts: number | null;
  suspended_ts: number | null;
  expires_ts: number | null;
  replaces: string | null;
}

const OWNER = sql<[string], OwnerRow>(
  'accessTokens.owner',
  `SELECT t.user_id, t.device_id, u.is_admin, u.is_guest, u.locked_ts, u.suspended_ts, t.expires_ts,
     r.token_hash AS replaces
   FROM access_tokens t JOIN users u ON u.user_id = t.user_id
   LEFT JOIN refresh_tokens r ON r.next_hash = t.refresh_hash AND r.spent_ts IS NULL
   WHERE t.token_hash = ? AND u.deactivated_ts IS NULL`,
);

const ADD = sql<[string, string, string, number, number | null, string | null]>(
  'accessTokens.add',
  `INSERT INTO access_tokens (token_hash, user_id, device_id, created_ts, expires_ts, refresh_hash)
   VALUES (?, ?, ?, ?, ?, ?)`,
);

const REMOVE_OF_DEVICE = sql<[string, string]>(
  'accessTokens.removeOfDevice',
  'DELETE FROM access_tokens WHERE user_id = ? AND device_id = ?',
);

const REMOVE_EXPIRED = sql<[string, string, number]>(
  'accessTokens.removeExpired',
  'DELETE FROM access_tokens WHERE user_id = ? AND device_id = ? AND expires_ts <= ?',
);

const EXPIRE_OF_REFRESH = sql<[number, string, number]>(
  'accessTokens.expireOfRefresh',
  'UPDATE access_tokens SET expires_ts = ? WHERE refresh_hash = ? AND (expires_ts IS NULL OR expires_ts > ?)',
);

const EXPIRE_OF_DEVICE = sql<[number, string, string, number]>(
  'accessTokens.expireOfDevice',
  `UPDATE access_tokens SET expires_ts = ?
   WHERE user_id = ? AND device_id = ? AND (expires_ts IS NULL OR expires_ts > ?)`,
);

/** Whose token it is, by its hash, also of one that has expired; undefined where the account is deactivated. */
export async function ownerOf(reader: Reader, tokenHash: string): Promise<TokenOwner | undefined> {
  const row = await reader.get(OWNER, tokenHash);
  return (
    row && {
      userId: row.user_id,
      deviceId: row.device_id,
      isAdmin: row.is_admin === 1,
      isGuest: row.is_guest === 1,
      isLocked: row.locked_ts !== null,
      isSuspended: row.suspended_ts !== null,
      expiresTs: row.expires_ts ?? undefined,
      replaces: row.replaces ?? undefined,
    }
  );
}

export interface NewAccessToken {
  readonly hash: string;
  readonly userId: UserId;
  readonly deviceId: string;
  readonly now: number;
  readonly expiresTs?: number | undefined;
  /** The hash of the refresh token that is given out with it. */
  readonly refreshHash?: string | undefined;
}

/** Gives a device a token, of which only the hash is stored. */
export async function add(tx: Tx, token: NewAccessToken): Promise<void> {
  const { hash, userId, deviceId, now, expiresTs = null, refreshHash = null } = token;
  await tx.run(ADD, hash, userId, deviceId, now, expiresTs, refreshHash);
}

/** Removes the tokens of a device. */
export async function removeOfDevice(tx: Tx, userId: UserId, deviceId: string): Promise<void> {
  await tx.run(REMOVE_OF_DEVICE, userId, deviceId);
}

/** Forgets those tokens of a device that have expired by `ts`. */
export async function removeExpired(
  tx: Tx,
  device: { userId: UserId; deviceId: string },
  ts: number,
): Promise<void> {
  await tx.run(REMOVE_EXPIRED, device.userId, device.deviceId, ts);
}

/** Ends the token that was given out with a refresh token, as one that expires. */
export async function expireOfRefresh(tx: Tx, refreshHash: string, now: number): Promise<void> {
  await tx.run(EXPIRE_OF_REFRESH, now, refreshHash, now);
}

/** Ends the tokens of a device, as those that expire. */
export async function expireOfDevice(
  tx: Tx,
  device: { userId: UserId; deviceId: string },
  now: number,
): Promise<void> {
  await tx.run(EXPIRE_OF_DEVICE, now, device.userId, device.deviceId, now);
}
