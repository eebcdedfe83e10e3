/** The rooms that everybody may enter or read: their members are no secret. */

import type { Tx } from './database.ts';
import { sql } from './sql.ts';

const reasons = ['join_rule', 'history_visibility'] as const;
type Reason = (typeof reasons)[number];

const ADD = sql<[number, string]>(
  'openRooms.add',
  'INSERT INTO open_rooms (room_nid, reason) VALUES (?, ?) ON CONFLICT (room_nid, reason) DO NOTHING',
);
const REMOVE = sql<[number, string]>(
  'openRooms.remove',
  'DELETE FROM open_rooms WHERE room_nid = ? AND reason = ?',
);

/** Notes whether a room is open by its join rule, or by its history visibility. */
export async function set(tx: Tx, roomNid: number, reason: Reason, isOpen: boolean): Promise<void> {
  await tx.run(isOpen ? ADD : REMOVE, roomNid, reason);
}
