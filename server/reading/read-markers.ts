/** Receipts and the fully-read marker: none of them ever moves back. */

import { notFound } from '#federation/errors.ts';
import type { EventId, UserId } from '#keys/ids.ts';
import { stringAt } from '#keys/json.ts';
import { loadEvent } from '#rooms/load.ts';
import type { Room } from '#rooms/room.ts';
import * as accountData from '#storage/account-data.ts';
import type { Reader } from '#storage/database.ts';
import * as events from '#storage/events.ts';
import * as receipts from '#storage/receipts.ts';
import type { ServerContext } from '../context.ts';

/** A receipt as the client sets it. */
export interface NewReceipt {
  readonly type: receipts.ReceiptType;
  readonly eventId: EventId;
  /** `main`, a thread's root event, or '' for an unthreaded receipt. */
  readonly threadId: string;
}

/**
 * Throws `M_NOT_FOUND` unless the event is of the room: alike for one of another room and for one that is not there.
 * A receipt goes to all servers of the room, where the ids of other rooms' events are no one's business.
 */
export async function requireInRoom(ctx: ServerContext, { roomNid }: Room, eventId: EventId): Promise<void> {
  const event = await loadEvent(ctx, eventId);
  if (event?.roomNid !== roomNid) throw notFound('Event not found');
}

/** Sets a user's receipt, unless one of the same kind is there already for the same or a later event. */
export async function setReceipt(
  ctx: ServerContext,
  room: Room,
  userId: UserId,
  receipt: NewReceipt,
): Promise<void> {
  const find = async (reader: Reader) => {
    const known = await receipts.ofUser(reader, room.roomNid, userId);
    return known.find(({ type, threadId }) => type === receipt.type && threadId === receipt.threadId);
  };
  const before = (await find(ctx.db))?.eventId;
  if (!(await movesForward(ctx.db, before, receipt.eventId))) return;
  await ctx.db.write('receipts.set', async (tx) => {
    // Another request may have been faster.
    const current = (await find(tx))?.eventId;
    if (current !== before && !(await movesForward(tx, current, receipt.eventId))) return;
    await receipts.set(tx, ctx.streams, room, { ...receipt, userId, ts: ctx.clock.now() });
  });
}

/** Sets the user's fully-read marker of a room, which only the user sees. */
export async function setFullyRead(
  ctx: ServerContext,
  room: Room,
  userId: UserId,
  eventId: EventId,
): Promise<void> {
  const key = { userId, roomId: room.roomId, type: 'm.fully_read' };
  const find = async (reader: Reader) => stringAt((await accountData.get(reader, key)) ?? {}, 'event_id');
  const before = await find(ctx.db);
  if (!(await movesForward(ctx.db, before, eventId))) return;
  await ctx.db.write('readMarkers.set', async (tx) => {
    // Another request may have been faster.
    const current = await find(tx);
    if (current !== before && !(await movesForward(tx, current, eventId))) return;
    await accountData.set(tx, ctx.streams, { ...key, content: { event_id: eventId } });
  });
}

/** False where the marker is at the event already or beyond it. An event that we do not know counts as new. */
async function movesForward(reader: Reader, before: string | undefined, eventId: EventId): Promise<boolean> {
  if (before === undefined) return true;
  if (before === eventId) return false;
  const rows = await events.byIds(reader, [`$${before.slice(1)}`, eventId]);
  const positionOf = (id: string) => rows.find(({ event_id: known }) => known === id)?.position ?? undefined;
  const [old, next] = [positionOf(before), positionOf(eventId)];
  return old === undefined || next === undefined || next > old;
}
