/**
 * Events of other servers that happen now and that the room just goes on with: many of them received in one write, so
 * that a busy room is not held to one event for each flush to disk.
 *
 * It goes on with an event where all that `receive.ts` would look at is known beforehand: it is new, and so are neither
 * what it cites nor what authorises it; the state before it is the current state; nobody has waited for it. Then the
 * checks on receipt 5 and 6 are one, and an event that passes it and check 4 is accepted as it would be alone. The first
 * event of which any of that is not so ends the run; it is for `receive.ts`, with those after it.
 */

import { belongsTo, type EventId } from '#keys/ids.ts';
import type { Tx } from '#storage/database.ts';
import * as eventEdges from '#storage/event-edges.ts';
import * as events from '#storage/events.ts';
import * as provisionalRejections from '#storage/provisional-rejections.ts';
import { type AuthState, checkStateDependent } from './auth/check.ts';
import { authEventKeys } from './auth/select.ts';
import type { RoomsContext } from './context.ts';
import { type Event, stateMapKey } from './event.ts';
import { judge, neededBy } from './judge-told.ts';
import { loadEvents } from './load.ts';
import { FEW, mergeExtremities } from './merge-extremities.ts';
import { type PersistPlan, type Placement, persist } from './persist.ts';
import { groupRef } from './resolve-state.ts';
import type { Room } from './room.ts';
import type { RoomHead } from './room-cache.ts';
import { headOf, headState } from './room-head.ts';
import { Slices } from './slices.ts';
import { isAccepted, isPlaced, type StoredEvent } from './stored-event.ts';
import type { VerifiedEvent } from './verified-event.ts';
import { watchState } from './watch-state.ts';

/**
 * Which state an event leaves behind: a stored state group, or below zero one that the run has made and that has no
 * group yet.
 */
type StateAfter = number;

/** What has been found simple so far, upon a room's head. */
interface Run {
  readonly room: Room;
  readonly head: RoomHead;
  readonly known: Known;
  readonly taken: Map<EventId, { readonly event: VerifiedEvent; readonly stateAfter: StateAfter }>;
  /** The forward extremities as they would be, and the states after them. */
  readonly extremities: Map<EventId, StateAfter>;
  /** The current state as it would be. */
  stateAfter: StateAfter;
  /** What the run has changed of the head's state, by `stateMapKey`. */
  readonly changed: Map<string, Event>;
}

/** What is stored of all the events and of what they cite, read at once. */
interface Known {
  readonly stored: ReadonlyMap<EventId, StoredEvent>;
  /** Those of the events that something stored has waited for: a redaction, an event that cites them. */
  readonly awaited: ReadonlySet<EventId>;
}

/**
 * Receives as many of the events, from the first on, as simply go on with the room, in one write, under the room's lock.
 * Answers how many these are; they are accepted and on disk. The next one is for `receive`. `also` writes, together with
 * the first so many of them, that these have had their turn.
 */
export function receiveRun(
  ctx: RoomsContext,
  room: Room,
  incoming: readonly VerifiedEvent[],
  also?: (tx: Tx, taken: number) => Promise<void>,
): Promise<number> {
  if (incoming.length === 0) return Promise.resolve(0);
  return ctx.roomLocks.run(room.roomId, () => receiveRunLocked(ctx, room, incoming, also));
}

async function receiveRunLocked(
  ctx: RoomsContext,
  room: Room,
  incoming: readonly VerifiedEvent[],
  also: ((tx: Tx, taken: number) => Promise<void>) | undefined,
): Promise<number> {
  const run = await runUpon(ctx, room, incoming);
  const slices = new Slices();
  for (const event of incoming) {
    // In order: each may stand upon the one before.
    if (!(await goesOnWith(ctx, run, event))) break;
    take(run, event);
    if (endsRun(ctx, event)) break;
    await slices.rest();
  }
  if (run.taken.size === 0) return 0;
  const persisted = await persist(ctx, room, planOf(run), async (tx) => {
    await also?.(tx, run.taken.size);
  });
  // Somebody else wrote meanwhile: one by one, then.
  if (persisted.kind === 'conflict') return 0;
  if (run.changed.size > 0 && run.head.forwardExtremities.length > 1) {
    await watchState(ctx, room, {
      from: run.head.stateGroup,
      to: (await headOf(ctx, room.roomNid)).stateGroup,
    });
  }
  await mergeExtremities(ctx, room);
  return run.taken.size;
}

async function runUpon(ctx: RoomsContext, room: Room, incoming: readonly VerifiedEvent[]): Promise<Run> {
  const head = await headOf(ctx, room.roomNid);
  const eventIds = incoming.map(({ eventId }) => eventId);
  const cited = incoming.flatMap((event) => [event.eventId, ...event.prevEvents, ...neededBy(event)]);
  const [stored, ...awaited] = await Promise.all([
    loadEvents(ctx, new Set(cited)),
    eventEdges.backwardAmong(ctx.db, room.roomNid, eventIds),
    events.pendingRedactionsAmong(ctx.db, eventIds),
    provisionalRejections.waitedForAmong(ctx.db, eventIds),
  ]);
  return {
    ...{ room, head, known: { stored, awaited: new Set(awaited.flat()) }, taken: new Map() },
    extremities: new Map(head.forwardExtremities.map(({ eventId, stateAfter }) => [eventId, stateAfter])),
    stateAfter: head.stateGroup,
    changed: new Map(),
  };
}

