import type { Reader, Tx } from './database.ts';
import { anyOf, sql } from './sql.ts';
import type { StateKey } from './state-keys.ts';
import { fromTextColumn, textColumn } from './text-column.ts';

/** A change of a room's current state. */
export interface StateDelta {
  readonly position: number;
  readonly type: string;
  readonly stateKey: string;
  /** Undefined where the key went. */
  readonly eventNid: number | undefined;
  readonly prevEventNid: number | undefined;
}

interface Row {
  type: string;
  state_key: string;
  event_nid: number;
}

interface DeltaRow {
  position: number;
  type: string;
  state_key: string;
  event_nid: number | null;
  prev_event_nid: number | null;
}

const ALL = sql<[number], Row>(
  'currentState.all',
  'SELECT type, state_key, event_nid FROM current_state WHERE room_nid = ? ORDER BY type, state_key',
);
const GET = sql<[number, string, string], Row>(
  'currentState.get',
  `SELECT type, state_key, event_nid FROM current_state
   WHERE room_nid = ? AND type = ? AND state_key = ?`,
);
const OF_TYPE = sql<[number, string, string], Row>(
  'currentState.ofType',
  `SELECT type, state_key, event_nid FROM current_state
   WHERE room_nid = ? AND type = ? AND state_key {anyOf} ORDER BY type, state_key`,
);
const ALL_OF_TYPE = sql<[number, string], Row>(
  'currentState.allOfType',
  `SELECT type, state_key, event_nid FROM current_state
   WHERE room_nid = ? AND type = ? ORDER BY type, state_key`,
);
// Two ranges of the primary key: the members of a large room are not walked over.
const ALL_BESIDES = sql<[number, string, number, string], Row>(
  'currentState.allBesides',
  `SELECT type, state_key, event_nid FROM current_state WHERE room_nid = ? AND type < ?
   UNION ALL
   SELECT type, state_key, event_nid FROM current_state WHERE room_nid = ? AND type > ?
   ORDER BY type, state_key`,
);
const OF_ROOMS = sql<[string, string], Row & { room_nid: number }>(
  'currentState.ofRooms',
  `SELECT room_nid, type, state_key, event_nid FROM current_state
   WHERE room_nid {anyInt} AND type {anyOf} AND state_key = '' ORDER BY room_nid, type`,
);
const OF_TYPES_IN = sql<[string, string], { event_nid: number }>(
  'currentState.ofTypesIn',
  `SELECT event_nid FROM current_state
   WHERE room_nid {anyInt} AND type {anyOf} ORDER BY room_nid, type, state_key`,
);
const SET = sql<[number, string, string, number]>(
  'currentState.set',
  `INSERT INTO current_state (room_nid, type, state_key, event_nid) VALUES (?, ?, ?, ?)
   ON CONFLICT (room_nid, type, state_key) DO UPDATE SET event_nid = excluded.event_nid`,
);
const SET_TO_EVENTS = sql<[string]>(
  'currentState.setToEvents',
  `INSERT INTO current_state (room_nid, type, state_key, event_nid)
   SELECT room_nid, type, state_key, event_nid FROM events
   WHERE event_nid {anyInt} AND state_key IS NOT NULL ORDER BY event_nid
   ON CONFLICT (room_nid, type, state_key) DO UPDATE SET event_nid = excluded.event_nid`,
);
const REMOVE = sql<[number, string, string]>(
  'currentState.remove',
  'DELETE FROM current_state WHERE room_nid = ? AND type = ? AND state_key = ?',
);
const CLEAR = sql<[number]>('currentState.clear', 'DELETE FROM current_state WHERE room_nid = ?');
const ADD_DELTA = sql<[number, number, string, string, number | null, number | null]>(
  'currentState.addDelta',
  `INSERT INTO state_deltas (room_nid, position, type, state_key, event_nid, prev_event_nid)
   VALUES (?, ?, ?, ?, ?, ?)`,
);
const DELTAS = sql<[number, number, number], DeltaRow>(
  'currentState.deltas',
  `SELECT position, type, state_key, event_nid, prev_event_nid FROM state_deltas
   WHERE room_nid = ? AND position > ? AND position <= ?
   ORDER BY position, type, state_key`,
);

const REPLACED = sql<[number, string, string, number], DeltaRow>(
  'currentState.replaced',
  `SELECT position, type, state_key, event_nid, prev_event_nid FROM state_deltas
   WHERE room_nid = ? AND type = ? AND state_key = ? AND prev_event_nid = ?
   ORDER BY position DESC LIMIT 1`,
);

const FIRST_SET = sql<[number, string, string], { position: number }>(
  'currentState.firstSet',
  `SELECT position FROM state_deltas WHERE room_nid = ? AND type = ? AND state_key = ?
   ORDER BY position LIMIT 1`,
);

/** The numeric id of the event under one key of the current state. */
export async function get(reader: Reader, roomNid: number, key: StateKey): Promise<number | undefined> {
  return (await reader.get(GET, roomNid, textColumn(key.type), textColumn(key.stateKey)))?.event_nid;
}

