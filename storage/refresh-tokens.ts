import type { UserId } from '#keys/ids.ts';
import type { Reader, Tx } from './database.ts';
import { sql } from './sql.ts';

/** A token by which a device gets new ones. Times are in milliseconds since 1970. */
export interface RefreshToken {
  readonly hash: string;
  readonly userId: UserId;
  readonly deviceId: string;
  readonly expiresTs: number | undefined;
  /** The token that was given out for it. */
  readonly nextHash: string | undefined;
  /** Since when that one is in use, and this one is good for nothing. */
  readonly spentTs: number | undefined;
}

interface Row {
  token_hash: string;
  user_id: UserId;
  device_id: string;
  expires_ts: number | null;
  next_hash: string | null;
  spent_ts: number | null;
}

const COLUMNS = 'token_hash, user_id, device_id, expires_ts, next_hash, spent_ts';

const OF = sql<[string], Row>(
  'refreshTokens.of',
  `SELECT ${COLUMNS} FROM refresh_tokens WHERE token_hash = ?`,
);

const BEFORE = sql<[string], Row>(
  'refreshTokens.before',
  `SELECT ${COLUMNS} FROM refresh_tokens WHERE next_hash = ? ORDER BY token_hash LIMIT 1`,
);

const ADD = sql<[string, string, string, number | null]>(
  'refreshTokens.add',
  'INSERT INTO refresh_tokens (token_hash, user_id, device_id, expires_ts) VALUES (?, ?, ?, ?)',
);

const SET_NEXT = sql<[string, string]>(
  'refreshTokens.setNext',
  'UPDATE refresh_tokens SET next_hash = ? WHERE token_hash = ?',
);

const SPEND = sql<[number, string]>(
  'refreshTokens.spend',
  'UPDATE refresh_tokens SET spent_ts = ? WHERE token_hash = ? AND spent_ts IS NULL',
);

const REMOVE = sql<[string]>('refreshTokens.remove', 'DELETE FROM refresh_tokens WHERE token_hash = ?');

const REMOVE_OF_DEVICE = sql<[string, string]>(
  'refreshTokens.removeOfDevice',
  'DELETE FROM refresh_tokens WHERE user_id = ? AND device_id = ?',
);

const REMOVE_SPENT = sql<[string, string, number]>(
  'refreshTokens.removeSpent',
  'DELETE FROM refresh_tokens WHERE user_id = ? AND device_id = ? AND spent_ts < ?',
);

/** A token by its hash. */
export async function of(reader: Reader, hash: string): Promise<RefreshToken | undefined> {
  const row = await reader.get(OF, hash);
  return row && tokenOf(row);
}

/** The token for which this one was given out. */
export async function before(reader: Reader, hash: string): Promise<RefreshToken | undefined> {
  const row = await reader.get(BEFORE, hash);
  return row && tokenOf(row);
}

/** Gives a device a token, of which only the hash is stored. */
export async function add(
  tx: Tx,
  token: { hash: string; userId: UserId; deviceId: string; expiresTs: number | undefined },
): Promise<void> {
  await tx.run(ADD, token.hash, token.userId, token.deviceId, token.expiresTs ?? null);
}

/** Notes which token was given out for another. */
export async function setNext(tx: Tx, hash: string, nextHash: string): Promise<void> {
  await tx.run(SET_NEXT, nextHash, hash);
}

/** Says that the next token is in use. */
export async function spend(tx: Tx, hash: string, now: number): Promise<void> {
  await tx.run(SPEND, now, hash);
}

/** Removes one token. */
export async function remove(tx: Tx, hash: string): Promise<void> {
  await tx.run(REMOVE, hash);
}

/** Removes the tokens of a device. */
export async function removeOfDevice(tx: Tx, userId: UserId, deviceId: string): Promise<void> {
  await tx.run(REMOVE_OF_DEVICE, userId, deviceId);
}

/** Forgets those tokens of a device that were spent before `ts`. */
export async function removeSpent(
  tx: Tx,
  device: { userId: UserId; deviceId: string },
  ts: number,
): Promise<void> {
  await tx.run(REMOVE_SPENT, device.userId, device.deviceId, ts);
}

function tokenOf(row: Row): RefreshToken {
  return {
    hash: row.token_hash,
    userId: row.user_id,
    deviceId: row.device_id,
    expiresTs: row.expires_ts ?? undefined,
    nextHash: row.next_hash ?? undefined,
    spentTs: row.spent_ts ?? undefined,
  };
}
