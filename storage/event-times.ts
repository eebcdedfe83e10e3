/** Events of a room by the time that they say they were sent at. */

import type { Reader } from './database.ts';
import { sql } from './sql.ts';

/** The place of an event, and its `origin_server_ts`. */
export interface EventTime {
  readonly nid: number;
  readonly position: number;
  /** In milliseconds since 1970. */
  readonly ts: number;
}

interface Row {
  event_nid: number;
  position: number;
  origin_server_ts: number;
}

const COLUMNS = 'event_nid, position, origin_server_ts';

const FROM = sql<[number, number, number], Row>(
  'eventTimes.from',
  `SELECT ${COLUMNS} FROM events WHERE room_nid = ? AND position >= ? ORDER BY position LIMIT ?`,
);
const BEFORE = sql<[number, number, number], Row>(
  'eventTimes.before',
  `SELECT ${COLUMNS} FROM events WHERE room_nid = ? AND position < ? ORDER BY position DESC LIMIT ?`,
);

/** Up to `limit` events from a position on, by position. */
export async function from(
  reader: Reader,
  roomNid: number,
  position: number,
  limit: number,
): Promise<EventTime[]> {
  return (await reader.all(FROM, roomNid, position, limit)).map(fromRow);
}

/** Up to `limit` events before a position, the nearest first. */
export async function before(
  reader: Reader,
  roomNid: number,
  position: number,
  limit: number,
): Promise<EventTime[]> {
  return (await reader.all(BEFORE, roomNid, position, limit)).map(fromRow);
}

function fromRow(row: Row): EventTime {
  return { nid: row.event_nid, position: row.position, ts: row.origin_server_ts };
}
