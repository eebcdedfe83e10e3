/** Typing and receipts of a room, as /sync tells them. */

import type { RoomId, UserId } from '#keys/ids.ts';
import type { Receipt } from '#storage/receipts.ts';
import * as receipts from '#storage/receipts.ts';
import type { ServerContext } from '../context.ts';
import type { SyncAnswer, SyncContext } from './context.ts';
import { includesRoom, passes } from './filter.ts';
import type { JoinedRoom, SyncUser } from './sync-users.ts';

const NOBODY_TYPES = typingText([]);

/** The ephemeral events of a room since a position, or all that hold; each as JSON. */
export async function ephemeralEvents(
  sync: SyncContext,
  answer: SyncAnswer,
  room: JoinedRoom,
  since: number | undefined,
): Promise<string[]> {
  const { ephemeral: filter } = answer.request.filter;
  if (!includesRoom(filter.rooms, room.roomId)) return [];
  const events: string[] = [];
  if (passes(filter, { type: 'm.typing' })) events.push(...typingEvents(sync, answer, room, since));
  if (passes(filter, { type: 'm.receipt' })) events.push(...(await receiptEvents(sync, answer, room, since)));
  return events;
}

/** https://spec.matrix.org/v1.19/client-server-api/#mtyping */
function typingEvents(
  { server }: SyncContext,
  { user }: SyncAnswer,
  { roomId }: JoinedRoom,
  since: number | undefined,
): string[] {
  const event = typingEvent(server, user, { roomId, since });
  return event === undefined ? [] : [event];
}

/** Who types in a room, as JSON; undefined where that has not changed since a position. */
export function typingEvent(
  { streams, typing }: Pick<ServerContext, 'streams' | 'typing'>,
  { ignored }: Pick<SyncUser, 'ignored'>,
  { roomId, since }: { readonly roomId: RoomId; readonly since: number | undefined },
): string | undefined {
  // Who typed when the server stopped is not known any more, but clients still show it.
  const isKnown = since !== undefined && streams.remembers(since);
  if (isKnown && typing.lastPosition(roomId) <= since) return undefined;
  const userIds = typing.in(roomId).filter((userId) => !ignored.has(userId));
  if (userIds.length === 0) return since === undefined ? undefined : NOBODY_TYPES;
  return typingText(userIds);
}

function typingText(userIds: readonly UserId[]): string {
  return JSON.stringify({ type: 'm.typing', content: { user_ids: userIds } });
}

/** https://spec.matrix.org/v1.19/client-server-api/#mreceipt */
async function receiptEvents(
  { server }: SyncContext,
  { user, upto }: SyncAnswer,
  room: JoinedRoom,
  since: number | undefined,
): Promise<string[]> {
  const shown = await shownReceipts(server, user, room, { since, upto });
  return receiptContents(shown).map((content) => JSON.stringify({ type: 'm.receipt', content }));
}

/** The receipts of a room after a position, or all that hold, that a user is shown. */
export async function shownReceipts(
  { db, streams }: Pick<ServerContext, 'db' | 'streams'>,
  user: Pick<SyncUser, 'userId' | 'ignored'>,
  { roomNid, keys }: JoinedRoom,
  { since, upto }: { readonly since: number | undefined; readonly upto: number },
): Promise<Receipt[]> {
  if (since !== undefined && !streams.mayConcern(keys.receipts, since)) return [];
  const found = await receipts.between(db, roomNid, { after: since ?? 0, upto });
  return found.filter((receipt) => isShownTo(receipt, user.userId) && !user.ignored.has(receipt.userId));
}

/** "Servers MUST NOT send the `m.read.private` receipt to any other user than the one which originally sent it." */
function isShownTo({ type, userId }: Receipt, reader: UserId): boolean {
  return type !== 'm.read.private' || userId === reader;
}

export type ReceiptContent = Record<
  string,
  Record<string, Record<string, { ts: number; thread_id?: string }>>
>;

/**
 * By event, type and user, which leaves room for one receipt each. Of several of a user for one event the first content
 * has the unthreaded one, which means most to clients that read no more; those of threads follow in others: "receipts
 * SHOULD be batched into one event per room and thread".
 */
export function receiptContents(found: readonly Receipt[]): ReceiptContent[] {
  const contents: ReceiptContent[] = [];
  const count = new Map<string, number>();
  // Stable: beside that, the order is that of the positions.
  const unthreadedFirst = found.toSorted((a, b) => Number(a.threadId !== '') - Number(b.threadId !== ''));
  for (const { eventId, type, userId, threadId, ts } of unthreadedFirst) {
    const place = `${eventId} ${type} ${userId}`;
    const number = count.get(place) ?? 0;
    count.set(place, number + 1);
    contents[number] ??= {};
    const content = contents[number];
    content[eventId] ??= {};
    const ofEvent = content[eventId];
    ofEvent[type] ??= {};
    ofEvent[type][userId] = { ts, ...(threadId !== '' && { thread_id: threadId }) };
  }
  return contents;
}
