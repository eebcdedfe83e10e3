/** States of a room as they are computed before they are stored, and the resolution of several into one. */

import type { EventId } from '#keys/ids.ts';
import * as events from '#storage/events.ts';
import { load, type StateGroup } from '#storage/state-groups.ts';
import { keysOf } from '#storage/state-keys.ts';
import type { RoomsContext } from './context.ts';
import { type Event, stateMapKey } from './event.ts';
import { loadAuthChains } from './graph.ts';
import { loadEvents } from './load.ts';
import type { Room } from './room.ts';
import { type AuthGraph, missingFor, resolve } from './state-res/resolve.ts';

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

/** The state with one event put in its place. */
export function withEvent(state: StateRef, event: Event): StateRef {
  if (event.stateKey === undefined) return state;
  const key = stateMapKey(event.type, event.stateKey);
  return { base: state.base, changes: new Map(state.changes).set(key, event.eventId) };
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
 * The resolution of several states of a room. `fresh` is an event that they may hold and that is not stored
 * yet. Of one state, or of states that are the same, it is that state.
 */
export async function resolveStates(
  ctx: RoomsContext,
  room: Room,
  states: readonly StateRef[],
  fresh?: Event,
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
  fresh: Event | undefined,
): Promise<AuthGraph> {
  const loaded = new Map<EventId, Event>();
  const rejected = new Set<EventId>();
  if (fresh !== undefined) loaded.set(fresh.eventId, fresh);
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
