/** When something last happened, by what is stored: for whoever must know of times that streams have forgotten. */

import type { Reader } from './database.ts';
import { anyOf, sql } from './sql.ts';

export interface LastInRoom {
  readonly roomNid: number;
  /** Of an event in the timeline; 0 where there is none, as with the others. */
  readonly event: number;
  /** Of a change of the current state. */
  readonly state: number;
  readonly receipt: number;
}

interface Row {
  room_nid: number;
  event: number | null;
  state: number | null;
  receipt: number | null;
}

// Each the end of an index: what a room holds besides is not walked over.
const IN_ROOMS = sql<[string], Row>(
  'lastPositions.inRooms',
  `SELECT r.room_nid,
     (SELECT MAX(e.position) FROM events e WHERE e.room_nid = r.room_nid) AS event,
     (SELECT MAX(d.position) FROM state_deltas d WHERE d.room_nid = r.room_nid) AS state,
     (SELECT MAX(c.position) FROM receipts c WHERE c.room_nid = r.room_nid) AS receipt
   FROM rooms r WHERE r.room_nid {anyInt} ORDER BY r.room_nid`,
);
const OF_DEVICE_LISTS = sql<[], { lists: number | null; signatures: number | null }>(
  'lastPositions.ofDeviceLists',
  `SELECT (SELECT MAX(position) FROM device_lists) AS lists,
     (SELECT MAX(position) FROM key_signatures) AS signatures`,
);

/** The last positions of some rooms. */
export async function inRooms(reader: Reader, roomNids: readonly number[]): Promise<LastInRoom[]> {
  return (await reader.all(IN_ROOMS, anyOf(roomNids))).map((row) => ({
    roomNid: row.room_nid,
    event: Math.max(row.event ?? 0, 0),
    state: row.state ?? 0,
    receipt: row.receipt ?? 0,
  }));
}

/** When the devices or keys of any user were last said to have changed. */
export async function ofDeviceLists(reader: Reader): Promise<number> {
  const row = await reader.get(OF_DEVICE_LISTS);
  return Math.max(row?.lists ?? 0, row?.signatures ?? 0);
}
