/** Joins and invitations that are on their way: what rests on one of them waits for it. */

import type { RoomId, UserId } from '#keys/ids.ts';
import type { RoomsContext } from '#rooms/context.ts';

/** Shorter than other servers wait for the answer to a transaction. */
const LONGEST_JOIN_MS = 30_000;
/** A server that answers our invitation only once its user has joined is not waited for. */
const LONGEST_INVITE_MS = 10_000;

/** By server, and by what it is. */
const running = new WeakMap<RoomsContext['rooms'], Map<string, Promise<unknown>>>();

/** Runs a join, one at a time for a room. Whoever sends events to the room already has to wait until we know it. */
export async function whileJoining<T>(ctx: RoomsContext, roomId: RoomId, join: () => Promise<T>): Promise<T> {
  return ctx.roomLocks.run(`join ${roomId}`, () => whileUnderWay(ctx, joinOf(roomId), join));
}

/** Resolves when the join of the room that is under way has ended, however it ended, but in half a minute at most. */
export function joinUnderWay(ctx: RoomsContext, roomId: RoomId): Promise<void> {
  return untilEnded(ctx, joinOf(roomId), LONGEST_JOIN_MS);
}

/**
 * Runs an invitation of another server's user. That server tells its user while its answer is on the way to us, and the
 * user may join before the room has the invitation.
 */
export function whileInviting<T>(
  ctx: RoomsContext,
  { roomId, userId }: { readonly roomId: RoomId; readonly userId: UserId },
  invite: () => Promise<T>,
): Promise<T> {
  return whileUnderWay(ctx, inviteOf(roomId, userId), invite);
}

/** Resolves when the invitation that is under way has ended, however it ended, but in ten seconds at most. */
export function inviteUnderWay(ctx: RoomsContext, roomId: RoomId, userId: UserId): Promise<void> {
  return untilEnded(ctx, inviteOf(roomId, userId), LONGEST_INVITE_MS);
}

function joinOf(roomId: RoomId): string {
  return `join ${roomId}`;
}

function inviteOf(roomId: RoomId, userId: UserId): string {
  return `invite ${roomId} ${userId}`;
}

async function whileUnderWay<T>(ctx: RoomsContext, key: string, work: () => Promise<T>): Promise<T> {
  const underWay = running.get(ctx.rooms) ?? new Map<string, Promise<unknown>>();
  running.set(ctx.rooms, underWay);
  const promise = work();
  underWay.set(key, promise);
  try {
    return await promise;
  } finally {
    if (underWay.get(key) === promise) underWay.delete(key);
  }
}

async function untilEnded(ctx: RoomsContext, key: string, longestMs: number): Promise<void> {
  const promise = running.get(ctx.rooms)?.get(key);
  if (promise === undefined) return;
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, longestMs);
  });
  await Promise.race([promise.then(ended, ended), timeout]);
  clearTimeout(timer);
}

function ended(): void {}
