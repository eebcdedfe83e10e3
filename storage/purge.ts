/**
 * Deletes events and rooms, a bounded number of rows at a time. Whoever calls says what may go; what must not go is
 * checked here once more, in the statements themselves.
 *
 * Numeric ids must never be given to something else later, since memory knows things by them, and SQLite gives the
 * highest one again once its row is gone. So the newest row of a table is never deleted.
 */

import type { EventId, RoomId, ServerName } from '#keys/ids.ts';
import type { Database, Reader, Tx } from './database.ts';
import * as relations from './relations.ts';
import * as search from './search.ts';
import { anyOf, sql } from './sql.ts';

/** What is looked at of an event that may have to go. */
export interface PurgeableEvent {
  readonly nid: number;
  readonly eventId: EventId;
  /** Undefined for one that clients do not see. */
  readonly position: number | undefined;
  readonly isState: boolean;
  /** In milliseconds since 1970. */
  readonly originServerTs: number;
  readonly receivedTs: number;
  /** The roots of the states before and after it. */
  readonly groups: readonly number[];
  readonly json: string;
}

interface Row {
  event_nid: number;
  event_id: EventId;
  position: number | null;
  state_key: string | null;
  origin_server_ts: number;
  received_ts: number;
  state_before: number | null;
  state_after: number | null;
  json: string;
}

const COLUMNS =
  'event_nid, event_id, position, state_key, origin_server_ts, received_ts, state_before, state_after, json';

const PLACED = sql<[number, number, number, number], Row>(
  'purge.placed',
  `SELECT ${COLUMNS} FROM events WHERE room_nid = ? AND position > ? AND position < ? ORDER BY position LIMIT ?`,
);
const UNPLACED = sql<[number, number, number], Row>(
  'purge.unplaced',
  `SELECT ${COLUMNS} FROM events WHERE room_nid = ? AND position IS NULL AND event_nid > ?
   ORDER BY event_nid LIMIT ?`,
);
const FIRST_RECEIVED = sql<[number, number, number], { position: number; received_ts: number }>(
  'purge.firstReceived',
  `SELECT position, received_ts FROM events WHERE room_nid = ? AND position > ? ORDER BY position LIMIT ?`,
);
const PENDING = sql<[number, number, number], { event_nid: number }>(
  'purge.pending',
  `SELECT event_nid FROM outgoing_events WHERE room_nid = ?
   UNION SELECT o.event_nid FROM outbox o JOIN events e ON e.event_nid = o.event_nid WHERE e.room_nid = ?
   UNION SELECT p.redaction_nid FROM pending_redactions p JOIN events e ON e.event_nid = p.redaction_nid
     WHERE e.room_nid = ?
   ORDER BY 1`,
);
const UNSENT = sql<[number, number], { event_nid: number }>(
  'purge.unsent',
  `SELECT event_nid FROM outgoing_events WHERE room_nid = ?
   UNION SELECT o.event_nid FROM outbox o JOIN events e ON e.event_nid = o.event_nid WHERE e.room_nid = ?
   ORDER BY 1 LIMIT 1`,
);
const DELETE_MESSAGES = sql<[string, number], { event_nid: number }>(
  'purge.deleteMessages',
  `DELETE FROM events WHERE event_nid {anyInt} AND state_key IS NULL
     AND NOT EXISTS (SELECT 1 FROM forward_extremities f
       WHERE f.room_nid = ? AND f.event_nid = events.event_nid)
     AND event_nid < (SELECT MAX(event_nid) FROM events)
   RETURNING event_nid`,
);
const WITHDRAW = sql<[string, number], { event_nid: number }>(
  'purge.withdraw',
  `UPDATE events SET position = NULL WHERE event_nid {anyInt}
     AND NOT EXISTS (SELECT 1 FROM forward_extremities f
       WHERE f.room_nid = ? AND f.event_nid = events.event_nid)
   RETURNING event_nid`,
);
const DELETE_BACKWARD = sql<[number, string]>(
  'purge.deleteBackward',
  'DELETE FROM backward_extremities WHERE room_nid = ? AND event_id {anyOf}',
);

