/** States of a room as they are computed before they are stored, and the resolution of several into one. */

import type { EventId } from '#keys/ids.ts';
import * as events from '#storage/events.ts';
import { load, type StateGroup } from '#storage/state-groups.ts';
import { keysOf, type StateKey } from '#storage/state-keys.ts';
import type { RoomsReader } from './context.ts';
import { type Event, stateMapKey } from './event.ts';
import { loadEvents } from './load.ts';
import type { Room } from './room.ts';
import { stateOfGroup } from './room-head.ts';
import { portionsOf, Slices } from './slices.ts';
import { StateConflicts } from './state-conflicts.ts';
import type { ResolutionCheck } from './state-res/auth-graph.ts';
import { type AuthGraph, resolution } from './state-res/resolve.ts';
import type { StoredEvent } from './stored-event.ts';

/** A state: a stored one, and what differs from it, by `stateMapKey`; undefined where a key goes. */
export interface StateRef {
  readonly base: StateGroup;
  readonly changes: ReadonlyMap<string, EventId | undefined>;
}

const UNCHANGED: ReadonlyMap<string, EventId | undefined> = new Map();

/** The stored state itself. */
export function groupRef(group: StateGroup): StateRef {
  return { base: group, changes: UNCHANGED };
}

/** The state with events put in their places. */
export function withEvents(state: StateRef, events: Iterable<Event>): StateRef {
  const changes = new Map(state.changes);
  for (const { type, stateKey, eventId } of events) {
    if (stateKey !== undefined) changes.set(stateMapKey(type, stateKey), eventId);
  }
  return { base: state.base, changes };
}

/** The ids of the events in a state, by `stateMapKey`. */
export async function stateIds(ctx: RoomsReader, state: StateRef): Promise<Map<string, EventId>> {
  const slices = new Slices();
  const map = new Map<string, EventId>();
  for (const portion of portionsOf(await load(ctx.db, state.base, slices.rest))) {
    const keys = await keysOf(
      ctx.db,
      portion.map(([keyNid]) => keyNid),
    );
    const ids = await events.idsOf(
      ctx.db,
      portion.map(([, eventNid]) => eventNid),
    );
    for (const [keyNid, eventNid] of portion) {
      const key = keys.get(keyNid);
      const eventId = ids.get(eventNid);
      if (key !== undefined && eventId !== undefined) map.set(stateMapKey(key.type, key.stateKey), eventId);
    }
    await slices.rest();
  }
  for (const [key, eventId] of state.changes) {
    if (eventId === undefined) map.delete(key);
    else map.set(key, eventId);
  }
  return map;
}

/** Some keys of a state, by `stateMapKey`; keys that the state lacks are absent. */
export async function stateOfRef(
  ctx: RoomsReader,
  state: StateRef,
  keys: readonly StateKey[],
): Promise<Map<string, StoredEvent>> {
  const isChanged = (key: StateKey) => state.changes.has(stateMapKey(key.type, key.stateKey));
  const unchanged = keys.filter((key) => !isChanged(key));
  const found = await stateOfGroup(ctx, state.base, unchanged);
  const changed = keys.filter(isChanged).map((key) => state.changes.get(stateMapKey(key.type, key.stateKey)));
  const loaded = await loadEvents(
    ctx,
    changed.filter((eventId) => eventId !== undefined),
  );
  for (const stored of loaded.values()) {
    const { type, stateKey } = stored.event;
    if (stateKey !== undefined) found.set(stateMapKey(type, stateKey), stored);
  }
  return found;
}

/** A state given by its ids, as what differs from a stored one. */
export async function refTo(
  ctx: RoomsReader,
  base: StateGroup,
  wanted: ReadonlyMap<string, EventId>,
): Promise<StateRef> {
  const baseIds = await stateIds(ctx, groupRef(base));
  const changes = new Map<string, EventId | undefined>();
  for (const [key, eventId] of wanted) if (baseIds.get(key) !== eventId) changes.set(key, eventId);
  for (const key of baseIds.keys()) if (!wanted.has(key)) changes.set(key, undefined);
  return { base, changes };
}

/** The resolution of the states of several stored groups. */
export function resolveGroups(ctx: RoomsReader, room: Room, groups: Iterable<StateGroup>): Promise<StateRef> {
  return resolveStates(ctx, room, [...groups].map(groupRef));
}

export interface ResolveOptions {
  /** Events that the states may hold and that are not stored yet. */
  readonly fresh?: readonly Event[];
  /** A stored state near the resolution, such as the current one: what differs from it is less to store. */
  readonly upon?: StateGroup;
}

/**
 * The resolution of several states of a room. Of one state, or of states that are the same, it is that state. Takes as
 * long as the states differ much, in slices; a set of stored states that was resolved lately is not resolved again.
 */
export async function resolveStates(
  ctx: RoomsReader,
  room: Room,
  states: readonly StateRef[],
  options: ResolveOptions = {},
): Promise<StateRef> {
  const distinct = withoutRepeated(states);
  const [first, ...others] = distinct;
  if (first === undefined) throw new Error('there is no state to resolve');
  if (others.length === 0) return first;
  const groups = distinct.every(({ changes }) => changes.size === 0)
    ? distinct.map(({ base }) => base)
    : undefined;
  const known = groups === undefined ? undefined : ctx.rooms.resolved(groups);
  if (known !== undefined) return known;
  const { resolvedAnew } = ctx.rooms;
  const upon = options.upon === undefined || options.upon === 0 ? first.base : options.upon;
  const resolved = await resolveInSlices(ctx, room, distinct, { fresh: options.fresh ?? [], upon });
  if (groups !== undefined) ctx.rooms.keepResolved(groups, resolved, resolvedAnew);
  return resolved;
}

/** The resolution of stored states, with each check on the way told to who wants to explain it. */
export async function resolveWatched(
  ctx: RoomsReader,
  room: Room,
  groups: Iterable<StateGroup>,
  noteCheck: (check: ResolutionCheck) => void,
): Promise<StateRef> {
  const states = [...new Set(groups)].map(groupRef);
  const [first, ...others] = states;
  if (first === undefined) throw new Error('there is no state to resolve');
  if (others.length === 0) return first;
  return resolveInSlices(ctx, room, states, { fresh: [], upon: first.base, noteCheck });
}

async function resolveInSlices(
  ctx: RoomsReader,
  room: Room,
  states: readonly StateRef[],
  options: Required<ResolveOptions> & { readonly noteCheck?: (check: ResolutionCheck) => void },
): Promise<StateRef> {
  const slices = new Slices();
  const { noteCheck } = options;
  const conflicts = await StateConflicts.between(ctx, room, states, { ...options, rest: slices.rest });
  const graph: AuthGraph = {
    event: (eventId) => conflicts.event(eventId),
    isRejected: (eventId) => conflicts.isRejected(eventId),
    ...(noteCheck !== undefined && { noteCheck }),
  };
  const steps = resolution(room.rules, conflicts, graph);
  for (;;) {
    const step = steps.next();
    if (step.done === true) return conflicts.refTo(step.value);
    if (step.value !== undefined) await conflicts.supply(step.value);
    await slices.rest();
  }
}

/** Each stored state once. */
function withoutRepeated(states: readonly StateRef[]): StateRef[] {
  const seen = new Set<StateGroup>();
  return states.filter(({ base, changes }) => {
    if (changes.size > 0) return true;
    if (seen.has(base)) return false;
    seen.add(base);
    return true;
  });
}
