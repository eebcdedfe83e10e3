/** Who has read what, as other servers tell it: https://spec.matrix.org/v1.19/server-server-api/#receipts */

import { type EventId, isEventId, isRoomId, isUserId, type ServerName } from '#keys/ids.ts';
import { integerAt, isObject, type Json, type JsonObject, objectAt, own } from '#keys/json.ts';
import { loadEvent } from '#rooms/load.ts';
import type { Room } from '#rooms/room.ts';
import type { Tx } from '#storage/database.ts';
import * as events from '#storage/events.ts';
import * as receipts from '#storage/receipts.ts';
import { type EduContext, type EduWrite, isMember, roomFor } from './edu-source.ts';

/** Receipts in one EDU: servers send fewer. */
const MOST_RECEIPTS = 500;

interface ReceiptIn {
  readonly room: Room;
  readonly receipt: receipts.Receipt;
}

/** Takes in an `m.receipt`: only of the origin's own users, only in rooms where these are. */
export async function receiveReceipts(
  ctx: EduContext,
  origin: ServerName,
  content: JsonObject,
): Promise<EduWrite | undefined> {
  let left = MOST_RECEIPTS;
  const taken: ReceiptIn[] = [];
  for (const [roomId, byType] of Object.entries(content)) {
    if (!isRoomId(roomId) || !isObject(byType)) continue;
    const told = receiptsIn(byType).slice(0, left);
    left -= told.length;
    // "The only kind of receipt supported is a read receipt"; room by room.
    const room = told.length === 0 ? undefined : await roomFor(ctx, origin, roomId);
    if (room === undefined) continue;
    for (const receipt of told) {
      // One user after the other: in nearly every EDU there is one.
      if (!(await isMember(ctx, room, receipt.userId, origin))) continue;
      if (await isOfKnownThread(ctx, room, receipt)) taken.push({ room, receipt });
    }
  }
  return taken.length === 0
    ? undefined
    : { rows: taken.length, write: (tx) => writeReceipts(ctx, tx, taken) };
}

/** Each thread takes a row: of those that we do not know there could be any number. */
async function isOfKnownThread(
  ctx: EduContext,
  room: Room,
  { threadId }: receipts.Receipt,
): Promise<boolean> {
  return !isEventId(threadId) || (await loadEvent(ctx, threadId))?.roomNid === room.roomNid;
}

async function writeReceipts(ctx: EduContext, tx: Tx, taken: readonly ReceiptIn[]): Promise<void> {
  for (const { room, receipt } of taken) {
    if (await movesForward(tx, room, receipt)) await receipts.set(tx, ctx.streams, room, receipt);
  }
}

/** False where the user's receipt is at the event already or beyond it. An event that we do not know counts as new. */
async function movesForward(tx: Tx, room: Room, receipt: receipts.Receipt): Promise<boolean> {
  const known = await receipts.ofUser(tx, room.roomNid, receipt.userId);
  const before = known.find(({ type, threadId }) => type === 'm.read' && threadId === receipt.threadId);
  if (before === undefined) return true;
  if (before.eventId === receipt.eventId) return false;
  const positions = await events.positionsOf(tx, [before.eventId, receipt.eventId]);
  const from = positions.get(before.eventId);
  const to = positions.get(receipt.eventId);
  return from === undefined || to === undefined || to > from;
}

/** `{"m.read": {user_id: {event_ids: [...], data: {ts, thread_id?}}}}`, without what is malformed. */
function receiptsIn(byType: JsonObject): receipts.Receipt[] {
  const found: receipts.Receipt[] = [];
  for (const [userId, receipt] of Object.entries(objectAt(byType, 'm.read') ?? {})) {
    if (!isUserId(userId) || !isObject(receipt)) continue;
    const data = objectAt(receipt, 'data') ?? {};
    const ts = integerAt(data, 'ts');
    const eventId = lastEventIdOf(own(receipt, 'event_ids'));
    const threadId = threadIdOf(own(data, 'thread_id'));
    if (ts === undefined || eventId === undefined || threadId === undefined) continue;
    found.push({ userId, type: 'm.read', threadId, eventId, ts });
  }
  return found;
}

/** "The extremity event IDs that the user has read up to": servers send one. */
function lastEventIdOf(eventIds: Json | undefined): EventId | undefined {
  return Array.isArray(eventIds) ? eventIds.findLast(isEventId) : undefined;
}

/** '' where the receipt is of no thread; undefined where it is of none that there can be. */
function threadIdOf(threadId: Json | undefined): string | undefined {
  if (threadId === undefined) return '';
  return threadId === 'main' || isEventId(threadId) ? threadId : undefined;
}
