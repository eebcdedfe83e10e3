/** Threads that users follow: `server/routes/thread-subscriptions.ts`. */

import type { EventId, RoomId, UserId } from '#keys/ids.ts';
import type { Reader, Tx } from './database.ts';
import { sql } from './sql.ts';
import type { Streams } from './streams.ts';
import { fromTextColumn, textColumn } from './text-column.ts';

export interface ThreadRef {
  readonly userId: UserId;
  readonly roomNid: number;
  readonly rootId: EventId;
}

export interface ThreadSubscription {
  /** When it last changed. */
  readonly position: number;
  readonly subscribed: boolean;
  /** A client made it by itself. */
  readonly automatic: boolean;
  /** When the user last said that they do not follow the thread; 0 where they never have. */
  readonly unsubscribedPosition: number;
}

export interface PlacedSubscription extends ThreadSubscription {
  readonly roomId: RoomId;
  readonly rootId: EventId;
}

interface Row {
  position: number;
  subscribed: number;
  automatic: number;
  unsubscribed_position: number;
}

interface PlacedRow extends Row {
  room_id: RoomId;
  root_id: string;
}

const GET = sql<[string, number, string], Row>(
  'threadSubscriptions.get',
  `SELECT position, subscribed, automatic, unsubscribed_position FROM thread_subscriptions
   WHERE user_id = ? AND room_nid = ? AND root_id = ?`,
);
const SET = sql<[string, number, string, number, number, number, number]>(
  'threadSubscriptions.set',
  `INSERT INTO thread_subscriptions
     (user_id, room_nid, root_id, position, subscribed, automatic, unsubscribed_position)
   VALUES (?, ?, ?, ?, ?, ?, ?)
   ON CONFLICT (user_id, room_nid, root_id) DO UPDATE SET position = excluded.position,
     subscribed = excluded.subscribed, automatic = excluded.automatic,
     unsubscribed_position = excluded.unsubscribed_position`,
);
const COUNT = sql<[string], { subscriptions: number }>(
  'threadSubscriptions.count',
  'SELECT COUNT(*) AS subscriptions FROM thread_subscriptions WHERE user_id = ?',
);
const NEWEST_FIRST = sql<[string, number, number, number], PlacedRow>(
  'threadSubscriptions.newestFirst',
  `SELECT r.room_id, t.root_id, t.position, t.subscribed, t.automatic, t.unsubscribed_position
   FROM thread_subscriptions t JOIN rooms r ON r.room_nid = t.room_nid
   WHERE t.user_id = ? AND t.position > ? AND t.position <= ? ORDER BY t.position DESC LIMIT ?`,
);
const CLEAR = sql<[string]>(
  'threadSubscriptions.clear',
  'DELETE FROM thread_subscriptions WHERE user_id = ?',
);
const CLEAR_ROOM = sql<[number]>(
  'threadSubscriptions.clearRoom',
  'DELETE FROM thread_subscriptions WHERE room_nid = ?',
);

/** What a user has said of a thread, if anything. */
export async function get(
  reader: Reader,
  { userId, roomNid, rootId }: ThreadRef,
): Promise<ThreadSubscription | undefined> {
  const row = await reader.get(GET, userId, roomNid, textColumn(rootId));
  return row && subscriptionOf(row);
}

/** Notes what a user says of a thread, and announces it to their devices. */
export async function set(
  tx: Tx,
  streams: Streams,
  { userId, roomNid, rootId }: ThreadRef,
  said: { readonly kind: 'subscribed'; readonly automatic: boolean } | { readonly kind: 'unsubscribed' },
): Promise<void> {
  const position = streams.allocate(tx, [`user:${userId}`]);
  const before = await get(tx, { userId, roomNid, rootId });
  const isSubscribed = said.kind === 'subscribed';
  const automatic = isSubscribed && said.automatic ? 1 : 0;
  const unsubscribed = isSubscribed ? (before?.unsubscribedPosition ?? 0) : position;
  await tx.run(
    SET,
    userId,
    roomNid,
    textColumn(rootId),
    position,
    isSubscribed ? 1 : 0,
    automatic,
    unsubscribed,
  );
}

/** Of how many threads a user has said something. */
export async function countOf(reader: Reader, userId: UserId): Promise<number> {
  return (await reader.get(COUNT, userId))?.subscriptions ?? 0;
}

/** What a user said after one position and up to another, the newest first. */
export async function newestFirst(
  reader: Reader,
  userId: UserId,
  range: { readonly after: number; readonly upto: number; readonly limit: number },
): Promise<PlacedSubscription[]> {
  const rows = await reader.all(NEWEST_FIRST, userId, range.after, range.upto, range.limit);
  return rows.map((row) => ({
    ...subscriptionOf(row),
    roomId: row.room_id,
    rootId: fromTextColumn(row.root_id) as EventId,
  }));
}

/** Forgets all that a user has said. */
export async function clear(tx: Tx, userId: UserId): Promise<void> {
  await tx.run(CLEAR, userId);
}

/** Forgets what was said of a room that is purged. */
export async function clearRoom(tx: Tx, roomNid: number): Promise<void> {
  await tx.run(CLEAR_ROOM, roomNid);
}

function subscriptionOf(row: Row): ThreadSubscription {
  return {
    position: row.position,
    subscribed: row.subscribed === 1,
    automatic: row.automatic === 1,
    unsubscribedPosition: row.unsubscribed_position,
  };
}
