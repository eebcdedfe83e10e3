/** Staged events that have further turns: those of `staged_events` with `turns`. */

import type { EventId, RoomId, ServerName } from '#keys/ids.ts';
import type { Reader, Tx } from './database.ts';
import { anyOf, sql } from './sql.ts';
import type { StagedEvent, StagedRow } from './staged-events.ts';

/** When an event has its next turn, and its how manieth that is. */
export interface Turn {
  readonly turns: number;
  readonly turnTs: number;
}

export interface PostponedRow extends StagedRow, Turn {
  readonly isCalled: boolean;
}

/** How many events of a room may be postponed, and of one server in it. */
export interface Bounds {
  readonly inRoom: number;
  readonly ofOrigin: number;
}

interface Row {
  seq: number;
  room_id: RoomId;
  event_id: EventId;
  origin: ServerName;
  json: string;
  turns: number;
  turn_ts: number;
  is_called: number;
}

const INSERT = sql<[string, string, string, string, number, number]>(
  'postponedEvents.insert',
  `INSERT INTO staged_events (room_id, event_id, origin, json, turns, turn_ts) VALUES (?, ?, ?, ?, ?, ?)
   ON CONFLICT (event_id) DO NOTHING`,
);
const POSTPONE = sql<[number, number, number]>(
  'postponedEvents.postpone',
  'UPDATE staged_events SET turns = ?, turn_ts = ? WHERE seq = ?',
);
const COUNT = sql<[string, string], { in_room: number; of_origin: number }>(
  'postponedEvents.count',
  `SELECT COUNT(*) AS in_room, COUNT(CASE WHEN origin = ? THEN 1 END) AS of_origin FROM staged_events
   WHERE room_id = ? AND turns > 0`,
);
const OLDEST = sql<[string, string], { seq: number; event_id: EventId }>(
  'postponedEvents.oldest',
  `SELECT seq, event_id FROM staged_events WHERE room_id = ? AND origin = ? AND turns > 0
   ORDER BY seq LIMIT 1`,
);
const REMOVE = sql<[number]>('postponedEvents.remove', 'DELETE FROM staged_events WHERE seq = ?');
const DUE = sql<[string, number, number], Row>(
  'postponedEvents.due',
  `SELECT seq, room_id, event_id, origin, json, turns, turn_ts, is_called FROM staged_events
   WHERE room_id = ? AND turns > 0 AND (turn_ts <= ? OR is_called = 1) ORDER BY seq LIMIT ?`,
);
const DUE_ROOMS = sql<[string, number, number], { room_id: RoomId }>(
  'postponedEvents.dueRooms',
  `SELECT DISTINCT room_id FROM staged_events
   WHERE room_id > ? AND turns > 0 AND (turn_ts <= ? OR is_called = 1) ORDER BY room_id LIMIT ?`,
);
const NEXT_TURN = sql<[number], { turn_ts: number | null }>(
  'postponedEvents.nextTurn',
  'SELECT MIN(turn_ts) AS turn_ts FROM staged_events WHERE turns > 0 AND turn_ts > ?',
);
const HAS_OF = sql<[string], { seq: number }>(
  'postponedEvents.hasOf',
  'SELECT seq FROM staged_events WHERE origin = ? AND turns > 0 ORDER BY seq LIMIT 1',
);
const CALL = sql<[string]>(
  'postponedEvents.call',
  'UPDATE staged_events SET is_called = 1 WHERE origin = ? AND turns > 0',
);
const CALL_EVENTS = sql<[string]>(
  'postponedEvents.callEvents',
  'UPDATE staged_events SET is_called = 1 WHERE event_id {anyOf} AND turns > 0',
);
const SET_JSON = sql<[string, string, string]>(
  'postponedEvents.setJson',
  'UPDATE staged_events SET json = ? WHERE event_id = ? AND room_id = ? AND turns > 0',
);
const ANSWERED = sql<[string]>(
  'postponedEvents.answered',
  'UPDATE staged_events SET is_called = 0 WHERE seq {anyInt}',
);

