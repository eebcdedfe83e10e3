import type { RoomId } from '#keys/ids.ts';
import type { Reader, Tx } from './database.ts';
import { anyOf, sql } from './sql.ts';
import type { StateGroup } from './state-groups.ts';

/** A room that the server knows. */
export interface RoomRow {
  readonly roomNid: number;
  readonly roomId: RoomId;
  readonly version: string;
  /** Goes up with every write of the room's graph. */
  readonly rowVersion: number;
  /** The current state; 0 for a room that is known by an invitation only. */
  readonly stateGroup: StateGroup;
}

interface Row {
  room_nid: number;
  room_id: RoomId;
  version: string;
  row_version: number;
  state_group: number;
}

const BY_ID = sql<[string], Row>(
  'rooms.byId',
  'SELECT room_nid, room_id, version, row_version, state_group FROM rooms WHERE room_id = ?',
);
const BY_NID = sql<[number], Row>(
  'rooms.byNid',
  'SELECT room_nid, room_id, version, row_version, state_group FROM rooms WHERE room_nid = ?',
);
const BY_NIDS = sql<[string], Row>(
  'rooms.byNids',
  `SELECT room_nid, room_id, version, row_version, state_group FROM rooms
   WHERE room_nid {anyInt} ORDER BY room_nid`,
);
const PAGE = sql<[number, number], Row>(
  'rooms.page',
  `SELECT room_nid, room_id, version, row_version, state_group FROM rooms
   WHERE room_nid > ? ORDER BY room_nid LIMIT ?`,
);
const BEGUN = sql<[], { room_nid: number }>(
  'rooms.begun',
  `SELECT room_nid FROM rooms r
   WHERE state_group = 0 AND EXISTS (SELECT 1 FROM current_state c WHERE c.room_nid = r.room_nid)
   ORDER BY room_nid`,
);
const INSERT = sql<[string, string], { room_nid: number }>(
  'rooms.insert',
  `INSERT INTO rooms (room_id, version, row_version, state_group) VALUES (?, ?, 0, 0)
   ON CONFLICT (room_id) DO UPDATE SET
     version = CASE WHEN rooms.row_version = 0 THEN excluded.version ELSE rooms.version END
   RETURNING room_nid`,
);
const ADVANCE = sql<[number, number]>(
  'rooms.advance',
  'UPDATE rooms SET row_version = row_version + 1 WHERE room_nid = ? AND row_version = ?',
);
const SET_STATE_GROUP = sql<[number, number]>(
  'rooms.setStateGroup',
  'UPDATE rooms SET state_group = ? WHERE room_nid = ?',
);

/** The room of an id. */
export async function byId(reader: Reader, roomId: RoomId): Promise<RoomRow | undefined> {
  return roomOf(await reader.get(BY_ID, roomId));
}

/** The room of a numeric id. */
export async function byNid(reader: Reader, roomNid: number): Promise<RoomRow | undefined> {
  return roomOf(await reader.get(BY_NID, roomNid));
}

/** The rooms of many numeric ids; unknown ones are absent from the answer. */
export async function byNids(reader: Reader, roomNids: Iterable<number>): Promise<Map<number, RoomRow>> {
  const rows = await reader.all(BY_NIDS, anyOf(roomNids));
  return new Map(rows.map((row) => [row.room_nid, fromRow(row)]));
}

/** All rooms, in pages: those after a numeric id. */
export async function page(reader: Reader, afterNid: number, limit: number): Promise<RoomRow[]> {
  return (await reader.all(PAGE, afterNid, limit)).map(fromRow);
}

/** The rooms without a state of which nevertheless something is in the table of the current state. */
export async function begun(reader: Reader): Promise<number[]> {
  return (await reader.all(BEGUN)).map((row) => row.room_nid);
}

/**
 * Makes the room, without events or state, where it is not known yet; answers its numeric id. Of one that has no graph
 * yet the version is what was said last: an invitation may have lied.
 */
export async function insert(tx: Tx, roomId: RoomId, version: string): Promise<number> {
  const row = await tx.get(INSERT, roomId, version);
  if (row === undefined) throw new Error('a room got no numeric id');
  return row.room_nid;
}

/** Compare-and-set: true where the room's row still had `rowVersion`, which is now one higher. */
export async function advance(tx: Tx, roomNid: number, rowVersion: number): Promise<boolean> {
  return (await tx.run(ADVANCE, roomNid, rowVersion)) === 1;
}

/** Sets the current state. */
export async function setStateGroup(tx: Tx, roomNid: number, group: StateGroup): Promise<void> {
  await tx.run(SET_STATE_GROUP, group, roomNid);
}

function roomOf(row: Row | undefined): RoomRow | undefined {
  return row === undefined ? undefined : fromRow(row);
}

function fromRow(row: Row): RoomRow {
  return {
    roomNid: row.room_nid,
    roomId: row.room_id,
    version: row.version,
    rowVersion: row.row_version,
    stateGroup: row.state_group,
  };
}
