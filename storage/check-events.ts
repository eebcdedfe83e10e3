/** The events of a room as rows, page by page, for who checks them against each other: reads only. */

import type { EventId } from '#keys/ids.ts';
import type { Reader } from './database.ts';
import { EVENT_COLUMNS, type EventRow, type EventStatus } from './events.ts';
import { anyOf, sql } from './sql.ts';
import { fromTextColumn } from './text-column.ts';

/** A row with what it says of the event beside the event's text. */
export interface CheckedRow extends EventRow {
  readonly depth: number;
  readonly type: string;
  readonly state_key: string | null;
  readonly sender: string;
  readonly origin_server_ts: number;
}

/** What is known of an event that another cites. */
export interface Cited {
  readonly nid: number;
  readonly roomNid: number;
  readonly status: EventStatus;
  readonly position: number | undefined;
  readonly stateAfter: number | undefined;
}

/** Where a page begins: after this event. */
export interface After {
  readonly position: number | undefined;
  readonly nid: number;
}

const CHECKED = `${EVENT_COLUMNS}, depth, type, state_key, sender, origin_server_ts`;
const PLACED = sql<[number, number, number, number], CheckedRow>(
  'check.placedEvents',
  `SELECT ${CHECKED} FROM events WHERE room_nid = ? AND (position, event_nid) > (?, ?)
   ORDER BY position, event_nid LIMIT ?`,
);
const UNPLACED = sql<[number, number, number], CheckedRow>(
  'check.unplacedEvents',
  `SELECT ${CHECKED} FROM events WHERE room_nid = ? AND position IS NULL AND event_nid > ?
   ORDER BY event_nid LIMIT ?`,
);
interface CitedRow {
  event_nid: number;
  event_id: EventId;
  room_nid: number;
  status: EventStatus;
  position: number | null;
  state_after: number | null;
}
const CITED = sql<[string], CitedRow>(
  'check.cited',
  `SELECT event_nid, event_id, room_nid, status, position, state_after FROM events
   WHERE event_id {anyOf} ORDER BY event_nid`,
);
const BACKWARD = sql<[number, string], { event_id: EventId }>(
  'check.backward',
  `SELECT event_id FROM backward_extremities WHERE room_nid = ? AND event_id {anyOf} ORDER BY event_id`,
);
const RESERVED = sql<[], { upto: number }>(
  'check.reservedUpto',
  `SELECT upto FROM stream_reserve WHERE id = 'live'`,
);

/** Where the first page begins. */
export const BEGINNING: After = { position: Number.MIN_SAFE_INTEGER, nid: 0 };

/** The next events of a room: first those with a position, in its order, then the others. */
export async function page(
  reader: Reader,
  roomNid: number,
  after: After,
  limit: number,
): Promise<CheckedRow[]> {
  if (after.position === undefined)
    return (await reader.all(UNPLACED, roomNid, after.nid, limit)).map(decoded);
  const rows = await reader.all(PLACED, roomNid, after.position, after.nid, limit);
  return rows.length > 0 ? rows.map(decoded) : page(reader, roomNid, { position: undefined, nid: 0 }, limit);
}

/** What is stored of events, by id; those that are not stored are absent. */
export async function cited(reader: Reader, eventIds: Iterable<EventId>): Promise<Map<EventId, Cited>> {
  const rows = await reader.all(CITED, anyOf(eventIds));
  return new Map(
    rows.map((row) => [
      row.event_id,
      {
        nid: row.event_nid,
        roomNid: row.room_nid,
        status: row.status,
        position: row.position ?? undefined,
        stateAfter: row.state_after ?? undefined,
      },
    ]),
  );
}

/** Which of these events are known to be missing before what the room has. */
export async function backwardAmong(
  reader: Reader,
  roomNid: number,
  eventIds: Iterable<EventId>,
): Promise<Set<EventId>> {
  return new Set((await reader.all(BACKWARD, roomNid, anyOf(eventIds))).map((row) => row.event_id));
}

/** The highest position that the server may have given to an event. */
export async function reservedUpto(reader: Reader): Promise<number> {
  return (await reader.get(RESERVED))?.upto ?? 0;
}

function decoded(row: CheckedRow): CheckedRow {
  const stateKey = row.state_key === null ? null : fromTextColumn(row.state_key);
  return { ...row, type: fromTextColumn(row.type), state_key: stateKey };
}
