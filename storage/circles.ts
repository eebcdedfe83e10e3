/** Circles of servers, and the rooms that are bound to them. */

import type { RoomId } from '#keys/ids.ts';
import type { Reader, Tx } from './database.ts';
import { sql } from './sql.ts';

export interface Circle {
  readonly name: string;
  /** Server names, and suffixes such as `*.example.org`, in order and each once. */
  readonly servers: readonly string[];
}

interface Row {
  name: string;
  servers: string;
}

const OF = sql<[string], Row>('circles.of', 'SELECT name, servers FROM circles WHERE name = ?');
const ALL = sql<[number], Row>('circles.all', 'SELECT name, servers FROM circles ORDER BY name LIMIT ?');
const SET = sql<[string, string]>(
  'circles.set',
  `INSERT INTO circles (name, servers) VALUES (?, ?)
   ON CONFLICT (name) DO UPDATE SET servers = excluded.servers`,
);
const ROOMS = sql<[string, number], { room_id: RoomId; circle: string }>(
  'circles.rooms',
  'SELECT room_id, circle FROM circle_rooms WHERE room_id > ? ORDER BY room_id LIMIT ?',
);
const BIND = sql<[string, string]>(
  'circles.bind',
  `INSERT INTO circle_rooms (room_id, circle) VALUES (?, ?)
   ON CONFLICT (room_id) DO UPDATE SET circle = excluded.circle`,
);
const UNBIND = sql<[string]>('circles.unbind', 'DELETE FROM circle_rooms WHERE room_id = ?');

/** The circle of a name. */
export async function of(reader: Reader, name: string): Promise<Circle | undefined> {
  const row = await reader.get(OF, name);
  return row === undefined ? undefined : fromRow(row);
}

/** The circles in the order of their names. */
export async function all(reader: Reader, limit: number): Promise<Circle[]> {
  return (await reader.all(ALL, limit)).map(fromRow);
}

/** Writes a circle in place of what was stored under its name. */
export async function set(tx: Tx, { name, servers }: Circle): Promise<void> {
  await tx.run(SET, name, JSON.stringify(servers));
}

/** The rooms that are bound to a circle, in pages: those after a room id. */
export async function rooms(
  reader: Reader,
  after: string,
  limit: number,
): Promise<{ readonly roomId: RoomId; readonly circle: string }[]> {
  return (await reader.all(ROOMS, after, limit)).map((row) => ({ roomId: row.room_id, circle: row.circle }));
}

/** Binds a room to a circle, in place of the one that it was bound to. */
export async function bind(tx: Tx, roomId: RoomId, circle: string): Promise<void> {
  await tx.run(BIND, roomId, circle);
}

/** Lets a room go. False where it was bound to none. */
export async function unbind(tx: Tx, roomId: RoomId): Promise<boolean> {
  return (await tx.run(UNBIND, roomId)) === 1;
}

function fromRow({ name, servers }: Row): Circle {
  return { name, servers: JSON.parse(servers) as string[] };
}
