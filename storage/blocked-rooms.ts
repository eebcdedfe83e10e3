/** Rooms that no user of this server may join or be invited to. */

import type { RoomId } from '#keys/ids.ts';
import type { Reader, Tx } from './database.ts';
import { sql } from './sql.ts';

const IS_BLOCKED = sql<[string], { room_id: RoomId }>(
  'blockedRooms.isBlocked',
  'SELECT room_id FROM blocked_rooms WHERE room_id = ?',
);
const BLOCK = sql<[string, number]>(
  'blockedRooms.block',
  'INSERT INTO blocked_rooms (room_id, blocked_ts) VALUES (?, ?) ON CONFLICT (room_id) DO NOTHING',
);
const UNBLOCK = sql<[string]>('blockedRooms.unblock', 'DELETE FROM blocked_rooms WHERE room_id = ?');
const PAGE = sql<[string, number], { room_id: RoomId }>(
  'blockedRooms.page',
  'SELECT room_id FROM blocked_rooms WHERE room_id > ? ORDER BY room_id LIMIT ?',
);

/** True where the room is blocked. */
export async function isBlocked(reader: Reader, roomId: RoomId): Promise<boolean> {
  return (await reader.get(IS_BLOCKED, roomId)) !== undefined;
}

/** Blocks a room, known or not. */
export async function block(tx: Tx, roomId: RoomId, now: number): Promise<void> {
  await tx.run(BLOCK, roomId, now);
}

/** Lifts a block. False where there was none. */
export async function unblock(tx: Tx, roomId: RoomId): Promise<boolean> {
  return (await tx.run(UNBLOCK, roomId)) === 1;
}

/** Blocked rooms in the order of their ids, those after one. */
export async function page(reader: Reader, after: string, limit: number): Promise<RoomId[]> {
  return (await reader.all(PAGE, after, limit)).map((row) => row.room_id);
}
