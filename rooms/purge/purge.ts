/**
 * Deleting of history, batch by batch. What goes is written down before anything is deleted, and each batch is a
 * transaction of its own: after a crash `runPurge` goes on where it was.
 *
 * Of a room that stays, messages go and state events leave the timeline: states of the room name them, those of now
 * and those at every event that stays, and so do the auth chains of all these. Nothing goes that is a forward
 * extremity, that is still to be sent to another server, or that redacts an event which has not arrived.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { type EventId, isEventId } from '#keys/ids.ts';
import type { Tx } from '#storage/database.ts';
import * as eventTimes from '#storage/event-times.ts';
import * as provisionalRejections from '#storage/provisional-rejections.ts';
import * as table from '#storage/purge.ts';
import * as purges from '#storage/purges.ts';
import * as threadSubscriptions from '#storage/thread-subscriptions.ts';
import * as unreadCheckpoints from '#storage/unread-checkpoints.ts';
import { loadEvent } from '../load.ts';
import { getRoomByNid, type Room } from '../room.ts';
import { keptEvent } from '../stored-event.ts';
import { runForgetting } from './forget.ts';
import type { PurgeContext, PurgeResult } from './purge-context.ts';

export type { PurgeContext, PurgeResult } from './purge-context.ts';

interface PurgeProgress {
  withdrawn: number;
  kept: number;
}

const EVENTS_AT_ONCE = 200;

/** Up to where history is deleted. */
export type PurgePoint =
  /** What came, and of older history what was sent, before a time in milliseconds since 1970. */
  | { readonly before: number }
  /** What stands before an event of the room. */
  | { readonly eventId: EventId };

/** Writes down that the history before a point is to go. False for an event that is not in the room's timeline. */
export async function beginPurge(ctx: PurgeContext, room: Room, point: PurgePoint): Promise<boolean> {
  const { roomNid } = room;
  const range =
    'before' in point
      ? await rangeBefore(ctx, roomNid, point.before)
      : await rangeOf(ctx, room, point.eventId);
  if (range === undefined) return false;
  const begunTs = ctx.clock.now();
  await ctx.db.write('purges.begin', (tx) => purges.begin(tx, { roomNid, begunTs, ...range }));
  return true;
}

type PurgeRange = Pick<purges.Purge, 'upto' | 'sentBefore' | 'receivedBefore'>;

async function rangeOf(ctx: PurgeContext, room: Room, eventId: EventId): Promise<PurgeRange | undefined> {
  const stored = await loadEvent(ctx, eventId);
  if (stored?.position === undefined || stored.roomNid !== room.roomNid) return undefined;
  return { upto: stored.position, sentBefore: undefined, receivedBefore: stored.receivedTs };
}

/**
 * Live events come in the order of the time at which they came, which is ours and not what their senders say. Of
 * history that was fetched later we have only their senders' word.
 */
async function rangeBefore(ctx: PurgeContext, roomNid: number, time: number): Promise<PurgeRange> {
  const [last] = await eventTimes.before(ctx.db, roomNid, Number.MAX_SAFE_INTEGER, 1);
  let [low, high] = [0, Math.max(0, last?.position ?? 0)];
  // At most 53 times: a position is a safe integer.
  while (low < high) {
    const middle = low + Math.floor((high - low) / 2);
    const [event] = await table.receivedAfter(ctx.db, roomNid, middle, 1);
    if (event === undefined || event.receivedTs >= time) high = middle;
    else low = event.position;
  }
  return { upto: low + 1, sentBefore: time, receivedBefore: time };
}

/** Goes on with what is to be deleted of a room, to its end; undefined where nothing is. */
export async function runPurge(
  ctx: PurgeContext,
  roomNid: number,
  signal: AbortSignal,
): Promise<PurgeResult | undefined> {
  const purge = await purges.of(ctx.db, roomNid);
  const room = purge && (await getRoomByNid(ctx, roomNid));
  if (purge === undefined) return undefined;
  if (room === undefined) {
    await endPurge(ctx, roomNid);
    return { kind: 'done', deleted: purge.deleted, withdrawn: 0, kept: 0 };
  }
  if (purge.upto === undefined) return runForgetting(ctx, room, purge, signal);
  const progress = { withdrawn: 0, kept: 0 };
  const finished = await purgeTimeline(ctx, room, { ...purge, upto: purge.upto }, { progress, signal });
  if (!finished || !(await purgeUnplaced(ctx, room, purge, { progress, signal })))
    return { kind: 'interrupted' };
  const deleted = (await purges.of(ctx.db, roomNid))?.deleted ?? 0;
  await endPurge(ctx, roomNid);
  return { kind: 'done', deleted, ...progress };
}

