/**
 * Events without a place in the graph, and rejections that may not last.
 *
 * A rejection is final where the rules said no and all that they looked at is known: the event stays rejected, gets
 * its place if its prev events have theirs, and one can walk past it. It is provisional where it rests on what may
 * turn out otherwise: on a state that another server has told, since prev events are missing; or on an auth event
 * that is rejected provisionally itself. Such an event has no place, so that nothing is built upon the verdict, and
 * is judged anew when it arrives again or when what it waits for arrives.
 */

import type { EventId } from '#keys/ids.ts';
import type { Tx } from '#storage/database.ts';
import * as events from '#storage/events.ts';
import * as provisionalRejections from '#storage/provisional-rejections.ts';
import type { RoomsContext } from './context.ts';
import { loadNids } from './load.ts';
import { newEvent } from './persist.ts';
import { pendingRedactionOf, redactedEvent } from './redaction.ts';
import type { Room } from './room.ts';
import { isPlaced, type StoredEvent } from './stored-event.ts';
import { markVerified, type VerifiedEvent } from './verified-event.ts';

/** What check 4 says of an event. */
export interface Standing {
  /** Why it is rejected. */
  readonly reason: string | undefined;
  /** Of a provisional rejection: what may change it. */
  readonly waitsFor: readonly EventId[];
}

/** Stores an event without a place in the graph, or what became of one that is stored so: an outlier, or rejected. */
export async function storeUnplaced(
  ctx: RoomsContext,
  room: Room,
  event: VerifiedEvent,
  { stored, reason, waitsFor }: Standing & { readonly stored: StoredEvent | undefined },
): Promise<void> {
  const redactedBy = await pendingRedactionOf(ctx, event);
  const row = newEvent(room, redactedBy === undefined ? event : redactedEvent(event), {
    position: undefined,
    status: reason === undefined ? 'outlier' : 'rejected',
    reason,
    stateBefore: undefined,
    stateAfter: undefined,
    redactedBy,
    txn: undefined,
    receivedTs: ctx.clock.now(),
  });
  await ctx.db.write('rooms.storeUnplaced', async (tx) => {
    if (stored === undefined) await events.insertUnplaced(tx, row);
    else if (reason === undefined) await restore(tx, [stored.nid]);
    if (stored !== undefined && waitsFor.length === 0) await provisionalRejections.drop(tx, [stored.nid]);
    if (waitsFor.length === 0) return;
    const nid = (await events.nidsOf(tx, [event.eventId])).get(event.eventId);
    if (nid !== undefined) await provisionalRejections.add(tx, nid, waitsFor);
  });
  if (stored !== undefined) ctx.rooms.dropEvent(stored.nid);
}

/** Lets rejected events be part of a state again: as outliers, or, where others were built upon them, soft-failed. */
export async function restore(tx: Tx, nids: readonly number[]): Promise<void> {
  await events.restore(tx, nids);
  await provisionalRejections.drop(tx, nids);
}

/** Of an event that is rejected for its rejected auth events: those to wait for. None where one is so for good. */
export async function awaitedAmong(
  ctx: RoomsContext,
  authEvents: Iterable<StoredEvent>,
): Promise<readonly EventId[]> {
  const rejected = [...authEvents].filter(({ status }) => status === 'rejected');
  const provisional = await provisionalRejections.among(
    ctx.db,
    rejected.map(({ nid }) => nid),
  );
  return provisional.size === rejected.length ? rejected.map(({ event }) => event.eventId) : [];
}

/** The events of a room that wait for one, at most `limit`. */
export async function waitingFor(
  ctx: RoomsContext,
  room: Room,
  eventId: EventId,
  limit: number,
): Promise<VerifiedEvent[]> {
  const nids = await provisionalRejections.awaiting(ctx.db, eventId, limit);
  const waiting: VerifiedEvent[] = [];
  for (const stored of (nids.length === 0
    ? new Map<number, StoredEvent>()
    : await loadNids(ctx, nids)
  ).values()) {
    const { event } = stored;
    if (stored.roomNid !== room.roomNid || isPlaced(stored)) continue;
    // It was verified before it was stored.
    markVerified(event);
    waiting.push(event);
  }
  return waiting;
}
