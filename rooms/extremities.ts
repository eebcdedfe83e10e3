/**
 * How a new event moves the rims of the graph. Forward extremities are the accepted events that no accepted event
 * follows; backward extremities are what accepted events cite and the server does not have.
 */

import type { EventId } from '#keys/ids.ts';
import * as eventEdges from '#storage/event-edges.ts';
import type { RoomsContext } from './context.ts';
import type { Event } from './event.ts';
import { loadEvents } from './load.ts';
import type { PersistPlan } from './persist.ts';
import { groupRef, resolveStates, type StateRef, withEvents } from './resolve-state.ts';
import type { Room } from './room.ts';
import type { ForwardExtremity, RoomHead } from './room-cache.ts';
import { haveSameStates } from './room-head.ts';
import { isAccepted, isPlaced, type StoredEvent } from './stored-event.ts';

/** An event that is about to get its place. */
export interface Arrival {
  readonly event: Event;
  readonly status: 'accepted' | 'soft_failed' | 'rejected';
  readonly stateBefore: StateRef;
  /** What it cites, as far as it is stored. */
  readonly prevEvents: ReadonlyMap<EventId, StoredEvent>;
  /** False for history: it never leads the room on. */
  readonly isLive: boolean;
}

/** How many unaccepted events to look through for the accepted ones behind them. */
const LONGEST_LOOK = 1_000;

/** From so many on, what follows none of them does not become one more: see `merge-extremities.ts`. */
const MOST_FORWARD = 40;

/** Why an event that happens now has to wait for another that follows it; or undefined. */
export async function crowdedOut(
  ctx: RoomsContext,
  head: RoomHead,
  arriving: Pick<Arrival, 'event' | 'prevEvents'>,
): Promise<string | undefined> {
  if (head.forwardExtremities.length < MOST_FORWARD) return undefined;
  const followed = await replacedBy(ctx, head, arriving);
  return followed.length > 0 ? undefined : 'The room has too many lines already, and this begins another';
}

/** What an arrival changes of both rims, and of the current state that follows from the forward one. */
export async function extremitiesAfter(
  ctx: RoomsContext,
  room: Room,
  head: RoomHead,
  arrival: Arrival,
): Promise<Pick<PersistPlan, 'replaced' | 'leading' | 'backward' | 'currentState'>> {
  const { event, status, prevEvents } = arrival;
  // Somebody accepted cites it already.
  const wasMissing = await eventEdges.isBackwardExtremity(ctx.db, room.roomNid, event.eventId);
  const missing = event.prevEvents.filter((eventId) => !isPlaced(prevEvents.get(eventId)));
  const backward = {
    added: wasMissing || status === 'accepted' ? missing : [],
    removed: wasMissing ? [event.eventId] : [],
  };
  if (status !== 'accepted') return { replaced: [], leading: [], backward, currentState: 'unchanged' };
  const followed = await replacedBy(ctx, head, arrival);
  // Behind history, and behind what fills a gap, stands an event that has led the room on already.
  const isPassed = (wasMissing || !arrival.isLive) && followed.length < head.forwardExtremities.length;
  const isExtremity = arrival.isLive && !isPassed;
  // Where none does, somebody tells as history what is none.
  const replaced = isExtremity || isPassed ? followed : [];
  const gone = new Set(replaced.map(({ nid }) => nid));
  const left = head.forwardExtremities.filter(({ nid }) => !gone.has(nid));
  const currentState = await currentStateOf(ctx, room, arrival, { head, left, replaced, isExtremity });
  return { replaced, leading: isExtremity ? [event.eventId] : [], backward, currentState };
}

/** As `extremitiesAfter`, of an event that is accepted long after it came: the room may have gone on without it, or upon it. */
export async function lateExtremities(
  ctx: RoomsContext,
  room: Room,
  head: RoomHead,
  arrival: Arrival,
): Promise<Pick<PersistPlan, 'replaced' | 'leading' | 'backward' | 'currentState'>> {
  const moved = await extremitiesAfter(ctx, room, head, arrival);
  const { event } = arrival;
  const leaders = await loadEvents(
    ctx,
    head.forwardExtremities.map(({ eventId }) => eventId),
  );
  const isCited = leaders.values().some((leader) => leader.event.prevEvents.includes(event.eventId));
  // A message changes nothing for those after it. A state event is in the state of those that cite it already.
  const isPassed = moved.replaced.length === 0 && (isCited || event.stateKey === undefined);
  return isPassed ? { ...moved, leading: [], currentState: 'unchanged' } : moved;
}

/** "the current state": the resolution of the states after all forward extremities. */
async function currentStateOf(
  ctx: RoomsContext,
  room: Room,
  { event, stateBefore }: Arrival,
  moved: {
    readonly head: RoomHead;
    readonly left: readonly ForwardExtremity[];
    readonly replaced: readonly ForwardExtremity[];
    readonly isExtremity: boolean;
  },
): Promise<PersistPlan['currentState']> {
  if (!moved.isExtremity && moved.replaced.length === 0) return 'unchanged';
  if (moved.isExtremity && moved.left.length === 0) return 'last';
  const groups = moved.left.map(({ stateAfter }) => stateAfter);
  const changesState = event.stateKey !== undefined || stateBefore.changes.size > 0;
  if (!changesState && moved.isExtremity) {
    // A message on one of several lines: their states are the same as before.
    if (haveSameStates(moved.head, [...groups, stateBefore.base])) return 'unchanged';
  }
  const states = groups.map(groupRef);
  if (moved.isExtremity) states.push(withEvents(stateBefore, [event]));
  if (states.length === 0) return 'unchanged';
  return resolveStates(ctx, room, states, { fresh: [event], upon: moved.head.stateGroup });
}

/**
 * The forward extremities that the event follows: those that it cites, and those behind the soft-failed and
 * rejected events that it cites.
 */
async function replacedBy(
  ctx: RoomsContext,
  head: RoomHead,
  { event, prevEvents }: Pick<Arrival, 'event' | 'prevEvents'>,
): Promise<ForwardExtremity[]> {
  const followed = new Set(event.prevEvents);
  let level = [...prevEvents.values()].filter(isPassedThrough);
  // Level by level, as long as nothing but unaccepted events is found.
  while (level.length > 0 && followed.size < LONGEST_LOOK) {
    const behind = level
      .flatMap((stored) => stored.event.prevEvents)
      .filter((eventId) => !followed.has(eventId));
    for (const eventId of behind) followed.add(eventId);
    level = [...(await loadEvents(ctx, behind)).values()].filter(isPassedThrough);
  }
  return head.forwardExtremities.filter(({ eventId }) => followed.has(eventId));
}

function isPassedThrough(stored: StoredEvent): boolean {
  return isPlaced(stored) && !isAccepted(stored);
}