/** Events that clients see, from after one position up to before another, by position. */
export async function placed(
  reader: Reader,
  roomNid: number,
  range: { readonly after: number; readonly before: number; readonly limit: number },
): Promise<PurgeableEvent[]> {
  return (await reader.all(PLACED, roomNid, range.after, range.before, range.limit)).map(fromRow);
}

/** Events without a position, those after a numeric id. */
export async function unplaced(
  reader: Reader,
  roomNid: number,
  afterNid: number,
  limit: number,
): Promise<PurgeableEvent[]> {
  return (await reader.all(UNPLACED, roomNid, afterNid, limit)).map(fromRow);
}

/** Of live events from after a position on, by position: when they came. */
export async function receivedAfter(
  reader: Reader,
  roomNid: number,
  position: number,
  limit: number,
): Promise<{ readonly position: number; readonly receivedTs: number }[]> {
  const rows = await reader.all(FIRST_RECEIVED, roomNid, position, limit);
  return rows.map((row) => ({ position: row.position, receivedTs: row.received_ts }));
}

/** Events of the room that something else waits for: other servers, or an event that is yet to be redacted. */
export async function pending(db: Database, roomNid: number): Promise<Set<number>> {
  // Long where a server has been away for long: not on the main thread.
  const rows = await db.scan(PENDING, roomNid, roomNid, roomNid);
  return new Set(rows.map((row) => row.event_nid));
}

/** True where other servers are still to get events of the room. */
export async function hasUnsent(db: Database, roomNid: number): Promise<boolean> {
  return (await db.scan(UNSENT, roomNid, roomNid)).length > 0;
}

/** Deletes events that are no state; a forward extremity stays. Answers which have gone. */
export async function deleteMessages(tx: Tx, roomNid: number, nids: readonly number[]): Promise<number[]> {
  await search.remove(tx, nids);
  const gone = (await tx.all(DELETE_MESSAGES, anyOf(nids), roomNid)).map((row) => row.event_nid);
  await relations.remove(tx, gone);
  return gone;
}

/** Takes events out of what clients see; state events stay as a part of states. Answers which. */
export async function withdraw(tx: Tx, roomNid: number, nids: readonly number[]): Promise<number[]> {
  await search.remove(tx, nids);
  const gone = (await tx.all(WITHDRAW, anyOf(nids), roomNid)).map((row) => row.event_nid);
  await relations.remove(tx, gone);
  return gone;
}

const MARK_PURGED = sql<[number, number]>(
  'purge.mark',
  `INSERT INTO purged_rooms (room_nid, purged_ts) VALUES (?, ?)
   ON CONFLICT (room_nid) DO UPDATE SET purged_ts = excluded.purged_ts`,
);
const IS_PURGED = sql<[number], { room_nid: number }>(
  'purge.isPurged',
  'SELECT room_nid FROM purged_rooms WHERE room_nid = ?',
);

/** Notes that history of the room was deleted. */
export async function markPurged(tx: Tx, roomNid: number, now: number): Promise<void> {
  await tx.run(MARK_PURGED, roomNid, now);
}

/** True where history of the room was deleted, so that its oldest events follow such as are no more. */
export async function isPurged(reader: Reader, roomNid: number): Promise<boolean> {
  return (await reader.get(IS_PURGED, roomNid)) !== undefined;
}

/** The room's history does not go on at these events. */
export async function deleteBackward(tx: Tx, roomNid: number, eventIds: readonly EventId[]): Promise<void> {
  if (eventIds.length > 0) await tx.run(DELETE_BACKWARD, roomNid, anyOf(eventIds));
}