/** The numeric ids of the events under some keys; those that the state lacks are absent. */
export async function some(
  reader: Reader,
  roomNid: number,
  keys: readonly StateKey[],
): Promise<(StateKey & { eventNid: number })[]> {
  const found: (StateKey & { eventNid: number })[] = [];
  for (const [type, ofType] of Map.groupBy(keys, (key) => key.type)) {
    // One query for each type: those asked for are few.
    const stateKeys = anyOf(ofType.map((key) => textColumn(key.stateKey)));
    found.push(...(await reader.all(OF_TYPE, roomNid, textColumn(type), stateKeys)).map(keyed));
  }
  return found;
}

/** The whole current state: keys and numeric ids of events. */
export async function all(reader: Reader, roomNid: number): Promise<(StateKey & { eventNid: number })[]> {
  return (await reader.all(ALL, roomNid)).map(keyed);
}

/** The current state without what has one type, for instance without the members. */
export async function allBesides(
  reader: Reader,
  roomNid: number,
  type: string,
): Promise<(StateKey & { eventNid: number })[]> {
  const column = textColumn(type);
  return (await reader.all(ALL_BESIDES, roomNid, column, roomNid, column)).map(keyed);
}

/** When a key was set for the first time, by the changes that are kept. Walks the room's changes. */
export async function firstSet(reader: Reader, roomNid: number, key: StateKey): Promise<number | undefined> {
  const row = await reader.get(FIRST_SET, roomNid, textColumn(key.type), textColumn(key.stateKey));
  return row?.position;
}

/** All of the current state that has one type, for instance the members. */
export async function ofType(
  reader: Reader,
  roomNid: number,
  type: string,
): Promise<(StateKey & { eventNid: number })[]> {
  return (await reader.all(ALL_OF_TYPE, roomNid, textColumn(type))).map(keyed);
}

/** What rooms have under some types and the empty state key. */
export async function ofRooms(
  reader: Reader,
  roomNids: Iterable<number>,
  types: readonly string[],
): Promise<{ readonly roomNid: number; readonly type: string; readonly eventNid: number }[]> {
  const rows = await reader.all(OF_ROOMS, anyOf(roomNids), anyOf(types.map(textColumn)));
  return rows.map((row) => ({
    roomNid: row.room_nid,
    type: fromTextColumn(row.type),
    eventNid: row.event_nid,
  }));
}

/** The numeric ids of what rooms have under some types, whatever the state keys. */
export async function ofTypesIn(
  reader: Reader,
  roomNids: Iterable<number>,
  types: readonly string[],
): Promise<number[]> {
  const rows = await reader.all(OF_TYPES_IN, anyOf(roomNids), anyOf(types.map(textColumn)));
  return rows.map((row) => row.event_nid);
}

/** Changes one key of the current state; undefined removes it. */
export async function set(
  tx: Tx,
  roomNid: number,
  key: StateKey,
  eventNid: number | undefined,
): Promise<void> {
  const columns = [roomNid, textColumn(key.type), textColumn(key.stateKey)] as const;
  if (eventNid === undefined) await tx.run(REMOVE, ...columns);
  else await tx.run(SET, ...columns, eventNid);
}

/** Makes stored state events, no two of them with the same key, the current state of their rooms. */
export async function setToEvents(tx: Tx, eventNids: Iterable<number>): Promise<void> {
  await tx.run(SET_TO_EVENTS, anyOf(eventNids));
}

/** Removes the whole of it. */
export async function clear(tx: Tx, roomNid: number): Promise<void> {
  await tx.run(CLEAR, roomNid);
}

/** Records a change of the current state for those who follow it. */
export async function addDelta(tx: Tx, roomNid: number, delta: StateDelta): Promise<void> {
  await tx.run(
    ADD_DELTA,
    roomNid,
    delta.position,
    textColumn(delta.type),
    textColumn(delta.stateKey),
    delta.eventNid ?? null,
    delta.prevEventNid ?? null,
  );
}

/** The changes of the current state after one position, up to another, oldest first. */
export async function deltas(
  reader: Reader,
  roomNid: number,
  range: { readonly after: number; readonly upto: number },
): Promise<StateDelta[]> {
  return (await reader.all(DELTAS, roomNid, range.after, range.upto)).map(deltaOf);
}

/** The last change by which an event left the current state, where there was one. Walks the room's changes. */
export async function replaced(
  reader: Reader,
  roomNid: number,
  key: StateKey,
  eventNid: number,
): Promise<StateDelta | undefined> {
  const { type, stateKey } = key;
  const row = await reader.get(REPLACED, roomNid, textColumn(type), textColumn(stateKey), eventNid);
  return row === undefined ? undefined : deltaOf(row);
}

function deltaOf(row: DeltaRow): StateDelta {
  return {
    position: row.position,
    type: fromTextColumn(row.type),
    stateKey: fromTextColumn(row.state_key),
    eventNid: row.event_nid ?? undefined,
    prevEventNid: row.prev_event_nid ?? undefined,
  };
}

function keyed(row: Row): StateKey & { eventNid: number } {
  return { type: fromTextColumn(row.type), stateKey: fromTextColumn(row.state_key), eventNid: row.event_nid };
}
