import type { RoomAlias, RoomId, UserId } from '#keys/ids.ts';
import type { Reader, Tx } from './database.ts';
import { sql } from './sql.ts';

/** A room alias of this server. */
export interface AliasRow {
  readonly alias: RoomAlias;
  readonly roomId: RoomId;
  /** Who made it. */
  readonly creator: UserId;
  /** When, in milliseconds since 1970. */
  readonly createdTs: number;
}

interface Row {
  alias: RoomAlias;
  room_id: RoomId;
  creator: UserId;
  created_ts: number;
}

const GET = sql<[string], Row>(
  'aliases.get',
  "SELECT alias, room_id, creator, created_ts FROM aliases WHERE alias = ? AND room_id <> ''",
);
const OF_ROOM = sql<[string], Row>(
  'aliases.ofRoom',
  'SELECT alias, room_id, creator, created_ts FROM aliases WHERE room_id = ? ORDER BY alias LIMIT 10000',
);
const INSERT = sql<[string, string, string, number]>(
  'aliases.insert',
  `INSERT INTO aliases (alias, room_id, creator, created_ts) VALUES (?, ?, ?, ?)
   ON CONFLICT (alias) DO NOTHING`,
);
const RESERVE = sql<[string, string, number, number]>(
  'aliases.reserve',
  `INSERT INTO aliases (alias, room_id, creator, created_ts) VALUES (?, '', ?, ?)
   ON CONFLICT (alias) DO UPDATE SET creator = excluded.creator, created_ts = excluded.created_ts
   WHERE aliases.room_id = '' AND aliases.created_ts < ?`,
);
const ASSIGN = sql<[string, string, string]>(
  'aliases.assign',
  "UPDATE aliases SET room_id = ? WHERE alias = ? AND creator = ? AND room_id = ''",
);
const RELEASE = sql<[string, string]>(
  'aliases.release',
  "DELETE FROM aliases WHERE alias = ? AND creator = ? AND room_id = ''",
);
const REMOVE = sql<[string]>('aliases.remove', "DELETE FROM aliases WHERE alias = ? AND room_id <> ''");
const MOVE = sql<[string, string]>('aliases.move', 'UPDATE aliases SET room_id = ? WHERE room_id = ?');
const REMOVE_OF_ROOM = sql<[string]>('aliases.removeOfRoom', 'DELETE FROM aliases WHERE room_id = ?');

/** A reservation that a crash has left behind is free after this time. */
const RESERVED_MS = 10 * 60 * 1000;

/** The room of an alias, and who made it. */
export async function get(reader: Reader, alias: RoomAlias): Promise<AliasRow | undefined> {
  const row = await reader.get(GET, alias);
  return row === undefined ? undefined : fromRow(row);
}

/** The aliases of a room on this server, in alphabetical order. */
export async function ofRoom(reader: Reader, roomId: RoomId): Promise<AliasRow[]> {
  return (await reader.all(OF_ROOM, roomId)).map(fromRow);
}

/** Makes an alias. False where it is taken. */
export async function insert(tx: Tx, row: AliasRow): Promise<boolean> {
  const { alias, roomId, creator, createdTs } = row;
  return (await tx.run(INSERT, alias, roomId, creator, createdTs)) === 1;
}

/** Keeps an alias for a room that is about to be made. False where it is taken or reserved. */
export async function reserve(tx: Tx, alias: RoomAlias, creator: UserId, now: number): Promise<boolean> {
  const stale = now - RESERVED_MS;
  return (await tx.run(RESERVE, alias, creator, now, stale)) === 1;
}

/** Gives a reserved alias to its room. False where the reservation has run out. */
export async function assign(tx: Tx, alias: RoomAlias, creator: UserId, roomId: RoomId): Promise<boolean> {
  return (await tx.run(ASSIGN, roomId, alias, creator)) === 1;
}

/** Gives up a reservation. */
export async function release(tx: Tx, alias: RoomAlias, creator: UserId): Promise<void> {
  await tx.run(RELEASE, alias, creator);
}

/** Removes an alias. False where there was none. */
export async function remove(tx: Tx, alias: RoomAlias): Promise<boolean> {
  return (await tx.run(REMOVE, alias)) === 1;
}

/** Points all aliases of one room to another. */
export async function move(tx: Tx, from: RoomId, to: RoomId): Promise<void> {
  await tx.run(MOVE, to, from);
}

/** Removes all aliases of a room; answers how many there were. */
export function removeOfRoom(tx: Tx, roomId: RoomId): Promise<number> {
  return tx.run(REMOVE_OF_ROOM, roomId);
}

function fromRow(row: Row): AliasRow {
  return { alias: row.alias, roomId: row.room_id, creator: row.creator, createdTs: row.created_ts };
}
