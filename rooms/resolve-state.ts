/** States of a room as they are computed before they are stored, and the resolution of several into one. */

import type { EventId } from '#keys/ids.ts';
import * as events from '#storage/events.ts';
import { load, type StateGroup } from '#storage/state-groups.ts';
import { keysOf, type StateKey } from '#storage/state-keys.ts';
import type { RoomsContext } from './context.ts';
import { type Event, stateMapKey } from './event.ts';
import { loadAuthChains } from './graph.ts';
import { loadEvents } from './load.ts';
import type { Room } from './room.ts';
import { stateOfGroup } from './room-head.ts';
import { type AuthGraph, missingFor, resolve } from './state-res/resolve.ts';
import type { StoredEvent } from './stored-event.ts';

/** A state: a stored one, and what differs from it, by `stateMapKey`; undefined where a key goes. */
export interface StateRef {
  readonly base: StateGroup;
  readonly changes: ReadonlyMap<string, EventId | undefined>;
}

const UNCHANGED: ReadonlyMap<string, EventId | undefined> = new Map();
/** `missingFor` says: at most four times. */
const LOADING_ROUNDS = 6;

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
export async function stateIds(ctx: RoomsContext, state: StateRef): Promise<Map<string, EventId>> {
  const nids = await load(ctx.db, state.base);
  const keys = await keysOf(ctx.db, nids.keys());
  const ids = await events.idsOf(ctx.db, nids.values());
  const map = new Map<string, EventId>();
  for (const [keyNid, eventNid] of nids) {
    const key = keys.get(keyNid);
    const eventId = ids.get(eventNid);
    if (key !== undefined && eventId !== undefined) map.set(stateMapKey(key.type, key.stateKey), eventId);
  }
  for (const [key, eventId] of state.changes) {
    if (eventId === undefined) map.delete(key);
    else map.set(key, eventId);
  }
  return map;
}

/** Some keys of a state, by `stateMapKey`; keys that the state lacks are absent. */
export async function stateOfRef(
  ctx: RoomsContext,
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
  ctx: RoomsContext,
  base: StateGroup,
  wanted: ReadonlyMap<string, EventId>,
): Promise<StateRef> {
  return differing(base, await stateIds(ctx, groupRef(base)), wanted);
}

/** The resolution of the states of several stored groups. */
export function resolveGroups(
  ctx: RoomsContext,
  room: Room,
  groups: Iterable<StateGroup>,
): Promise<StateRef> {
  return resolveStates(ctx, room, [...new Set(groups)].map(groupRef));
}

/**
 * The resolution of several states of a room. `fresh` are events that they may hold and that are not stored yet.
 * Of one state, or of states that are the same, it is that state.
 */
export async function resolveStates(
  ctx: RoomsContext,
  room: Room,
  states: readonly StateRef[],
  fresh: readonly Event[] = [],
): Promise<StateRef> {
  const [first, ...others] = withoutRepeated(states);
  if (first === undefined) throw new Error('there is no state to resolve');
  if (others.length === 0) return first;
  // One after the other: a state may hold thousands of keys, and they share what is in memory.
  const sets: ReadonlyMap<string, EventId>[] = [];
  for (const state of [first, ...others]) sets.push(await stateIds(ctx, state));
  const graph = await graphFor(ctx, room, sets, fresh);
  const resolved = resolve(room.rules, sets, graph);
  const base = first.changes.size === 0 ? sets[0] : await stateIds(ctx, groupRef(first.base));
  return differing(first.base, base ?? new Map(), resolved);
}

/** Loads what the resolution looks at: the events that it asks for, and their whole auth chains. */
async function graphFor(
  ctx: RoomsContext,
  room: Room,
  sets: readonly ReadonlyMap<string, EventId>[],
  fresh: readonly Event[],
): Promise<AuthGraph> {
  const loaded = new Map(fresh.map((event) => [event.eventId, event]));
  const rejected = new Set<EventId>();
  const graph: AuthGraph = {
    event: (eventId) => loaded.get(eventId),
    isRejected: (eventId) => rejected.has(eventId),
  };
  for (let round = 0; round < LOADING_ROUNDS; round++) {
    const missing = missingFor(room.rules, sets, graph);
    if (missing.length === 0) return graph;
    const chains = await loadAuthChains(ctx, room.roomNid, missing);
    for (const stored of [...(await loadEvents(ctx, missing)).values(), ...chains.values()]) {
      loaded.set(stored.event.eventId, stored.event);
      if (stored.status === 'rejected') rejected.add(stored.event.eventId);
    }
  }
  throw new Error('a state cannot be resolved: some of its auth chains are not stored');
}

function withoutRepeated(states: readonly StateRef[]): StateRef[] {
  const seen = new Set<string>();
  return states.filter(({ base, changes }) => {
    const text = JSON.stringify([base, [...changes]]);
    if (seen.has(text)) return false;
    seen.add(text);
    return true;
  });
}

function differing(
  base: StateGroup,
  baseIds: ReadonlyMap<string, EventId>,
  wanted: ReadonlyMap<string, EventId>,
): StateRef {
  const changes = new Map<string, EventId | undefined>();
  for (const [key, eventId] of wanted) if (baseIds.get(key) !== eventId) changes.set(key, eventId);
  for (const key of baseIds.keys()) if (!wanted.has(key)) changes.set(key, undefined);
  return { base, changes };
}
