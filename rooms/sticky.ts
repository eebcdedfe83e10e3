/**
 * Sticky events: https://github.com/matrix-org/matrix-spec-proposals/pull/4354, under its unstable names.
 *
 * For an hour at most an event is delivered to everybody who is in the room, wherever it stands in the timeline, and to
 * servers that come into it. The time begins when it was sent, or when it came here, whichever is earlier.
 */

import { belongsTo, type ServerName, serverNameOf } from '#keys/ids.ts';
import { integerAt, objectAt } from '#keys/json.ts';
import type { Tx } from '#storage/database.ts';
import * as destinations from '#storage/destinations.ts';
import * as events from '#storage/events.ts';
import * as memberships from '#storage/memberships.ts';
import * as stickyEvents from '#storage/sticky-events.ts';
import { checkStateDependent } from './auth/check.ts';
import { authStateIn } from './auth-state.ts';
import { STICKY_MEMBER } from './build-event.ts';
import type { RoomsContext } from './context.ts';
import { type Event, membershipOf } from './event.ts';
import { loadNids } from './load.ts';
import { unsignedBecause } from './policy.ts';
import { groupRef } from './resolve-state.ts';
import type { Room } from './room.ts';
import { headOf } from './room-head.ts';
import type { StoredEvent } from './stored-event.ts';

/** "Valid values are the integer range 0-3600000 (1 hour)." */
export const MAX_STICKY_MS = 3_600_000;
/** Who waits for servers to be sent sticky events that are not new. */
export const LATE_STICKY = 'late_sticky';
/** Of one room at once. */
export const MOST_STICKY = 1_000;
const MOST_REVISED = 100;

/** For how long the event says that it is sticky; undefined for one that is not. */
export function stickyMsOf({ pdu }: Pick<Event, 'pdu'>): number | undefined {
  const ms = integerAt(objectAt(pdu, STICKY_MEMBER) ?? {}, 'duration_ms');
  return ms !== undefined && ms >= 0 && ms <= MAX_STICKY_MS ? ms : undefined;
}

/** When the event ends to be sticky, in milliseconds since 1970; undefined for one that never was. */
export function stickyUntil({
  event,
  receivedTs,
}: Pick<StoredEvent, 'event' | 'receivedTs'>): number | undefined {
  const ms = stickyMsOf(event);
  // "The start time is min(received_ts, origin_server_ts)": no time of the sender's lies in the future.
  return ms === undefined ? undefined : Math.min(receivedTs, event.originServerTs) + ms;
}

/** True where every user who is in the room may see the event, whatever the history's visibility. */
export function isSticky(stored: StoredEvent, now: number): boolean {
  return (stickyUntil(stored) ?? 0) > now;
}

/** Within the write of an event that has its place: notes that it is sticky, and sends others to servers that come. */
export async function writeSticky(ctx: RoomsContext, tx: Tx, stored: StoredEvent): Promise<void> {
  const { event, nid, roomNid, position, redactedBy, status } = stored;
  if (status !== 'rejected' && redactedBy === undefined && isSticky(stored, ctx.clock.now())) {
    const isOwn = belongsTo(event.sender, ctx.serverName);
    await stickyEvents.insert(tx, { nid, roomNid, position, isOwn, untilTs: stickyUntil(stored) ?? 0 });
  }
  if (status !== 'accepted' || event.type !== 'm.room.member' || membershipOf(event) !== 'join') return;
  const server = serverNameOf(event.stateKey ?? '');
  if (server !== undefined && server !== ctx.serverName) await pushToNew(ctx, tx, roomNid, server);
}

/** "When a new server joins the room, existing servers MUST attempt to push all of their own sticky events." */
async function pushToNew(ctx: RoomsContext, tx: Tx, roomNid: number, server: ServerName): Promise<void> {
  const range = { after: 0, now: ctx.clock.now(), limit: MOST_STICKY };
  const nids = await stickyEvents.own(tx, [roomNid], range);
  if (nids.length === 0 || (await memberships.serverIsIn(tx, roomNid, server))) return;
  await destinations.add(tx, server, ctx.streams.upto());
  // One by one, in their order; they are few, and a server comes once.
  for (const nid of nids) await destinations.enqueueAlways(tx, nid, [server]);
  ctx.streams.allocate(tx, [LATE_STICKY]);
}

/**
 * "Re-evaluate soft-failure of soft-failed unexpired sticky events when the authorising state of the sticky event
 * changes." Under the room's lock, after a change of its state. What is accepted now gets its position now.
 */
export async function reviseSticky(ctx: RoomsContext, room: Room): Promise<void> {
  const range = { now: ctx.clock.now(), limit: MOST_REVISED };
  const nids = await stickyEvents.softFailed(ctx.db, room.roomNid, range);
  if (nids.length === 0) return;
  const head = await headOf(ctx, room.roomNid);
  const accepted: StoredEvent[] = [];
  for (const stored of (await loadNids(ctx, nids)).values()) {
    const { event } = stored;
    // A state event would have to change the state, too: it comes back with what follows it.
    if (stored.status !== 'soft_failed' || event.stateKey !== undefined) continue;
    const state = await authStateIn(ctx, groupRef(head.stateGroup), event);
    if (checkStateDependent(event, state) !== undefined) continue;
    // "Policy servers [...] still apply to these events, in which case the stickiness of the event is prevented."
    if ((await unsignedBecause(ctx, room, head, event)) === undefined) accepted.push(stored);
  }
  if (accepted.length === 0) return;
  await ctx.db.write('rooms.reviseSticky', async (tx) => {
    for (const stored of accepted) {
      const position = ctx.streams.allocate(tx, ['events', `room:${room.roomId}`]);
      const { stateBefore, stateAfter, redactedBy, event, nid } = stored;
      const placing = { stateBefore, stateAfter, redactedBy, json: event.json };
      await events.place(tx, nid, { ...placing, position, status: 'accepted', reason: undefined });
      await stickyEvents.place(tx, nid, position);
      tx.afterCommit(() => ctx.rooms.dropEvent(nid));
    }
  });
}
