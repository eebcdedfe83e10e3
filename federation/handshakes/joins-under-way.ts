/** Rooms that are being joined: whoever sends events to them already has to wait until we know the room. */

import type { RoomId } from '#keys/ids.ts';
import type { RoomsContext } from '#rooms/context.ts';

/** Shorter than other servers wait for the answer to a transaction. */
const LONGEST_WAIT_MS = 30_000;

const joins = new WeakMap<RoomsContext['rooms'], Map<RoomId, Promise<unknown>>>();

/** Runs a join, which others may wait for. One at a time for a room. */
export async function whileJoining<T>(ctx: RoomsContext, roomId: RoomId, join: () => Promise<T>): Promise<T> {
  return ctx.roomLocks.run(`join ${roomId}`, async () => {
    const underWay = joins.get(ctx.rooms) ?? new Map<RoomId, Promise<unknown>>();
    joins.set(ctx.rooms, underWay);
    const running = join();
    underWay.set(roomId, running);
    try {
      return await running;
    } finally {
      underWay.delete(roomId);
    }
  });
}

/** Resolves when the join of the room that is under way has ended, however it ended, but in half a minute at most. */
export async function joinUnderWay(ctx: RoomsContext, roomId: RoomId): Promise<void> {
  const running = joins.get(ctx.rooms)?.get(roomId);
  if (running === undefined) return;
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, LONGEST_WAIT_MS);
  });
  await Promise.race([running.then(ended, ended), timeout]);
  clearTimeout(timer);
}

function ended(): void {}
