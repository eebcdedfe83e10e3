import type { EventId, RoomId, UserId } from '#keys/ids.ts';
import type { Reader, Tx } from './database.ts';
import { anyOf, sql } from './sql.ts';
import type { Streams } from './streams.ts';

export type ReceiptType = 'm.read' | 'm.read.private';

export interface Receipt {
  readonly userId: UserId;
  readonly type: ReceiptType;
  /** `main`, a thread's root event, or '' for an unthreaded receipt. */
  readonly threadId: string;
  readonly eventId: EventId;
  /** When the user read it, in milliseconds since 1970. */
  readonly ts: number;
}

interface ReceiptRow {
  user_id: UserId;
  receipt_type: ReceiptType;
  thread_id: string;
  event_id: EventId;
  ts: number;
  position: number;
}

const UPSERT = sql<[number, string, string, string, string, number, number]>(
  'receipts.upsert',
  `INSERT INTO receipts (room_nid, user_id, receipt_type, thread_id, event_id, ts, position)
   VALUES (?, ?, ?, ?, ?, ?, ?)
   ON CONFLICT (room_nid, user_id, receipt_type, thread_id)
   DO UPDATE SET event_id = excluded.event_id, ts = excluded.ts, position = excluded.position`,
);

const BETWEEN = sql<[number, number, number, number], ReceiptRow>(
  'receipts.between',
  `SELECT user_id, receipt_type, thread_id, event_id, ts, position FROM receipts
   WHERE room_nid = ? AND position > ? AND position <= ?
   ORDER BY position DESC, user_id DESC, receipt_type DESC, thread_id DESC LIMIT ?`,
);

const OF_USER = sql<[number, string], ReceiptRow>(
  'receipts.ofUser',
  `SELECT user_id, receipt_type, thread_id, event_id, ts, position FROM receipts
   WHERE room_nid = ? AND user_id = ?
   ORDER BY receipt_type, thread_id`,
);

const OF_USER_IN = sql<[string, string], ReceiptRow & { room_nid: number }>(
  'receipts.ofUserIn',
  `SELECT room_nid, user_id, receipt_type, thread_id, event_id, ts, position FROM receipts
   WHERE room_nid {anyInt} AND user_id = ? ORDER BY room_nid, receipt_type, thread_id`,
);

/** A room's receipts in one answer: more are of no use to a client, and a stranger's servers send them. */
const MOST_RECEIPTS = 5_000;

/**
 * Stores a user's receipt, in place of an earlier one of the same type and thread, and announces it. The
 * caller has checked that it does not move backwards.
 */
export async function set(
  tx: Tx,
  streams: Streams,
  room: { roomNid: number; roomId: RoomId },
  receipt: Receipt,
): Promise<number> {
  const hints = [`room:${room.roomId}`, `receipts:${room.roomId}`, `user:${receipt.userId}`];
  hints.push(receipt.type === 'm.read' ? 'receipts' : 'private_receipts');
  const position = streams.allocate(tx, hints);
  const { userId, type, threadId, eventId, ts } = receipt;
  await tx.run(UPSERT, room.roomNid, userId, type, threadId, eventId, ts, position);
  return position;
}

/** The receipts of a room that changed after one position, up to another, in order: of very many the newest. */
export async function between(
  reader: Reader,
  roomNid: number,
  range: { after: number; upto: number },
): Promise<Receipt[]> {
  const newestFirst = await reader.all(BETWEEN, roomNid, range.after, range.upto, MOST_RECEIPTS);
  return newestFirst.reverse().map(receiptOf);
}

/** All of one user's receipts in a room. */
export async function ofUser(reader: Reader, roomNid: number, userId: UserId): Promise<Receipt[]> {
  return (await reader.all(OF_USER, roomNid, userId)).map(receiptOf);
}

export interface PlacedReceipt extends Receipt {
  readonly roomNid: number;
  /** Where it was set. */
  readonly position: number;
}

/** All of one user's receipts in some rooms. */
export async function placedOfUser(
  reader: Reader,
  userId: UserId,
  roomNids: readonly number[],
): Promise<PlacedReceipt[]> {
  const rows = await reader.all(OF_USER_IN, anyOf(roomNids), userId);
  return rows.map((row) => ({ ...receiptOf(row), roomNid: row.room_nid, position: row.position }));
}

function receiptOf(row: ReceiptRow): Receipt {
  return {
    userId: row.user_id,
    type: row.receipt_type,
    threadId: row.thread_id,
    eventId: row.event_id,
    ts: row.ts,
  };
}
