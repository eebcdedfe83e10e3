import type { RoomId, UserId } from '#keys/ids.ts';
import type { Reader, Tx } from './database.ts';
import { anyOf, sql } from './sql.ts';
import { fromTextColumn, textColumn } from './text-column.ts';

export type PresenceState = 'online' | 'unavailable' | 'offline';

/** How a user was. */
export interface PresenceRow {
  readonly userId: UserId;
  readonly state: PresenceState;
  readonly statusMsg: string | undefined;
  /** In milliseconds since 1970. */
  readonly lastActiveTs: number | undefined;
  /** Where that was announced; undefined where it is not known. */
  readonly position: number | undefined;
}

interface Row {
  user_id: UserId;
  state: PresenceState;
  status_msg: string | null;
  last_active_ts: number | null;
  position: number | null;
}

const NEWEST = sql<[number], Row>(
  'presence.newest',
  `SELECT user_id, state, status_msg, last_active_ts, position FROM presence
   WHERE last_active_ts IS NOT NULL ORDER BY last_active_ts DESC LIMIT ?`,
);
const SET = sql<[string, string, string | null, number | null, number | null]>(
  'presence.set',
  `INSERT INTO presence (user_id, state, status_msg, last_active_ts, position) VALUES (?, ?, ?, ?, ?)
   ON CONFLICT (user_id) DO UPDATE SET state = excluded.state, status_msg = excluded.status_msg,
     last_active_ts = excluded.last_active_ts, position = excluded.position`,
);
const REMOVE = sql<[string]>('presence.remove', 'DELETE FROM presence WHERE user_id {anyOf}');
const ROOMS_OF = sql<[string], { room_nid: number; room_id: RoomId }>(
  'presence.roomsOf',
  `SELECT DISTINCT m.room_nid, r.room_id FROM memberships m JOIN rooms r ON r.room_nid = m.room_nid
   WHERE m.user_id {anyOf} AND m.membership = 'join' ORDER BY m.room_nid`,
);
const SHARING_WITH = sql<[string, string], { user_id: UserId }>(
  'presence.sharingWith',
  `SELECT DISTINCT theirs.user_id FROM memberships theirs
   JOIN memberships ours ON ours.room_nid = theirs.room_nid AND ours.user_id = ? AND ours.membership = 'join'
   WHERE theirs.user_id {anyOf} AND theirs.membership = 'join' ORDER BY theirs.user_id`,
);
/** The users who were active last, the last one first. */
export async function newest(reader: Reader, limit: number): Promise<PresenceRow[]> {
  return (await reader.all(NEWEST, limit)).map((row) => ({
    userId: row.user_id,
    state: row.state,
    statusMsg: row.status_msg === null ? undefined : fromTextColumn(row.status_msg),
    lastActiveTs: row.last_active_ts ?? undefined,
    position: row.position ?? undefined,
  }));
}

/** Writes how a user is. */
export async function set(
  tx: Tx,
  { userId, state, statusMsg, lastActiveTs, position }: PresenceRow,
): Promise<void> {
  const text = statusMsg === undefined ? null : textColumn(statusMsg);
  await tx.run(SET, userId, state, text, lastActiveTs ?? null, position ?? null);
}

/** Forgets how users were. */
export async function remove(tx: Tx, userIds: readonly UserId[]): Promise<void> {
  await tx.run(REMOVE, anyOf(userIds));
}

/** The rooms that one of the users is joined to. */
export async function roomsOf(
  reader: Reader,
  userIds: Iterable<UserId>,
): Promise<{ roomNid: number; roomId: RoomId }[]> {
  const rows = await reader.all(ROOMS_OF, anyOf(userIds));
  return rows.map((row) => ({ roomNid: row.room_nid, roomId: row.room_id }));
}

/** Those of the users who are joined to a room that `userId` is joined to. */
export async function sharingWith(
  reader: Reader,
  userId: UserId,
  userIds: Iterable<UserId>,
): Promise<UserId[]> {
  return (await reader.all(SHARING_WITH, userId, anyOf(userIds))).map((row) => row.user_id);
}
