/** What was counted of the unread events of rooms, up to some position: `server/push/unread.ts` says what it holds. */

import type { UserId } from '#keys/ids.ts';
import type { JsonObject } from '#keys/json.ts';
import type { Reader, Tx } from './database.ts';
import { anyOf, sql } from './sql.ts';

const OF_ROOMS = sql<[string, string], { room_nid: number; content_json: string }>(
  'unreadCheckpoints.ofRooms',
  `SELECT room_nid, content_json FROM unread_checkpoints
   WHERE room_nid {anyInt} AND user_id = ? ORDER BY room_nid`,
);
const SET = sql<[number, string, string]>(
  'unreadCheckpoints.set',
  `INSERT INTO unread_checkpoints (room_nid, user_id, content_json) VALUES (?, ?, ?)
   ON CONFLICT (room_nid, user_id) DO UPDATE SET content_json = excluded.content_json`,
);
const CLEAR = sql<[string]>('unreadCheckpoints.clear', 'DELETE FROM unread_checkpoints WHERE user_id = ?');
const CLEAR_ROOM = sql<[number]>(
  'unreadCheckpoints.clearRoom',
  'DELETE FROM unread_checkpoints WHERE room_nid = ?',
);

/** The checkpoints of a user in some rooms, by room. */
export async function ofRooms(
  reader: Reader,
  userId: UserId,
  roomNids: readonly number[],
): Promise<ReadonlyMap<number, JsonObject>> {
  const found = await reader.all(OF_ROOMS, anyOf(roomNids), userId);
  return new Map(found.map((row) => [row.room_nid, JSON.parse(row.content_json) as JsonObject]));
}

/** Writes one in place of that before. */
export async function set(tx: Tx, roomNid: number, userId: UserId, content: object): Promise<void> {
  await tx.run(SET, roomNid, userId, JSON.stringify(content));
}

/** Removes those of a user. */
export async function clear(tx: Tx, userId: UserId): Promise<void> {
  await tx.run(CLEAR, userId);
}

/** Removes those of a room, of which some events are no longer there. */
export async function clearRoom(tx: Tx, roomNid: number): Promise<void> {
  await tx.run(CLEAR_ROOM, roomNid);
}
