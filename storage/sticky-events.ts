/** Which events are sticky, and until when: https://github.com/matrix-org/matrix-spec-proposals/pull/4354 */

import type { Reader, Tx } from './database.ts';
import { anyOf, sql } from './sql.ts';

export interface StickyEvent {
  readonly nid: number;
  readonly roomNid: number;
  /** Undefined while it is soft-failed. */
  readonly position: number | undefined;
  readonly isOwn: boolean;
  /** In milliseconds since 1970. */
  readonly untilTs: number;
}

interface Row {
  event_nid: number;
}

const INSERT = sql<[number, number, number | null, number, number]>(
  'stickyEvents.insert',
  `INSERT INTO sticky_events (event_nid, room_nid, position, is_own, until_ts) VALUES (?, ?, ?, ?, ?)
   ON CONFLICT (event_nid) DO NOTHING`,
);
const REMOVE = sql<[number]>('stickyEvents.remove', 'DELETE FROM sticky_events WHERE event_nid = ?');
const PLACE = sql<[number, number]>(
  'stickyEvents.place',
  'UPDATE sticky_events SET position = ? WHERE event_nid = ?',
);
const BETWEEN = sql<[string, number, number, number, number], Row & { room_nid: number; position: number }>(
  'stickyEvents.between',
  `SELECT event_nid, room_nid, position FROM sticky_events
   WHERE room_nid {anyInt} AND position > ? AND position <= ? AND until_ts > ? ORDER BY position LIMIT ?`,
);
const SOFT_FAILED = sql<[number, number, number], Row>(
  'stickyEvents.softFailed',
  `SELECT event_nid FROM sticky_events
   WHERE room_nid = ? AND position IS NULL AND until_ts > ? ORDER BY event_nid LIMIT ?`,
);
const OWN = sql<[string, number, number, number], Row>(
  'stickyEvents.own',
  `SELECT s.event_nid FROM sticky_events s LEFT JOIN events e ON e.event_nid = s.event_nid
   WHERE s.room_nid {anyInt} AND s.position > ? AND s.is_own = 1 AND s.until_ts > ?
     AND NOT EXISTS (SELECT x.user_id FROM erased_users x WHERE x.user_id = e.sender)
   ORDER BY s.position LIMIT ?`,
);
const DELETE_ENDED = sql<[number, number]>(
  'stickyEvents.deleteEnded',
  `DELETE FROM sticky_events WHERE event_nid IN
     (SELECT event_nid FROM sticky_events WHERE until_ts < ? ORDER BY until_ts LIMIT ?)`,
);

/** Notes that an event is sticky. */
export async function insert(tx: Tx, event: StickyEvent): Promise<void> {
  const { nid, roomNid, position, isOwn, untilTs } = event;
  await tx.run(INSERT, nid, roomNid, position ?? null, isOwn ? 1 : 0, untilTs);
}

/** An event that is redacted is sticky no more. */
export async function remove(tx: Tx, nid: number): Promise<void> {
  await tx.run(REMOVE, nid);
}

/** Notes where an event stands that was soft-failed. */
export async function place(tx: Tx, nid: number, position: number): Promise<void> {
  await tx.run(PLACE, position, nid);
}

/** Those of some rooms between two positions (the second is in) that are sticky still, the oldest first. */
export async function between(
  reader: Reader,
  roomNids: Iterable<number>,
  range: { readonly after: number; readonly upto: number; readonly now: number; readonly limit: number },
): Promise<{ readonly nid: number; readonly roomNid: number; readonly position: number }[]> {
  const { after, upto, now, limit } = range;
  const rows = await reader.all(BETWEEN, anyOf(roomNids), after, upto, now, limit);
  return rows.map((row) => ({ nid: row.event_nid, roomNid: row.room_nid, position: row.position }));
}

/** Those of a room that are soft-failed and sticky still, in the order in which they came. */
export async function softFailed(
  reader: Reader,
  roomNid: number,
  { now, limit }: { readonly now: number; readonly limit: number },
): Promise<number[]> {
  return (await reader.all(SOFT_FAILED, roomNid, now, limit)).map((row) => row.event_nid);
}

/** Those of our users in some rooms after a position that are sticky still, the oldest first; of nobody who was erased. */
export async function own(
  reader: Reader,
  roomNids: Iterable<number>,
  { after, now, limit }: { readonly after: number; readonly now: number; readonly limit: number },
): Promise<number[]> {
  return (await reader.all(OWN, anyOf(roomNids), after, now, limit)).map((row) => row.event_nid);
}

/** Forgets at most `limit` events that ended before a time; answers how many. */
export function deleteEnded(tx: Tx, before: number, limit: number): Promise<number> {
  return tx.run(DELETE_ENDED, before, limit);
}
