/**
 * Events of other servers that happen now and that the room just goes on with: many of them received in one write, so
 * that a busy room is not held to one event for each flush to disk.
 *
 * It goes on with an event where all that `receive.ts` would look at is known beforehand: it is new, and so are neither
 * what it cites nor what authorises it; nobody has waited for it; and no state has to be resolved for it. That is so of
 *
 * - what stands upon the current state: the checks on receipt 5 and 6 are one;
 * - a message on one of several lines whose states differ, since it leaves the states after all lines as they were: it is
 *   checked by the state of its line, and by the current one.
 *
 * An event that passes these and check 4 is accepted as it would be alone. The first event of which any of that is not so
 * ends the run; it is for `receive.ts`, with those after it.
 */

import { belongsTo, type EventId } from '#keys/ids.ts';
import type { Tx } from '#storage/database.ts';
import * as eventEdges from '#storage/event-edges.ts';
import * as events from '#storage/events.ts';
import * as provisionalRejections from '#storage/provisional-rejections.ts';
import type { StateGroup } from '#storage/state-groups.ts';
import { type AuthState, checkStateDependent } from './auth/check.ts';
import { authEventKeys, type StateKey } from './auth/select.ts';
import type { RoomsContext } from './context.ts';
import { type Event, stateMapKey } from './event.ts';
import { loadEvents } from './load.ts';
import { FEW, mergeExtremities } from './merge-extremities.ts';
import { type PersistPlan, type Placement, persist } from './persist.ts';
import { isSignedFor, namedPolicyOf, needsPolicy, policyOf, type RoomPolicy } from './policy.ts';
import { effectOf, REDACTER_KEYS, type RedactionEffect } from './redaction.ts';
import { groupRef } from './resolve-state.ts';
import type { Room } from './room.ts';
import type { RoomHead } from './room-cache.ts';
import { headOf, headState, stateOfGroup } from './room-head.ts';
import { Slices } from './slices.ts';
import { reviseSticky } from './sticky.ts';
import { isAccepted, isPlaced, type StoredEvent } from './stored-event.ts';
import { judge, neededBy } from './told/judge-told.ts';
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
  readonly taken: Map<EventId, Taken>;
  /** The forward extremities as they would be, and the states after them. */
  readonly extremities: Map<EventId, StateAfter>;
  /** The current state as it would be. */
  stateAfter: StateAfter;
  /** What the run has changed of the head's state, by `stateMapKey`. */
  readonly changed: Map<string, Event>;
  /** What was read of the states of lines that are not the current one: their events, by `stateMapKey`. */
  readonly lines: Map<StateGroup, Map<string, Event | undefined>>;
  /** What redactions of the run wait for. */
  readonly redacted: Set<EventId>;
  /** The policy server that the room names, and uses; what may change either ends the run. */
  readonly policy: { readonly named: RoomPolicy | undefined; readonly used: RoomPolicy | undefined };
}

/** What an event stands upon, and what it does. */
interface Step {
  /** The state before it. */
  readonly line: 'current' | StateGroup;
  readonly redacts: RedactionEffect;
}

interface Taken extends Step {
  readonly event: VerifiedEvent;
  readonly stateAfter: StateAfter;
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
    const step = await stepOf(ctx, run, event);
    if (step === undefined) break;
    take(run, event, step);
    if (endsRun(ctx, run, event, step)) break;
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
  if (run.changed.size > 0) await reviseSticky(ctx, room);
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
    ...{ changed: new Map(), lines: new Map(), redacted: new Set() },
    policy: { named: await namedPolicyOf(ctx, head), used: await policyOf(ctx, room, head) },
  };
}

/** How the room goes on with an event that would be accepted; undefined where that takes more. */
async function stepOf(ctx: RoomsContext, run: Run, event: VerifiedEvent): Promise<Step | undefined> {
  const { eventId, type } = event;
  const { stored, awaited } = run.known;
  if (event.roomId !== run.room.roomId || type === 'm.room.create') return undefined;
  if (stored.has(eventId) || run.taken.has(eventId)) return undefined;
  if (awaited.has(eventId) || run.redacted.has(eventId)) return undefined;
  const line = lineOf(run, event);
  const authEvents = line === undefined ? undefined : authEventsOf(run, event);
  if (line === undefined || authEvents === undefined) return undefined;
  if (judge(event, authEvents) !== undefined) return undefined;
  const current = await currentStateFor(ctx, run, event);
  if (checkStateDependent(event, current) !== undefined) return undefined;
  const before = line === 'current' ? current : await stateOfLine(ctx, run, event, line);
  if (before !== current && checkStateDependent(event, before) !== undefined) return undefined;
  if (!(await isSignedFor(run.policy.used, event))) return undefined;
  const redacts = await redactionBy(ctx, run, event, before);
  return redacts === undefined ? undefined : { line, redacts };
}

/** The state before the event, where neither that nor the current state after it takes a resolution. */
function lineOf(run: Run, event: Event): Step['line'] | undefined {
  const before = new Set<StateAfter>();
  for (const prevEvent of event.prevEvents) {
    const stateAfter = stateAfterOf(run, prevEvent);
    if (stateAfter === undefined) return undefined;
    before.add(stateAfter);
  }
  if (followsCurrentState(run, event, before)) {
    return event.stateKey !== undefined && run.lines.size > 0 ? undefined : 'current';
  }
  const [line = -1, ...others] = before;
  if (line < 0 || others.length > 0 || event.stateKey !== undefined || run.changed.size > 0) return undefined;
  return leavesStates(run, event, line) ? line : undefined;
}