function endPurge(ctx: PurgeContext, roomNid: number): Promise<void> {
  return ctx.db.write('purges.end', (tx) => purges.end(tx, roomNid));
}

interface Run {
  readonly progress: PurgeProgress;
  readonly signal: AbortSignal;
}

/** What clients see, oldest first. False where the signal ended it. */
async function purgeTimeline(
  ctx: PurgeContext,
  room: Room,
  { upto, sentBefore = Number.POSITIVE_INFINITY }: purges.Purge & { readonly upto: number },
  { progress, signal }: Run,
): Promise<boolean> {
  // Only live events come to be pending, and these are newer: to ask once is enough.
  const pending = await table.pending(ctx.db, room.roomNid);
  let after = Number.MIN_SAFE_INTEGER;
  while (!signal.aborted) {
    const range = { after, before: upto, limit: EVENTS_AT_ONCE };
    const events = await table.placed(ctx.db, room.roomNid, range);
    const last = events.at(-1)?.position;
    if (last === undefined) return true;
    after = last;
    const due = events.filter(
      ({ position = 0, originServerTs }) => position > 0 || originServerTs < sentBefore,
    );
    const doomed = due.filter(({ nid }) => !pending.has(nid));
    progress.kept += due.length - doomed.length;
    await purgeBatch(ctx, room, doomed, progress);
    await nextTurn();
  }
  return false;
}

/** Messages that were rejected or soft-failed. */
async function purgeUnplaced(
  ctx: PurgeContext,
  room: Room,
  { receivedBefore }: purges.Purge,
  { progress, signal }: Run,
): Promise<boolean> {
  const pending = await table.pending(ctx.db, room.roomNid);
  let after = 0;
  while (!signal.aborted) {
    const events = await table.unplaced(ctx.db, room.roomNid, after, EVENTS_AT_ONCE);
    const last = events.at(-1);
    if (last === undefined) return true;
    after = last.nid;
    const doomed = events.filter(
      ({ nid, isState, receivedTs }) => !isState && receivedTs < receivedBefore && !pending.has(nid),
    );
    await purgeBatch(ctx, room, doomed, progress);
    await nextTurn();
  }
  return false;
}

/** One transaction. Under the room's lock, so that nothing is built upon what goes. */
async function purgeBatch(
  ctx: PurgeContext,
  room: Room,
  events: readonly table.PurgeableEvent[],
  progress: PurgeProgress,
): Promise<void> {
  if (events.length === 0) return;
  await ctx.roomLocks.run(room.roomId, async () => {
    const counts = await ctx.db.write('purge.batch', (tx) => writeBatch(ctx, tx, room, events));
    progress.withdrawn += counts.withdrawn;
    progress.kept += counts.kept;
  });
}

async function writeBatch(
  ctx: PurgeContext,
  tx: Tx,
  { roomNid, rules }: Room,
  events: readonly table.PurgeableEvent[],
): Promise<{ withdrawn: number; kept: number }> {
  const messages = events.filter(({ isState }) => !isState).map(({ nid }) => nid);
  const gone = new Set(await table.deleteMessages(tx, roomNid, messages));
  const left = events.filter(({ nid, position }) => !gone.has(nid) && position !== undefined);
  const withdrawn = new Set(
    await table.withdraw(
      tx,
      roomNid,
      left.map(({ nid }) => nid),
    ),
  );
  const purged = events.filter(({ nid }) => gone.has(nid) || withdrawn.has(nid));
  // What lay before it is not to be fetched again.
  const cited = purged.flatMap(({ eventId, json }) => keptEvent(json, rules, eventId).prevEvents);
  await table.deleteBackward(tx, roomNid, cited.filter(isEventId));
  await table.markPurged(tx, roomNid, ctx.clock.now());
  if (gone.size > 0) await provisionalRejections.drop(tx, gone);
  await purges.addDeleted(tx, roomNid, gone.size);
  await unreadCheckpoints.clearRoom(tx, roomNid);
  await threadSubscriptions.clearRoom(tx, roomNid);
  tx.afterCommit(() => {
    ctx.rooms.notePurge(roomNid);
    for (const { nid } of purged) ctx.rooms.dropEvent(nid);
  });
  return { withdrawn: withdrawn.size, kept: left.length - withdrawn.size };
}
