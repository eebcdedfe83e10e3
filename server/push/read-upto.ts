/**
 * How far a user has read in a room, by their receipts:
 * https://spec.matrix.org/v1.19/client-server-api/#marking-notifications-as-read
 *
 * "If the user has both `m.read` and `m.read.private` set in the room then the receipt which is more recent/ahead must
 * be used". `m.fully_read` is no receipt and marks nothing as read.
 */

import type { EventId, UserId } from '#keys/ids.ts';
import type { RoomsContext } from '#rooms/context.ts';
import { loadEvents } from '#rooms/load.ts';
import type { StoredEvent } from '#rooms/stored-event.ts';
import * as memberships from '#storage/memberships.ts';
import * as receipts from '#storage/receipts.ts';

export interface ReadUpto {
  /** All events up to here are read, or were before the user joined. */
  readonly everywhere: number;
  /** By thread, `main` or the root: up to where its events are read. */
  readonly threads: ReadonlyMap<string, number>;
  /** The position of the last receipt. */
  readonly changedAt: number;
}

/** How far a user has read. */
export async function readUptoOf(ctx: RoomsContext, roomNid: number, userId: UserId): Promise<ReadUpto> {
  const joined = await memberships.joinedPosition(ctx.db, roomNid, userId);
  const read = (await readUptoIn(ctx, userId, new Map([[roomNid, joined]]))).get(roomNid);
  if (read === undefined) throw new Error('nothing was read of a room that was asked for');
  return read;
}

/** How far a user has read in some rooms, by their numeric ids; given since when the user is joined to each. */
export async function readUptoIn(
  ctx: RoomsContext,
  userId: UserId,
  joined: ReadonlyMap<number, number | undefined>,
): Promise<ReadonlyMap<number, ReadUpto>> {
  const roomNids = [...joined.keys()];
  const set = await receipts.placedOfUser(ctx.db, userId, roomNids);
  const events = await loadEvents(
    ctx,
    set.map(({ eventId }) => eventId),
  );
  const ofRooms = Map.groupBy(set, ({ roomNid }) => roomNid);
  return new Map(
    roomNids.map((roomNid) => {
      const read = { joined: joined.get(roomNid), receipts: ofRooms.get(roomNid) ?? [] };
      return [roomNid, readUptoBy(roomNid, read, events)];
    }),
  );
}

const NO_THREADS: ReadonlyMap<string, number> = new Map();

function readUptoBy(
  roomNid: number,
  read: { readonly joined: number | undefined; readonly receipts: readonly receipts.PlacedReceipt[] },
  events: ReadonlyMap<EventId, StoredEvent>,
): ReadUpto {
  let everywhere = read.joined ?? Number.MAX_SAFE_INTEGER;
  let changedAt = 0;
  const threads = new Map<string, number>();
  for (const { eventId, threadId, position } of read.receipts) {
    changedAt = Math.max(changedAt, position);
    const stored = events.get(eventId);
    if (stored?.roomNid !== roomNid || stored.position === undefined) continue;
    if (threadId === '') everywhere = Math.max(everywhere, stored.position);
    else threads.set(threadId, Math.max(threads.get(threadId) ?? 0, stored.position));
  }
  return { everywhere, threads: threads.size === 0 ? NO_THREADS : threads, changedAt };
}

/** True where an event of a thread is read. */
export function isRead(
  read: ReadUpto,
  { position, thread }: { readonly position: number; readonly thread: string },
): boolean {
  return position <= read.everywhere || position <= (read.threads.get(thread) ?? 0);
}