/** True where an event would be accepted, and needs nothing but its row. */
async function goesOnWith(ctx: RoomsContext, run: Run, event: VerifiedEvent): Promise<boolean> {
  const { eventId, type, redacts } = event;
  const { stored, awaited } = run.known;
  if (event.roomId !== run.room.roomId || type === 'm.room.create' || redacts !== undefined) return false;
  if (stored.has(eventId) || run.taken.has(eventId) || awaited.has(eventId)) return false;
  if (!followsCurrentState(run, event)) return false;
  const authEvents = authEventsOf(run, event);
  if (authEvents === undefined || judge(event, authEvents) !== undefined) return false;
  return checkStateDependent(event, await currentStateFor(ctx, run, event)) === undefined;
}

/** True where the state before the event is the current state, and that after it will be, without a resolution. */
function followsCurrentState(run: Run, event: Event): boolean {
  const before = new Set<StateAfter>();
  for (const prevEvent of event.prevEvents) {
    const stateAfter = stateAfterOf(run, prevEvent);
    if (stateAfter === undefined) return false;
    before.add(stateAfter);
  }
  if (before.size === 0) return false;
  const isLast = new Set(event.prevEvents).isSupersetOf(run.extremities);
  // Of one of several lines the state is the current one where it is that of all of them.
  const current = new Set(isLast ? run.extremities.values() : [run.stateAfter]);
  if (before.size !== current.size || !before.isSubsetOf(current)) return false;
  if (isLast) return true;
  const isOneState = run.extremities.values().every((stateAfter) => stateAfter === run.stateAfter);
  const follows = event.prevEvents.some((eventId) => run.extremities.has(eventId));
  return isOneState && event.stateKey === undefined && (follows || run.extremities.size <= FEW);
}

/** The state after an accepted event of the room, of the run or stored; undefined for all others. */
function stateAfterOf(run: Run, eventId: EventId): StateAfter | undefined {
  const taken = run.taken.get(eventId);
  if (taken !== undefined) return taken.stateAfter;
  const stored = run.known.stored.get(eventId);
  if (stored?.roomNid !== run.room.roomNid || !isAccepted(stored) || !isPlaced(stored)) return undefined;
  return stored.stateAfter;
}

/** Undefined where not all are known. */
function authEventsOf(run: Run, event: Event): Map<EventId, Event | 'rejected'> | undefined {
  const found = new Map<EventId, Event | 'rejected'>();
  for (const eventId of neededBy(event)) {
    const stored = run.known.stored.get(eventId);
    const authEvent = run.taken.get(eventId)?.event ?? stored?.event;
    if (authEvent === undefined) return undefined;
    found.set(eventId, stored?.status === 'rejected' ? 'rejected' : authEvent);
  }
  return found;
}

/** What the rules look at for the event, of the current state. */
async function currentStateFor(ctx: RoomsContext, run: Run, event: Event): Promise<AuthState> {
  const keys = [{ type: 'm.room.create', stateKey: '' }, ...authEventKeys(event, event.rules)];
  const unchanged = keys.filter(({ type, stateKey }) => !run.changed.has(stateMapKey(type, stateKey)));
  const read = await headState(ctx, run.head, unchanged);
  return {
    get: (type, stateKey) => {
      const key = stateMapKey(type, stateKey);
      return run.changed.get(key) ?? read.get(key)?.event;
    },
  };
}

function take(run: Run, event: VerifiedEvent): void {
  if (event.stateKey !== undefined) {
    run.stateAfter = -1 - run.taken.size;
    run.changed.set(stateMapKey(event.type, event.stateKey), event);
  }
  run.taken.set(event.eventId, { event, stateAfter: run.stateAfter });
  for (const prevEvent of event.prevEvents) run.extremities.delete(prevEvent);
  run.extremities.set(event.eventId, run.stateAfter);
}

/** Whoever has left a room does not hear what happens there next, and whether one of ours is left is not known here. */
function endsRun(ctx: RoomsContext, { type, stateKey }: Event): boolean {
  return type === 'm.room.member' && stateKey !== undefined && belongsTo(stateKey, ctx.serverName);
}

function planOf(run: Run): PersistPlan {
  const { head, taken, extremities } = run;
  const placements = [...taken.values()].map(
    ({ event }, index): Placement => ({
      event,
      status: 'accepted',
      // The state after each is the current one, which is that before the next.
      stateBefore: index === 0 ? groupRef(head.stateGroup) : 'previous',
      order: 'live',
      outgoing: false,
    }),
  );
  return {
    head,
    placements,
    replaced: head.forwardExtremities.filter(({ eventId }) => !extremities.has(eventId)),
    leading: [...taken.keys()].filter((eventId) => extremities.has(eventId)),
    backward: { added: [], removed: [] },
    currentState: 'last',
  };
}
