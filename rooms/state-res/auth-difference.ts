import type { EventId } from '#keys/ids.ts';
import { stateMapKey } from '../event.ts';
import { type AuthGraph, loadedEvent, withAuthChains } from './auth-graph.ts';
import { type Conflicts, conflictedSet } from './conflicts.ts';
import { forEach, type Steps } from './steps.ts';

/**
 * "The auth difference is calculated by first calculating the full auth chain for each state S_i, that is the
 * union of the auth chains for each event in S_i, and then taking every event that doesn't appear in every
 * auth chain. If C_i is the full auth chain of S_i, then the auth difference is ∪ C_i − ∩ C_i."
 *
 * Without the conflicted events, which are in the full conflicted set anyhow.
 *
 * Each C_i is taken together with the events of S_i, as all servers of the network take it. To the letter, an event
 * that all states hold but only the chains of some would be part of the difference, and be applied again.
 *
 * What the unconflicted events need is in every chain. Their chains are long in a large room, and so they are looked
 * at only where the chains of the conflicted events differ, and first those that settle most cases.
 */
export function* authDifference(graph: AuthGraph, conflicts: Conflicts): Steps<Set<EventId>> {
  const difference = yield* differenceOfConflicted(graph, conflicts);
  if (difference.size > 0) {
    const keys = keysNear(graph, difference);
    yield { kind: 'agreed', keys };
    const near = [...keys].map((key) => conflicts.unconflicted.get(key));
    yield* removeChains(
      graph,
      near.filter((eventId) => eventId !== undefined),
      difference,
    );
  }
  if (difference.size > 0) {
    yield { kind: 'agreed', keys: 'all' };
    yield* removeChains(graph, [...conflicts.unconflicted.values()], difference);
  }
  return difference;
}

/** The events that are in the auth chains of the conflicted events of some states, and not of all. */
function* differenceOfConflicted(graph: AuthGraph, conflicts: Conflicts): Steps<Set<EventId>> {
  const { differing } = conflicts;
  const seen = new Map<EventId, number>();
  for (const state of differing) {
    yield* forEach(yield* withAuthChains(graph, state.values()), (eventId) => {
      seen.set(eventId, (seen.get(eventId) ?? 0) + 1);
    });
  }
  const conflicted = conflictedSet(conflicts);
  const difference = new Set<EventId>();
  yield* forEach(seen, ([eventId, states]) => {
    if (states < differing.length && !conflicted.has(eventId)) difference.add(eventId);
  });
  return difference;
}

/** Where the state most likely holds what has come after these events: under their keys, and what all events cite. */
function keysNear(graph: AuthGraph, eventIds: ReadonlySet<EventId>): Set<string> {
  const keys = new Set([stateMapKey('m.room.power_levels', ''), stateMapKey('m.room.join_rules', '')]);
  for (const eventId of eventIds) {
    const { type, stateKey } = loadedEvent(graph, eventId);
    if (stateKey !== undefined) keys.add(stateMapKey(type, stateKey));
  }
  return keys;
}

function* removeChains(
  graph: AuthGraph,
  eventIds: readonly EventId[],
  difference: Set<EventId>,
): Steps<void> {
  yield { kind: 'events', eventIds, chains: true };
  const reached = yield* withAuthChains(graph, eventIds);
  yield* forEach(reached, (eventId) => difference.delete(eventId));
}