/** True where the state before the event is the current state, and that after it will be. */
function followsCurrentState(run: Run, event: Event, before: ReadonlySet<StateAfter>): boolean {
  if (before.size === 0) return false;
  const isLast = new Set(event.prevEvents).isSupersetOf(run.extremities);
  // Of one of several lines the state is the current one where it is that of all of them.
  const current = new Set(isLast ? run.extremities.values() : [run.stateAfter]);
  if (before.size !== current.size || !before.isSubsetOf(current)) return false;
  if (isLast) return true;
  const isOneState = run.extremities.values().every((stateAfter) => stateAfter === run.stateAfter);
  return isOneState && event.stateKey === undefined && isNoLineTooMany(run, event);
}

/** True where the states after all lines are the same with the message as without it: so is what they resolve to. */
function leavesStates(run: Run, event: Event, line: StateGroup): boolean {
  const states = new Set(run.extremities.values());
  if (!states.has(line) || !isNoLineTooMany(run, event)) return false;
  const after = new Map(run.extremities);
  for (const prevEvent of event.prevEvents) after.delete(prevEvent);
  return new Set(after.values()).add(line).size === states.size;
}

function isNoLineTooMany({ extremities }: Run, { prevEvents }: Event): boolean {
  return extremities.size <= FEW || prevEvents.some((eventId) => extremities.has(eventId));
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
  const unchanged = keysFor(event).filter(
    ({ type, stateKey }) => !run.changed.has(stateMapKey(type, stateKey)),
  );
  const read = await headState(ctx, run.head, unchanged);
  return {
    get: (type, stateKey) => {
      const key = stateMapKey(type, stateKey);
      return run.changed.get(key) ?? read.get(key)?.event;
    },
  };
}

/** What the rules look at for the event, of the state of a line. */
async function stateOfLine(ctx: RoomsContext, run: Run, event: Event, line: StateGroup): Promise<AuthState> {
  const known = run.lines.get(line) ?? new Map<string, Event | undefined>();
  run.lines.set(line, known);
  const unknown = keysFor(event).filter(({ type, stateKey }) => !known.has(stateMapKey(type, stateKey)));
  const read = unknown.length === 0 ? undefined : await stateOfGroup(ctx, line, unknown);
  for (const { type, stateKey } of unknown) {
    const key = stateMapKey(type, stateKey);
    known.set(key, read?.get(key)?.event);
  }
  return { get: (type, stateKey) => known.get(stateMapKey(type, stateKey)) };
}

function keysFor(event: Event): StateKey[] {
  return [...REDACTER_KEYS, ...authEventKeys(event, event.rules)];
}

/** What a redaction does; undefined where that is not known before the run is written. */
async function redactionBy(
  ctx: RoomsContext,
  run: Run,
  event: Event,
  before: AuthState,
): Promise<RedactionEffect | undefined> {
  const target = event.redacts;
  if (target === undefined) return { kind: 'none' };
  if (run.taken.has(target) || target === event.eventId) return undefined;
  const create = before.get('m.room.create', '');
  const powerLevels = before.get('m.room.power_levels', '');
  return effectOf(ctx, { event, create, powerLevels });
}

function take(run: Run, event: VerifiedEvent, step: Step): void {
  if (event.stateKey !== undefined) {
    run.stateAfter = -1 - run.taken.size;
    run.changed.set(stateMapKey(event.type, event.stateKey), event);
  }
  const stateAfter = step.line === 'current' ? run.stateAfter : step.line;
  run.taken.set(event.eventId, { event, stateAfter, ...step });
  for (const prevEvent of event.prevEvents) run.extremities.delete(prevEvent);
  run.extremities.set(event.eventId, stateAfter);
  if (step.redacts.kind === 'wait') run.redacted.add(step.redacts.target);
}

/**
 * Whoever has left a room does not hear what happens there next, and whether one of ours is left is not known here. Nor
 * is what a redaction has made of what it redacts, or whether the room uses another policy server.
 */
function endsRun(ctx: RoomsContext, run: Run, event: Event, { redacts }: Step): boolean {
  const { type, stateKey } = event;
  const { named } = run.policy;
  if (redacts.kind === 'redact' || !needsPolicy(event)) return true;
  if (type !== 'm.room.member' || stateKey === undefined) return false;
  return belongsTo(stateKey, ctx.serverName) || (named !== undefined && belongsTo(stateKey, named.server));
}

function planOf(run: Run): PersistPlan {
  const { head, taken, extremities } = run;
  const isOneLine = run.lines.size === 0;
  const placements = [...taken.values()].map(
    ({ event, line, redacts }, index): Placement => ({
      event,
      status: 'accepted',
      // On one line the state after each is the current one, which is that before the next.
      stateBefore:
        isOneLine && index > 0 ? 'previous' : groupRef(line === 'current' ? head.stateGroup : line),
      order: 'live',
      redacts,
      outgoing: false,
    }),
  );
  return {
    head,
    placements,
    replaced: head.forwardExtremities.filter(({ eventId }) => !extremities.has(eventId)),
    leading: [...taken.keys()].filter((eventId) => extremities.has(eventId)),
    backward: { added: [], removed: [] },
    currentState: isOneLine ? 'last' : 'unchanged',
  };
}