const CLOSE = sql<[number]>(
  'purge.close',
  'UPDATE rooms SET state_group = 0, row_version = 0 WHERE room_nid = ?',
);
const DELETE_ROOM = sql<[number, number]>(
  'purge.deleteRoom',
  `DELETE FROM rooms WHERE room_nid = ? AND room_nid < (SELECT MAX(r.room_nid) FROM rooms r)
     AND NOT EXISTS (SELECT 1 FROM events e WHERE e.room_nid = ?)`,
);
const DELETE_EVENTS = sql<[string], { event_nid: number }>(
  'purge.deleteEvents',
  `DELETE FROM events WHERE event_nid {anyInt} AND event_nid < (SELECT MAX(event_nid) FROM events)
   RETURNING event_nid`,
);
const BECOME_OUTLIERS = sql<[string]>(
  'purge.becomeOutliers',
  `UPDATE events SET position = NULL, status = 'outlier', reason = NULL, state_before = NULL, state_after = NULL
   WHERE event_nid {anyInt}`,
);
const DELETE_OUTGOING = sql<[number]>('purge.outgoing', 'DELETE FROM outgoing_events WHERE room_nid = ?');
const DELETE_OUTBOX = sql<[number]>(
  'purge.outbox',
  'DELETE FROM outbox WHERE event_nid IN (SELECT e.event_nid FROM events e WHERE e.room_nid = ?)',
);
const DELETE_PENDING = sql<[number]>(
  'purge.pendingRedactions',
  'DELETE FROM pending_redactions WHERE redaction_nid IN (SELECT e.event_nid FROM events e WHERE e.room_nid = ?)',
);
const DELETE_PROVISIONAL = sql<[number]>(
  'purge.provisionalRejections',
  'DELETE FROM provisional_rejections WHERE event_nid IN (SELECT e.event_nid FROM events e WHERE e.room_nid = ?)',
);
const SMALL = [
  sql<[number]>('purge.forward', 'DELETE FROM forward_extremities WHERE room_nid = ?'),
  sql<[number]>('purge.backward', 'DELETE FROM backward_extremities WHERE room_nid = ?'),
  sql<[number]>('purge.published', 'DELETE FROM published_rooms WHERE room_nid = ?'),
  sql<[number]>('purge.networkRooms', 'DELETE FROM network_rooms WHERE room_nid = ?'),
  sql<[number]>('purge.openRooms', 'DELETE FROM open_rooms WHERE room_nid = ?'),
  sql<[number]>('purge.invites', 'DELETE FROM invites WHERE room_nid = ?'),
  sql<[number]>('purge.purged', 'DELETE FROM purged_rooms WHERE room_nid = ?'),
];
/** Each deletes some rows of a table that grows with the room. */
const LARGE = [
  sql<[number, number, number]>(
    'purge.state',
    `DELETE FROM current_state WHERE room_nid = ? AND (type, state_key) IN
       (SELECT c.type, c.state_key FROM current_state c WHERE c.room_nid = ?
        ORDER BY c.type, c.state_key LIMIT ?)`,
  ),
  sql<[number, number, number]>(
    'purge.deltas',
    `DELETE FROM state_deltas WHERE room_nid = ? AND position IN
       (SELECT d.position FROM state_deltas d WHERE d.room_nid = ? ORDER BY d.position LIMIT ?)`,
  ),
  sql<[number, number, number]>(
    'purge.receipts',
    `DELETE FROM receipts WHERE room_nid = ? AND user_id IN
       (SELECT r.user_id FROM receipts r WHERE r.room_nid = ? ORDER BY r.user_id LIMIT ?)`,
  ),
  sql<[number, number, number]>(
    'purge.unreadCheckpoints',
    `DELETE FROM unread_checkpoints WHERE room_nid = ? AND user_id IN
       (SELECT u.user_id FROM unread_checkpoints u WHERE u.room_nid = ? ORDER BY u.user_id LIMIT ?)`,
  ),
];
const DELETE_STAGED = sql<[string, string, number]>(
  'purge.staged',
  `DELETE FROM staged_events WHERE room_id = ? AND seq IN
     (SELECT s.seq FROM staged_events s WHERE s.room_id = ? ORDER BY s.seq LIMIT ?)`,
);
const MEMBERS = sql<[number, number], { user_id: string; server_name: ServerName }>(
  'purge.members',
  'SELECT user_id, server_name FROM memberships WHERE room_nid = ? ORDER BY user_id LIMIT ?',
);
const DELETE_MEMBERS = sql<[number, string]>(
  'purge.deleteMembers',
  'DELETE FROM memberships WHERE room_nid = ? AND user_id {anyOf}',
);
const DELETE_ACCOUNT_DATA = sql<[string, string]>(
  'purge.accountData',
  'DELETE FROM account_data WHERE user_id {anyOf} AND room_id = ?',
);

