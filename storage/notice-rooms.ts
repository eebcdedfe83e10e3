/** Where the server speaks to its users, and as whom: https://spec.matrix.org/v1.19/client-server-api/#server-notices */

import type { RoomId, UserId } from '#keys/ids.ts';
import type { Reader, Tx } from './database.ts';
import { sql } from './sql.ts';

const OF = sql<[string], { room_id: RoomId }>(
  'noticeRooms.of',
  'SELECT room_id FROM notice_rooms WHERE user_id = ?',
);
const SET = sql<[string, string]>(
  'noticeRooms.set',
  `INSERT INTO notice_rooms (user_id, room_id) VALUES (?, ?)
   ON CONFLICT (user_id) DO UPDATE SET room_id = excluded.room_id`,
);
const IS_SENDER = sql<[string], { user_id: UserId }>(
  'noticeRooms.isSender',
  'SELECT user_id FROM notice_senders WHERE user_id = ?',
);
const ADD_SENDER = sql<[string]>(
  'noticeRooms.addSender',
  'INSERT INTO notice_senders (user_id) VALUES (?) ON CONFLICT (user_id) DO NOTHING',
);

/** The room of a user's notices; undefined before the first. */
export async function of(reader: Reader, userId: UserId): Promise<RoomId | undefined> {
  return (await reader.get(OF, userId))?.room_id;
}

export async function set(tx: Tx, userId: UserId, roomId: RoomId): Promise<void> {
  await tx.run(SET, userId, roomId);
}

/** True for an account that was made to send notices. */
export async function isSender(reader: Reader, userId: UserId): Promise<boolean> {
  return (await reader.get(IS_SENDER, userId)) !== undefined;
}

export async function addSender(tx: Tx, userId: UserId): Promise<void> {
  await tx.run(ADD_SENDER, userId);
}
