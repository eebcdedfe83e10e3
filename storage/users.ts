import type { UserId } from '#keys/ids.ts';
import type { Reader, Tx } from './database.ts';
import * as directoryWords from './directory-words.ts';
import { anyOf, sql } from './sql.ts';

/** An account of this server. Times are in milliseconds since 1970. */
export interface User {
  readonly userId: UserId;
  /** Undefined for an account that cannot sign in by password. */
  readonly passwordHash: string | undefined;
  readonly isAdmin: boolean;
  readonly createdTs: number;
  readonly deactivatedTs: number | undefined;
}

interface UserRow {
  user_id: UserId;
  password_hash: string | null;
  is_admin: number;
  created_ts: number;
  deactivated_ts: number | null;
}

const COLUMNS = 'user_id, password_hash, is_admin, created_ts, deactivated_ts';

const OF = sql<[string], UserRow>('users.of', `SELECT ${COLUMNS} FROM users WHERE user_id = ?`);

const LIST = sql<[string, number], UserRow>(
  'users.list',
  `SELECT ${COLUMNS} FROM users WHERE user_id > ? ORDER BY user_id LIMIT ?`,
);

const ANY = sql<[], { user_id: UserId }>('users.any', 'SELECT user_id FROM users ORDER BY user_id LIMIT 1');

const EXISTING = sql<[string], { user_id: UserId }>(
  'users.existing',
  'SELECT user_id FROM users WHERE user_id {anyOf} ORDER BY user_id',
);

const CREATE = sql<[string, string | null, number, number]>(
  'users.create',
  `INSERT INTO users (user_id, password_hash, is_admin, created_ts, leaving_rooms) VALUES (?, ?, ?, ?, 0)
   ON CONFLICT (user_id) DO NOTHING`,
);

const SET_PASSWORD = sql<[string, string]>(
  'users.setPassword',
  'UPDATE users SET password_hash = ? WHERE user_id = ? AND deactivated_ts IS NULL',
);

const DEACTIVATE = sql<[number, string]>(
  'users.deactivate',
  `UPDATE users SET password_hash = NULL, deactivated_ts = ?, leaving_rooms = 1
   WHERE user_id = ? AND deactivated_ts IS NULL`,
);

const LEAVING_ROOMS = sql<[], { user_id: UserId }>(
  'users.leavingRooms',
  'SELECT user_id FROM users WHERE leaving_rooms = 1 ORDER BY user_id LIMIT 1000',
);

const HAS_LEFT_ROOMS = sql<[string]>(
  'users.hasLeftRooms',
  'UPDATE users SET leaving_rooms = 0 WHERE user_id = ?',
);

/** Those of the users who have, or had, an account. */
export async function existing(reader: Reader, userIds: readonly UserId[]): Promise<ReadonlySet<UserId>> {
  return new Set((await reader.all(EXISTING, anyOf(userIds))).map((row) => row.user_id));
}

/** The account, deactivated or not. */
export async function of(reader: Reader, userId: UserId): Promise<User | undefined> {
  const row = await reader.get(OF, userId);
  return row && userOf(row);
}

/** Accounts in the order of their ids, those after `after` ('' for the first). */
export async function list(reader: Reader, { after = '', limit = 1_000 } = {}): Promise<User[]> {
  return (await reader.all(LIST, after, limit)).map(userOf);
}

/** Whether there is any account yet. */
export async function anyExists(reader: Reader): Promise<boolean> {
  return (await reader.get(ANY)) !== undefined;
}

/** Makes an account; false where the id is taken, which it stays when its account is deactivated. */
export async function create(
  tx: Tx,
  user: { userId: UserId; passwordHash: string | undefined; isAdmin: boolean; now: number },
): Promise<boolean> {
  const { userId, passwordHash = null, isAdmin, now } = user;
  if ((await tx.run(CREATE, userId, passwordHash, isAdmin ? 1 : 0, now)) !== 1) return false;
  await directoryWords.refreshAccount(tx, userId);
  return true;
}

/** Replaces the password; false where there is no such account in use. */
export async function setPassword(tx: Tx, userId: UserId, passwordHash: string): Promise<boolean> {
  return (await tx.run(SET_PASSWORD, passwordHash, userId)) === 1;
}

/** Ends an account for good; false where there is no such account in use. Its rooms are still to be left. */
export async function deactivate(tx: Tx, userId: UserId, now: number): Promise<boolean> {
  if ((await tx.run(DEACTIVATE, now, userId)) !== 1) return false;
  await directoryWords.refreshAccount(tx, userId);
  return true;
}

/** Deactivated users that have not left all their rooms yet. */
export async function leavingRooms(reader: Reader): Promise<UserId[]> {
  return (await reader.all(LEAVING_ROOMS)).map((row) => row.user_id);
}

/** Says that a deactivated user has left all rooms. */
export async function hasLeftRooms(tx: Tx, userId: UserId): Promise<void> {
  await tx.run(HAS_LEFT_ROOMS, userId);
}

function userOf(row: UserRow): User {
  return {
    userId: row.user_id,
    passwordHash: row.password_hash ?? undefined,
    isAdmin: row.is_admin === 1,
    createdTs: row.created_ts,
    deactivatedTs: row.deactivated_ts ?? undefined,
  };
}