/** The room has no graph any more: it is known as one that the server was never in. Its rows are still there. */
export async function close(tx: Tx, roomNid: number): Promise<void> {
  await tx.run(CLOSE, roomNid);
  for (const statement of SMALL) await tx.run(statement, roomNid);
}

/** Deletes what waits for other servers, and what waits for an event: redactions, and rejections that may not last. */
export async function deletePending(tx: Tx, roomNid: number): Promise<void> {
  for (const statement of [DELETE_OUTBOX, DELETE_OUTGOING, DELETE_PENDING, DELETE_PROVISIONAL]) {
    await tx.run(statement, roomNid);
  }
}

/** Deletes some rows of a room that are not its events; false where none are left. */
export async function deleteRows(
  tx: Tx,
  room: { readonly roomNid: number; readonly roomId: RoomId },
  limit: number,
): Promise<boolean> {
  const { roomNid, roomId } = room;
  let deleted = await tx.run(DELETE_STAGED, roomId, roomId, limit);
  for (const statement of LARGE) deleted += await tx.run(statement, roomNid, roomNid, limit);
  return deleted > 0;
}

/** Deletes some members of a room, and what our users had set for it; false where none are left. */
export async function deleteMembers(
  tx: Tx,
  room: { readonly roomNid: number; readonly roomId: RoomId },
  serverName: ServerName,
  limit: number,
): Promise<boolean> {
  const members = await tx.all(MEMBERS, room.roomNid, limit);
  if (members.length === 0) return false;
  const ours = members.filter((member) => member.server_name === serverName);
  await tx.run(DELETE_ACCOUNT_DATA, anyOf(ours.map((member) => member.user_id)), room.roomId);
  await tx.run(DELETE_MEMBERS, room.roomNid, anyOf(members.map((member) => member.user_id)));
  return true;
}

/** Deletes events of a room that is deleted; the newest event of all rooms stays, as one without a place. */
export async function deleteEvents(tx: Tx, nids: readonly number[]): Promise<number[]> {
  await search.remove(tx, nids);
  const gone = (await tx.all(DELETE_EVENTS, anyOf(nids))).map((row) => row.event_nid);
  const left = new Set(nids).difference(new Set(gone));
  if (left.size > 0) await tx.run(BECOME_OUTLIERS, anyOf(left));
  await relations.remove(tx, nids);
  return gone;
}

/** Deletes the row of a room without events; false where it is the newest room of all, and stays. */
export async function deleteRoom(tx: Tx, roomNid: number): Promise<boolean> {
  return (await tx.run(DELETE_ROOM, roomNid, roomNid)) === 1;
}

function fromRow(row: Row): PurgeableEvent {
  return {
    nid: row.event_nid,
    eventId: row.event_id,
    position: row.position ?? undefined,
    isState: row.state_key !== null,
    originServerTs: row.origin_server_ts,
    receivedTs: row.received_ts,
    groups: [row.state_before, row.state_after].filter((group) => group !== null && group !== 0) as number[],
    json: row.json,
  };
}
