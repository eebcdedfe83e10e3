import type { EventId, RoomId, ServerName } from '#keys/ids.ts';
import type { Reader, Tx } from './database.ts';
import { anyOf, sql } from './sql.ts';

/** An event that waits for its turn in its room. */
export interface StagedEvent {
  readonly roomId: RoomId;
  readonly eventId: EventId;
  /** The server that handed it over. */
  readonly origin: ServerName;
  /** Canonical, without `unsigned`. */
  readonly json: string;
}

export interface StagedRow extends StagedEvent {
  readonly seq: number;
}

interface Row {
  seq: number;
  room_id: RoomId;
  event_id: EventId;
  origin: ServerName;
  json: string;
}

const INSERT = sql<[string, string, string, string]>(
  'stagedEvents.insert',
  `INSERT INTO staged_events (room_id, event_id, origin, json) VALUES (?, ?, ?, ?)
   ON CONFLICT (event_id) DO NOTHING`,
);
const NEXT = sql<[string, number], Row>(
  'stagedEvents.next',
  `SELECT seq, room_id, event_id, origin, json FROM staged_events WHERE room_id = ? AND turns = 0
   ORDER BY seq LIMIT ?`,
);
const ROOMS = sql<[string, number], { room_id: RoomId; events: number }>(
  'stagedEvents.rooms',
  `SELECT room_id, COUNT(*) AS events FROM staged_events WHERE room_id > ? AND turns = 0
   GROUP BY room_id ORDER BY room_id LIMIT ?`,
);
const REMOVE = sql<[string]>('stagedEvents.remove', 'DELETE FROM staged_events WHERE seq {anyInt}');

/** Adds events at the end of their rooms' lines. Answers those that wait already, which keep their places. */
export async function insert<T extends StagedEvent>(tx: Tx, events: readonly T[]): Promise<T[]> {
  const again: T[] = [];
  // At most 50: the events of one transaction.
  for (const event of events) {
    const { roomId, eventId, origin, json } = event;
    if ((await tx.run(INSERT, roomId, eventId, origin, json)) === 0) again.push(event);
  }
  return again;
}

/** The events in a room's line that have waited longest, in order. */
export async function next(reader: Reader, roomId: RoomId, limit: number): Promise<StagedRow[]> {
  const rows = await reader.all(NEXT, roomId, limit);
  return rows.map((row) => ({
    seq: row.seq,
    roomId: row.room_id,
    eventId: row.event_id,
    origin: row.origin,
    json: row.json,
  }));
}

/** The rooms in whose lines events wait and how many, in pages: those after a room id ('' for the first). */
export async function rooms(
  reader: Reader,
  after: string,
  limit: number,
): Promise<{ roomId: RoomId; events: number }[]> {
  const rows = await reader.all(ROOMS, after, limit);
  return rows.map((row) => ({ roomId: row.room_id, events: row.events }));
}

/** Removes events that have had their turn. */
export async function remove(tx: Tx, seqs: readonly number[]): Promise<void> {
  await tx.run(REMOVE, anyOf(seqs));
}
