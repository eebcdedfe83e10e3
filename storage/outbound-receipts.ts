import type { EventId, RoomId, ServerName, UserId } from '#keys/ids.ts';
import type { Reader } from './database.ts';
import { sql } from './sql.ts';

/** A public read receipt, as other servers get it. */
export interface OutboundReceipt {
  readonly position: number;
  readonly roomId: RoomId;
  readonly userId: UserId;
  /** `main`, a thread's root event, or '' for an unthreaded receipt. */
  readonly threadId: string;
  readonly eventId: EventId;
  /** Milliseconds since 1970. */
  readonly ts: number;
}

interface Row {
  position: number;
  room_id: RoomId;
  user_id: UserId;
  thread_id: string;
  event_id: EventId;
  ts: number;
}

/** Positions after `after`, up to `upto`. */
interface Range {
  readonly after: number;
  readonly upto: number;
  readonly limit: number;
}

const FOR_SERVER = sql<[number, number, string, number], Row>(
  'outboundReceipts.forServer',
  `SELECT r.position, rooms.room_id, r.user_id, r.thread_id, r.event_id, r.ts
   FROM receipts r JOIN rooms ON rooms.room_nid = r.room_nid
   WHERE r.position > ? AND r.position <= ? AND r.receipt_type = 'm.read'
     AND EXISTS (SELECT m.user_id FROM memberships m
                 WHERE m.room_nid = r.room_nid AND m.membership = 'join' AND m.server_name = ?)
   ORDER BY r.position LIMIT ?`,
);
const ROOMS_WITH_NEW = sql<[number, number, number], { position: number; room_nid: number; user_id: UserId }>(
  'outboundReceipts.roomsWithNew',
  `SELECT position, room_nid, user_id FROM receipts
   WHERE position > ? AND position <= ? AND receipt_type = 'm.read' ORDER BY position LIMIT ?`,
);

/** The receipts in the rooms that a server is in, of the users of all servers, in order. */
export async function forServer(
  reader: Reader,
  server: ServerName,
  range: Range,
): Promise<OutboundReceipt[]> {
  const rows = await reader.all(FOR_SERVER, range.after, range.upto, server, range.limit);
  return rows.map((row) => ({
    position: row.position,
    roomId: row.room_id,
    userId: row.user_id,
    threadId: row.thread_id,
    eventId: row.event_id,
    ts: row.ts,
  }));
}

/** Where and by whom receipts were set, in order. */
export async function roomsWithNew(
  reader: Reader,
  range: Range,
): Promise<{ position: number; roomNid: number; userId: UserId }[]> {
  const rows = await reader.all(ROOMS_WITH_NEW, range.after, range.upto, range.limit);
  return rows.map((row) => ({ position: row.position, roomNid: row.room_nid, userId: row.user_id }));
}
