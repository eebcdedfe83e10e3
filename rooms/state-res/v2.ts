/**
 * State resolution, versions 2 (room versions 2 to 11) and 2.1 (room version 12 and later):
 * https://spec.matrix.org/v1.19/rooms/v12/#state-resolution
 *
 * 1. "Select the set X of all power events that appear in the full conflicted set. For each such power event P,
 *    enlarge X by adding the events in the auth chain of P which also belong to the full conflicted set. Sort X
 *    into a list using the reverse topological power ordering."
 * 2. "Apply the iterative auth checks algorithm, starting from the unconflicted state map [2.1: an empty state
 *    map], to the list of events from the previous step to get a partially resolved state."
 * 3. "Take all remaining events that weren't picked in step 1 and order them by the mainline ordering based on
 *    the power level in the partially resolved state obtained in step 2."
 * 4. "Apply the iterative auth checks algorithm on the partial resolved state and the list of events from the
 *    previous step."
 * 5. "Update the result by replacing any event with the event with the same key from the unconflicted state
 *    map, if such an event exists, to get the final resolved state."
 */
import type { EventId } from '#keys/ids.ts';
import { type AuthState, checkStateDependent } from '../auth/check.ts';
import { type Event, membershipOf, stateMapKey } from '../event.ts';
import { authDifference } from './auth-difference.ts';
import { type AuthGraph, createEventOf, loadedEvent, namedAuthEvent } from './auth-graph.ts';
import type { Conflicts, StateIds } from './conflicts.ts';
import { mainlineSort } from './mainline.ts';
import { powerSort } from './power-sort.ts';
import { conflictedSubgraph } from './subgraph.ts';

export type Algorithm = 'v2' | 'v2.1';

/** The resolution of states that differ in `conflicts`. Every event it looks at is in `graph`. */
export function resolveV2(
  algorithm: Algorithm,
  graph: AuthGraph,
  { stateSets, conflicts }: { readonly stateSets: readonly StateIds[]; readonly conflicts: Conflicts },
): StateIds {
  const fullConflictedSet = fullConflictedSetOf(algorithm, graph, { stateSets, conflicts });
  // Step 1.
  const powerEvents = withConflictedAuthChains(graph, fullConflictedSet);
  const sortedPowerEvents = powerSort(graph, powerEvents);
  // Step 2.
  const state = new Map(algorithm === 'v2' ? conflicts.unconflicted : []);
  applyAllowed(graph, sortedPowerEvents, state);
  // Step 3.
  const powerLevels = state.get(stateMapKey('m.room.power_levels', ''));
  const others = mainlineSort(
    graph,
    fullConflictedSet.difference(powerEvents),
    powerLevels === undefined ? undefined : loadedEvent(graph, powerLevels),
  );
  // Step 4.
  applyAllowed(graph, others, state);
  // Step 5.
  for (const [key, eventId] of conflicts.unconflicted) state.set(key, eventId);
  return state;
}

/**
 * "The full conflicted set is the union of the conflicted state set [2.1: , the conflicted state subgraph] and
 * the auth difference."
 */
export function fullConflictedSetOf(
  algorithm: Algorithm,
  graph: AuthGraph,
  { stateSets, conflicts }: { readonly stateSets: readonly StateIds[]; readonly conflicts: Conflicts },
): Set<EventId> {
  const set = authDifference(graph, stateSets, conflicts).union(conflicts.conflicted);
  return algorithm === 'v2' ? set : set.union(conflictedSubgraph(graph, conflicts.conflicted));
}

/**
 * "A power event is a state event with type m.room.power_levels or m.room.join_rules, or a state event with
 * type m.room.member where the membership is leave or ban and the sender does not match the state_key."
 */
export function isPowerEvent(event: Event): boolean {
  if (event.stateKey === undefined) return false;
  if (event.type === 'm.room.power_levels' || event.type === 'm.room.join_rules') return true;
  if (event.type !== 'm.room.member' || event.sender === event.stateKey) return false;
  const membership = membershipOf(event);
  return membership === 'leave' || membership === 'ban';
}

/**
 * The power events of the full conflicted set, and what of it is in their auth chains.
 *
 * The chains are walked within the full conflicted set, as the servers of the network do: in version 2 a chain
 * may leave the set and come back to it, and what lies beyond is then left to step 3. In version 2.1 the
 * conflicted state subgraph closes such gaps.
 */
function withConflictedAuthChains(graph: AuthGraph, fullConflictedSet: ReadonlySet<EventId>): Set<EventId> {
  const picked = new Set<EventId>();
  for (const eventId of fullConflictedSet) if (isPowerEvent(loadedEvent(graph, eventId))) picked.add(eventId);
  // A set hands out what is added to it while it is walked.
  for (const eventId of picked) {
    for (const authEventId of loadedEvent(graph, eventId).authEvents) {
      if (fullConflictedSet.has(authEventId)) picked.add(authEventId);
    }
  }
  return picked;
}

/**
 * The iterative auth checks: "constructs a new room state by iterating through the event list and applying the
 * state event to the room state if the state event is allowed by the authorisation rules. If the state event is
 * not allowed by the authorisation rules, then the event is ignored."
 */
function applyAllowed(graph: AuthGraph, events: readonly Event[], state: Map<string, EventId>): void {
  for (const event of events) {
    if (event.stateKey === undefined) continue;
    if (checkStateDependent(event, authStateFor(graph, event, state)) !== undefined) continue;
    state.set(stateMapKey(event.type, event.stateKey), event.eventId);
  }
}

/**
 * "If a (event_type, state_key) key that is required for checking the authorisation rules is not present in the
 * state, then the appropriate state event from the event's auth_events is used if the auth event is not
 * rejected."
 */
function authStateFor(graph: AuthGraph, event: Event, state: ReadonlyMap<string, EventId>): AuthState {
  return {
    get(type, stateKey) {
      const eventId = state.get(stateMapKey(type, stateKey));
      if (eventId !== undefined) return loadedEvent(graph, eventId);
      if (type === 'm.room.create') return createEventOf(graph, event);
      return namedAuthEvent(graph, event, { type, stateKey });
    },
  };
}
