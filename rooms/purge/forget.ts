/**
 * Deleting of whole rooms: "If all users on a homeserver forget a room, the room is eligible for deletion from that
 * homeserver." https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidforget
 *
 * 1. It is written down that the room is to go; from then on nobody of ours comes into it.
 * 2. Other servers are given a day to hear that our users have left.
 * 3. In one transaction the room ends: it has no graph and no state any more.
 * 4. Its rows go, a bounded number at a time: the nodes of its states, its events, its members, the room itself.
 *
 * A crash at any point leaves the note of 1, and the next run goes on. What stays are the pairs of event type and
 * state key (`state_keys`), which other rooms share; and of each table the newest row, until there is a newer one.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import * as aliases from '#storage/aliases.ts';
import * as memberships from '#storage/memberships.ts';
import * as table from '#storage/purge.ts';
import * as purges from '#storage/purges.ts';
import { free } from '#storage/state-groups.ts';
import { getRoomByNid, type Room } from '../room.ts';
import type { PurgeContext, PurgeResult } from './purge-context.ts';

const DAY_MS = 24 * 60 * 60_000;
const EVENTS_AT_ONCE = 100;
const ROWS_AT_ONCE = 500;
const NODES_AT_ONCE = 1_000;
const ROOMS_AT_ONCE = 100;

/** Writes down that a room is to go. Answers a user of ours who is in it, or could come in, and keeps it from going. */
export function beginForgetting(ctx: PurgeContext, { roomNid, roomId }: Room): Promise<string | undefined> {
  const begunTs = ctx.clock.now();
  // Under the lock of the room: no join is under way.
  return ctx.roomLocks.run(roomId, () =>
    ctx.db.write('purges.begin', async (tx) => {
      const member = await purges.memberOf(tx, roomNid, ctx.serverName);
      if (member !== undefined) return member;
      const whole = { upto: undefined, sentBefore: undefined, receivedBefore: begunTs };
      // In place of a purge of its history.
      await purges.end(tx, roomNid);
      await purges.begin(tx, { roomNid, begunTs, ...whole });
      return undefined;
    }),
  );
}

/** Writes down that all rooms are to go that all users of ours have left and forgotten. Answers how many. */
export async function beginForgettingLeft(ctx: PurgeContext, signal: AbortSignal): Promise<number> {
  let begun = 0;
  for (let after = 0; !signal.aborted; ) {
    const nids = await purges.leftByAll(ctx.db, ctx.serverName, after, ROOMS_AT_ONCE);
    for (const roomNid of nids) {
      after = roomNid;
      // Each for itself, under its own lock.
      const room =
        (await purges.of(ctx.db, roomNid)) === undefined ? await getRoomByNid(ctx, roomNid) : undefined;
      if (room !== undefined && (await beginForgetting(ctx, room)) === undefined) begun += 1;
    }
    if (nids.length < ROOMS_AT_ONCE) break;
  }
  return begun;
}

/** Steps 2 to 4. */
export async function runForgetting(
  ctx: PurgeContext,
  room: Room,
  purge: purges.Purge,
  signal: AbortSignal,
): Promise<PurgeResult> {
  const { roomNid } = room;
  const isDue = ctx.clock.now() - purge.begunTs >= DAY_MS;
  if (!isDue && (await table.hasUnsent(ctx.db, roomNid))) return { kind: 'waiting' };
  if (!(await endRoom(ctx, room))) return { kind: 'in_use' };
  const steps = [
    () => repeat(signal, () => ctx.db.write('purge.rows', (tx) => table.deleteRows(tx, room, ROWS_AT_ONCE))),
    () => deleteEvents(ctx, roomNid, signal),
    () =>
      repeat(signal, () =>
        ctx.db.write('purge.members', (tx) => table.deleteMembers(tx, room, ctx.serverName, ROWS_AT_ONCE)),
      ),
  ];
  for (const step of steps) {
    await step();
    if (signal.aborted) return { kind: 'interrupted' };
  }
  const deleted = (await purges.of(ctx.db, roomNid))?.deleted ?? 0;
  await ctx.db.write('purge.room', async (tx) => {
    await table.deleteRoom(tx, roomNid);
    await purges.end(tx, roomNid);
    tx.afterCommit(() => ctx.rooms.forgetRoom(room.roomId));
  });
  return { kind: 'done', deleted, withdrawn: 0, kept: 0 };
}

/** Step 3. False where a user of ours is in the room after all: then it stays. */
function endRoom(ctx: PurgeContext, { roomNid, roomId }: Room): Promise<boolean> {
  return ctx.roomLocks.run(roomId, () =>
    ctx.db.write('purge.end', async (tx) => {
      if ((await purges.memberOf(tx, roomNid, ctx.serverName)) !== undefined) {
        await purges.end(tx, roomNid);
        return false;
      }
      await table.deletePending(tx, roomNid);
      await table.close(tx, roomNid);
      await aliases.removeOfRoom(tx, roomId);
      await memberships.forgetAll(tx, roomNid, ctx.serverName);
      tx.afterCommit(() => {
        ctx.rooms.dropHead(roomNid);
        ctx.rooms.dropJoinedServers(roomNid);
        ctx.rooms.forgetRoom(roomId);
      });
      return true;
    }),
  );
}

/** The events of a room, each after the nodes of the states around it. */
async function deleteEvents(ctx: PurgeContext, roomNid: number, signal: AbortSignal): Promise<void> {
  let after = 0;
  await repeat(signal, async () => {
    const everything = { after: Number.MIN_SAFE_INTEGER, before: Number.MAX_SAFE_INTEGER };
    const placed = await table.placed(ctx.db, roomNid, { ...everything, limit: EVENTS_AT_ONCE });
    const events = placed.length > 0 ? placed : await table.unplaced(ctx.db, roomNid, after, EVENTS_AT_ONCE);
    if (events.length === 0) return false;
    // What stays, as the newest of all events, is not to be come to again.
    if (placed.length === 0) after = events.at(-1)?.nid ?? after;
    const nids = events.map(({ nid }) => nid);
    const groups = [...new Set(events.flatMap((event) => event.groups))];
    // The events go with the last of the nodes: until then they say which these are.
    await repeat(signal, () =>
      ctx.db.write('purge.events', async (tx) => {
        const freed = await free(tx, groups, NODES_AT_ONCE);
        if (!freed.done) return true;
        const gone = await table.deleteEvents(tx, nids);
        await purges.addDeleted(tx, roomNid, gone.length);
        tx.afterCommit(() => {
          for (const nid of nids) ctx.rooms.dropEvent(nid);
        });
        return false;
      }),
    );
    return true;
  });
}

/** Calls `step` until it answers false, or the signal ends it; others have their turn in between. */
async function repeat(signal: AbortSignal, step: () => Promise<boolean>): Promise<void> {
  while (!signal.aborted && (await step())) await nextTurn();
}