/**
 * Takes an event out of its room's line and gives it a turn later on. Where more of the room or the server wait then
 * than may, the oldest of the server makes room: the newer ones lead to it. Answers which one is given up for that.
 */
export async function postpone(
  tx: Tx,
  { seq, roomId, origin }: Omit<StagedRow, 'json'>,
  { turns, turnTs }: Turn,
  most: Bounds,
): Promise<EventId | undefined> {
  await tx.run(POSTPONE, turns, turnTs, seq);
  return giveUpOldest(tx, roomId, origin, most);
}

/** Adds an event that has not been in its room's line, within the same bounds; one that waits already stays as it is. */
export async function insert(
  tx: Tx,
  { roomId, eventId, origin, json }: StagedEvent,
  { turns, turnTs }: Turn,
  most: Bounds,
): Promise<EventId | undefined> {
  const inserted = await tx.run(INSERT, roomId, eventId, origin, json, turns, turnTs);
  return inserted === 0 ? undefined : giveUpOldest(tx, roomId, origin, most);
}

async function giveUpOldest(
  tx: Tx,
  roomId: RoomId,
  origin: ServerName,
  most: Bounds,
): Promise<EventId | undefined> {
  const count = await tx.get(COUNT, origin, roomId);
  if ((count?.in_room ?? 0) <= most.inRoom && (count?.of_origin ?? 0) <= most.ofOrigin) return undefined;
  const oldest = await tx.get(OLDEST, roomId, origin);
  if (oldest !== undefined) await tx.run(REMOVE, oldest.seq);
  return oldest?.event_id;
}

/** Gives an event that has been postponed another turn. */
export async function postponeAgain(tx: Tx, seq: number, { turns, turnTs }: Turn): Promise<void> {
  await tx.run(POSTPONE, turns, turnTs, seq);
}

/** The events of a room whose turn has come, in the order in which they came. */
export async function due(
  reader: Reader,
  roomId: RoomId,
  { now, limit }: { readonly now: number; readonly limit: number },
): Promise<PostponedRow[]> {
  const rows = await reader.all(DUE, roomId, now, limit);
  return rows.map((row) => ({
    seq: row.seq,
    roomId: row.room_id,
    eventId: row.event_id,
    origin: row.origin,
    json: row.json,
    turns: row.turns,
    turnTs: row.turn_ts,
    isCalled: row.is_called === 1,
  }));
}

/** The rooms with events whose turn has come, in pages: those after a room id ('' for the first). */
export async function dueRooms(
  reader: Reader,
  { now, after, limit }: { readonly now: number; readonly after: string; readonly limit: number },
): Promise<RoomId[]> {
  const rows = await reader.all(DUE_ROOMS, after, now, limit);
  return rows.map((row) => row.room_id);
}

/** When the next turn after a time comes; undefined where there is none. */
export async function nextTurn(reader: Reader, after: number): Promise<number | undefined> {
  return (await reader.get(NEXT_TURN, after))?.turn_ts ?? undefined;
}

/** True where events of a server are postponed. */
export async function hasOf(reader: Reader, origin: ServerName): Promise<boolean> {
  return (await reader.get(HAS_OF, origin)) !== undefined;
}

/** Lets the turns of all events of a server come at once. */
export async function call(tx: Tx, origin: ServerName): Promise<void> {
  await tx.run(CALL, origin);
}

/** Lets the turns of some events come at once; answers how many of them are postponed. */
export async function callEvents(tx: Tx, eventIds: readonly EventId[]): Promise<number> {
  return tx.run(CALL_EVENTS, anyOf(eventIds));
}

/** Takes a better copy of an event that is postponed. */
export async function setJson(
  tx: Tx,
  { json, eventId, roomId }: Pick<StagedEvent, 'json' | 'eventId' | 'roomId'>,
): Promise<void> {
  await tx.run(SET_JSON, json, eventId, roomId);
}

/** Notes that events have heard that they were called. */
export async function answered(tx: Tx, seqs: readonly number[]): Promise<void> {
  await tx.run(ANSWERED, anyOf(seqs));
}
