import type { RoomId, ServerName } from '#keys/ids.ts';
import type { Reader, Tx } from './database.ts';
import { anyOf, sql } from './sql.ts';

/** A published room in which this server takes part. */
export interface PublishedRoom {
  readonly roomNid: number;
  readonly roomId: RoomId;
  readonly joinedMembers: number;
}

/** Where a page begins: behind this room in the order, or before it for the page before. */
export interface DirectoryPlace {
  readonly joinedMembers: number;
  readonly roomId: RoomId;
}

interface Row {
  room_nid: number;
  room_id: RoomId;
  joined: number;
}

const IS_PUBLISHED = sql<[number], { room_nid: number }>(
  'roomDirectory.isPublished',
  'SELECT room_nid FROM published_rooms WHERE room_nid = ?',
);
const PUBLISH = sql<[number, number]>(
  'roomDirectory.publish',
  `INSERT INTO published_rooms (room_nid, published_ts) VALUES (?, ?)
   ON CONFLICT (room_nid) DO NOTHING`,
);
const UNPUBLISH = sql<[number]>('roomDirectory.unpublish', 'DELETE FROM published_rooms WHERE room_nid = ?');

const SET_IN_NETWORK = sql<[string, number]>(
  'roomDirectory.setInNetwork',
  'INSERT INTO network_rooms (network, room_nid) VALUES (?, ?) ON CONFLICT (network, room_nid) DO NOTHING',
);
const UNSET_IN_NETWORK = sql<[string, number]>(
  'roomDirectory.unsetInNetwork',
  'DELETE FROM network_rooms WHERE network = ? AND room_nid = ?',
);

/** Takes which directory three times: '' is this server's own, `*` is all of them, any other that of a network. */
const IN_DIRECTORY = `(SELECT room_nid FROM published_rooms WHERE CAST(? AS {text}) IN ('', '*')
  UNION SELECT room_nid FROM network_rooms WHERE network = ? OR CAST(? AS {text}) = '*')`;

const PUBLISHED = `SELECT p.room_nid, r.room_id,
    (SELECT COUNT(*) FROM memberships m WHERE m.room_nid = p.room_nid AND m.membership = 'join') AS joined
  FROM ${IN_DIRECTORY} p JOIN rooms r ON r.room_nid = p.room_nid
  WHERE EXISTS (SELECT 1 FROM memberships ours
    WHERE ours.room_nid = p.room_nid AND ours.membership = 'join' AND ours.server_name = ?)`;

const FIRST = sql<[string, string, string, string, number], Row>(
  'roomDirectory.first',
  `SELECT d.room_nid, d.room_id, d.joined FROM (${PUBLISHED}) d
   ORDER BY d.joined DESC, d.room_id LIMIT ?`,
);
const AFTER = sql<[string, string, string, string, number, number, string, number], Row>(
  'roomDirectory.after',
  `SELECT d.room_nid, d.room_id, d.joined FROM (${PUBLISHED}) d
   WHERE d.joined < ? OR (d.joined = ? AND d.room_id > ?)
   ORDER BY d.joined DESC, d.room_id LIMIT ?`,
);
const BEFORE = sql<[string, string, string, string, number, number, string, number], Row>(
  'roomDirectory.before',
  `SELECT d.room_nid, d.room_id, d.joined FROM (${PUBLISHED}) d
   WHERE d.joined > ? OR (d.joined = ? AND d.room_id < ?)
   ORDER BY d.joined, d.room_id DESC LIMIT ?`,
);
const COUNT = sql<[string, string, string, string], { rooms: number }>(
  'roomDirectory.count',
  `SELECT COUNT(*) AS rooms FROM (${PUBLISHED}) d`,
);
const STATE = sql<[string, string], { event_nid: number }>(
  'roomDirectory.state',
  `SELECT event_nid FROM current_state
   WHERE room_nid {anyInt} AND type {anyOf} AND state_key = '' ORDER BY event_nid`,
);

/** True where the room is in the directory. */
export async function isPublished(reader: Reader, roomNid: number): Promise<boolean> {
  return (await reader.get(IS_PUBLISHED, roomNid)) !== undefined;
}

/** Puts a room into the directory, if it is not there. */
export async function publish(tx: Tx, roomNid: number, now: number): Promise<void> {
  await tx.run(PUBLISH, roomNid, now);
}

/** Takes a room out of the directory, if it is there. */
export async function unpublish(tx: Tx, roomNid: number): Promise<void> {
  await tx.run(UNPUBLISH, roomNid);
}

/** Puts a room into the directory of a network, or takes it out. */
export async function setInNetwork(
  tx: Tx,
  { network, roomNid, isPublished }: { network: string; roomNid: number; isPublished: boolean },
): Promise<void> {
  await tx.run(isPublished ? SET_IN_NETWORK : UNSET_IN_NETWORK, network, roomNid);
}

/** Whose rooms: '' for those that this server publishes itself, `*` for all, else the id of a network. */
export interface Directory {
  readonly serverName: ServerName;
  readonly network: string;
}

/** How many rooms are in the directory. */
export async function count(reader: Reader, directory: Directory): Promise<number> {
  return (await reader.get(COUNT, ...which(directory)))?.rooms ?? 0;
}

function which({ serverName, network }: Directory): [string, string, string, string] {
  return [network, network, network, serverName];
}

/** The largest rooms; of the same size, in the order of their ids. */
export async function first(reader: Reader, directory: Directory, limit: number): Promise<PublishedRoom[]> {
  return (await reader.all(FIRST, ...which(directory), limit)).map(fromRow);
}

/** The rooms that follow a place in the order of `first`. */
export async function after(
  reader: Reader,
  directory: Directory,
  place: DirectoryPlace,
  limit: number,
): Promise<PublishedRoom[]> {
  const { joinedMembers, roomId } = place;
  return (await reader.all(AFTER, ...which(directory), joinedMembers, joinedMembers, roomId, limit)).map(
    fromRow,
  );
}

/** The rooms that stand before a place, the nearest first. */
export async function before(
  reader: Reader,
  directory: Directory,
  place: DirectoryPlace,
  limit: number,
): Promise<PublishedRoom[]> {
  const { joinedMembers, roomId } = place;
  return (await reader.all(BEFORE, ...which(directory), joinedMembers, joinedMembers, roomId, limit)).map(
    fromRow,
  );
}

/** The numeric ids of the rooms' state events of these types with the state key ''. */
export async function stateOf(
  reader: Reader,
  roomNids: Iterable<number>,
  types: readonly string[],
): Promise<number[]> {
  return (await reader.all(STATE, anyOf(roomNids), anyOf(types))).map((row) => row.event_nid);
}

function fromRow(row: Row): PublishedRoom {
  return { roomNid: row.room_nid, roomId: row.room_id, joinedMembers: row.joined };
}
