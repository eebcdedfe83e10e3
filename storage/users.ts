import type { RoomId, UserId } from '#keys/ids.ts';
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
  readonly isGuest: boolean;
  /** Since when: nothing can be done with the account. */
  readonly lockedTs: number | undefined;
  /** Since when: little can be done with the account but reading. */
  readonly suspendedTs: number | undefined;
  /** True for a user whom the rate limits spare. */
  readonly isUnlimited: boolean;
}

interface UserRow {
  user_id: UserId;
  password_hash: string | null;
  is_admin: number;
  created_ts: number;
  deactivated_ts: number | null;
  is_guest: number;
  locked_ts: number | null;
  suspended_ts: number | null;
  is_unlimited: number;
}

const COLUMNS =
  'user_id, password_hash, is_admin, created_ts, deactivated_ts, is_guest, locked_ts, suspended_ts, is_unlimited';

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

const CREATE = sql<[string, string | null, number, number, number]>(
  'users.create',
  `INSERT INTO users (user_id, password_hash, is_admin, created_ts, leaving_rooms, is_guest)
   VALUES (?, ?, ?, ?, 0, ?) ON CONFLICT (user_id) DO NOTHING`,
);

const SET_LOCKED = sql<[number | null, string]>(
  'users.setLocked',
  'UPDATE users SET locked_ts = ? WHERE user_id = ? AND deactivated_ts IS NULL',
);

const SET_ADMIN = sql<[number, string, number]>(
  'users.setAdmin',
  'UPDATE users SET is_admin = ? WHERE user_id = ? AND is_admin <> ? AND deactivated_ts IS NULL',
);

const SET_SUSPENDED = sql<[number | null, string]>(
  'users.setSuspended',
  'UPDATE users SET suspended_ts = ? WHERE user_id = ? AND deactivated_ts IS NULL',
);

const SET_UNLIMITED = sql<[number, string]>(
  'users.setUnlimited',
  'UPDATE users SET is_unlimited = ? WHERE user_id = ? AND deactivated_ts IS NULL',
);

const UNLIMITED = sql<[], { user_id: UserId }>(
  'users.unlimited',
  'SELECT user_id FROM users WHERE is_unlimited = 1 AND deactivated_ts IS NULL ORDER BY user_id',
);

const UPGRADE_GUEST = sql<[string, string]>(
  'users.upgradeGuest',
  `UPDATE users SET password_hash = ?, is_guest = 0
   WHERE user_id = ? AND is_guest = 1 AND deactivated_ts IS NULL`,
);

const GUESTS = sql<[string], { user_id: UserId }>(
  'users.guests',
  'SELECT user_id FROM users WHERE user_id {anyOf} AND is_guest = 1 ORDER BY user_id',
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

const REACTIVATE = sql<[string]>(
  'users.reactivate',
  `UPDATE users SET deactivated_ts = NULL, leaving_rooms = 0
   WHERE user_id = ? AND deactivated_ts IS NOT NULL`,
);

const LEAVING_ROOMS = sql<[], { user_id: UserId }>(
  'users.leavingRooms',
  'SELECT user_id FROM users WHERE leaving_rooms = 1 ORDER BY user_id LIMIT 1000',
);

const HAS_LEFT_ROOMS = sql<[string]>(
  'users.hasLeftRooms',
  'UPDATE users SET leaving_rooms = 0 WHERE user_id = ?',
);

const ROOMS_WITH_GUESTS = sql<[number], { room_id: RoomId }>(
  'users.roomsWithGuests',
  `SELECT room_id FROM rooms WHERE room_nid IN (
     SELECT room_nid FROM memberships WHERE membership = 'join' AND user_id IN (
       SELECT user_id FROM users WHERE is_guest = 1))
   ORDER BY room_id LIMIT ?`,
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
  user: {
    userId: UserId;
    passwordHash: string | undefined;
    isAdmin: boolean;
    isGuest?: boolean;
    now: number;
  },
): Promise<boolean> {
  const { userId, passwordHash = null, isAdmin, isGuest = false, now } = user;
  const written = await tx.run(CREATE, userId, passwordHash, isAdmin ? 1 : 0, now, isGuest ? 1 : 0);
  if (written !== 1) return false;
  await directoryWords.refreshAccount(tx, userId);
  return true;
}

/** Locks an account since `ts`, or unlocks it; false where there is no such account in use. */
export async function setLocked(tx: Tx, userId: UserId, ts: number | undefined): Promise<boolean> {
  return (await tx.run(SET_LOCKED, ts ?? null, userId)) === 1;
}

/** Makes an account an administrator, or none; false where nothing changes. */
export async function setAdmin(tx: Tx, userId: UserId, isAdmin: boolean): Promise<boolean> {
  const flag = isAdmin ? 1 : 0;
  return (await tx.run(SET_ADMIN, flag, userId, flag)) === 1;
}

/** Suspends an account since `ts`, or ends that; false where there is no such account in use. */
export async function setSuspended(tx: Tx, userId: UserId, ts: number | undefined): Promise<boolean> {
  return (await tx.run(SET_SUSPENDED, ts ?? null, userId)) === 1;
}

/** Spares a user the rate limits, or does not; false where there is no such account in use. */
export async function setUnlimited(tx: Tx, userId: UserId, isUnlimited: boolean): Promise<boolean> {
  return (await tx.run(SET_UNLIMITED, isUnlimited ? 1 : 0, userId)) === 1;
}

/** The users whom the rate limits spare: an operator names each of them. */
export async function unlimited(reader: Reader): Promise<UserId[]> {
  return (await reader.all(UNLIMITED)).map((row) => row.user_id);
}

/** Makes a guest's account one with a password; false where there is no such guest. */
export async function upgradeGuest(tx: Tx, userId: UserId, passwordHash: string): Promise<boolean> {
  return (await tx.run(UPGRADE_GUEST, passwordHash, userId)) === 1;
}

/** Those of the users who are guests. */
export async function guestsAmong(reader: Reader, userIds: readonly UserId[]): Promise<UserId[]> {
  return (await reader.all(GUESTS, anyOf(userIds))).map((row) => row.user_id);
}

/** Replaces the password; false where there is no such account in use. */
export async function setPassword(tx: Tx, userId: UserId, passwordHash: string): Promise<boolean> {
  return (await tx.run(SET_PASSWORD, passwordHash, userId)) === 1;
}

/** The rooms that guests are in. */
export async function roomsWithGuests(reader: Reader, limit: number): Promise<RoomId[]> {
  return (await reader.all(ROOMS_WITH_GUESTS, limit)).map((row) => row.room_id);
}

/** Ends an account for good; false where there is no such account in use. Its rooms are still to be left. */
export async function deactivate(tx: Tx, userId: UserId, now: number): Promise<boolean> {
  if ((await tx.run(DEACTIVATE, now, userId)) !== 1) return false;
  await directoryWords.refreshAccount(tx, userId);
  return true;
}

/** Gives a deactivated account back, as one without a password; false where there is no such account. */
export async function reactivate(tx: Tx, userId: UserId): Promise<boolean> {
  if ((await tx.run(REACTIVATE, userId)) !== 1) return false;
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
    isGuest: row.is_guest === 1,
    lockedTs: row.locked_ts ?? undefined,
    suspendedTs: row.suspended_ts ?? undefined,
    isUnlimited: row.is_unlimited === 1,
  };
}
