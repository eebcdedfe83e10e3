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
import { authEventKeys } from '../auth/select.ts';
import { type Event, membershipOf, stateMapKey } from '../event.ts';
import { createEventIdOf } from '../hashes.ts';
import { authDifference } from './auth-difference.ts';
import { type AuthGraph, createEventOf, loadedEvent, namedAuthEvent } from './auth-graph.ts';
import { type Conflicts, conflictedSet, type StateIds } from './conflicts.ts';
import { mainlineSort } from './mainline.ts';
import { powerSort } from './power-sort.ts';
import { forEach, type Steps } from './steps.ts';
import { conflictedSubgraph } from './subgraph.ts';

export type Algorithm = 'v2' | 'v2.1';

const POWER_LEVELS = stateMapKey('m.room.power_levels', '');
/** The auth checks of one event may take as long as its power levels are many: few at once. */
const CHECKS_AT_ONCE = 16;

/** What the resolved state has beside the unconflicted state map. */
export function* resolveV2(algorithm: Algorithm, graph: AuthGraph, conflicts: Conflicts): Steps<StateIds> {
  const fullConflictedSet = yield* fullConflictedSetOf(algorithm, graph, conflicts);
  yield* wantAgreed(algorithm, graph, conflicts, fullConflictedSet);
  // Step 1.
  const powerEvents = yield* withConflictedAuthChains(graph, fullConflictedSet);
  const sortedPowerEvents = yield* powerSort(graph, powerEvents);
  // Step 2.
  const state = new ResolvedState(algorithm === 'v2' ? conflicts.unconflicted : new Map());
  yield* applyAllowed(graph, sortedPowerEvents, state, 2);
  // Step 3.
  const powerLevels = state.get(POWER_LEVELS);
  const others = yield* mainlineSort(
    graph,
    fullConflictedSet.values().filter((eventId) => !powerEvents.has(eventId)),
    powerLevels === undefined ? undefined : loadedEvent(graph, powerLevels),
  );
  // Step 4.
  yield* applyAllowed(graph, others, state, 4);
  // Step 5.
  for (const key of state.applied.keys()) if (conflicts.unconflicted.has(key)) state.applied.delete(key);
  return state.applied;
}

/**
 * "The full conflicted set is the union of the conflicted state set [2.1: , the conflicted state subgraph] and
 * the auth difference."
 */
function* fullConflictedSetOf(
  algorithm: Algorithm,
  graph: AuthGraph,
  conflicts: Conflicts,
): Steps<ReadonlySet<EventId>> {
  const conflicted = conflictedSet(conflicts);
  yield { kind: 'events', eventIds: conflicted, chains: true };
  yield* wantImpliedCreate(graph, conflicted);
  const full = algorithm === 'v2' ? new Set(conflicted) : yield* conflictedSubgraph(graph, conflicted);
  yield* forEach(yield* authDifference(graph, conflicts), (eventId) => full.add(eventId));
  return full;
}

/** v12: the create event, which no `auth_events` name. */
function* wantImpliedCreate(graph: AuthGraph, conflicted: ReadonlySet<EventId>): Steps<void> {
  const [some] = conflicted;
  if (some === undefined) return;
  const { rules, roomId } = loadedEvent(graph, some);
  if (rules.roomIdIsCreateHash) {
    yield { kind: 'events', eventIds: [createEventIdOf(roomId)], chains: false };
  }
}

/**
 * Wants what the states agree on under the keys of the full conflicted set, for step 5; and, for the checks of
 * version 2, which start from it, what authorises these events. Those of 2.1 look only at what they build from nothing.
 */
function* wantAgreed(
  algorithm: Algorithm,
  graph: AuthGraph,
  { unconflicted }: Conflicts,
  fullConflictedSet: ReadonlySet<EventId>,
): Steps<void> {
  const keys = new Set<string>();
  yield* forEach(fullConflictedSet, (eventId) => {
    const event = loadedEvent(graph, eventId);
    if (event.stateKey !== undefined) keys.add(stateMapKey(event.type, event.stateKey));
    if (algorithm !== 'v2') return;
    for (const { type, stateKey } of authEventKeys(event, event.rules)) keys.add(stateMapKey(type, stateKey));
  });
  if (algorithm === 'v2') keys.add(stateMapKey('m.room.create', '')).add(POWER_LEVELS);
  yield { kind: 'agreed', keys };
  if (algorithm !== 'v2') return;
  const agreed = [...keys].map((key) => unconflicted.get(key)).filter((eventId) => eventId !== undefined);
  yield { kind: 'events', eventIds: agreed, chains: false };
  // The mainline of the partially resolved state may begin there.
  const powerLevels = unconflicted.get(POWER_LEVELS);
  if (powerLevels !== undefined) yield { kind: 'events', eventIds: [powerLevels], chains: true };
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
 * The power events of the full conflicted set, and "the events in the auth chain of P which also belong to the full
 * conflicted set".
 *
 * The chains are walked within the full conflicted set, as the servers of the network do. In version 2 a chain may
 * leave the set and come back to it; what lies beyond would to the letter belong to X, and is left to step 3. A server
 * that did otherwise would have another state than all others. In version 2.1 there are no such gaps: the conflicted
 * state subgraph closes them.
 */
function* withConflictedAuthChains(
  graph: AuthGraph,
  fullConflictedSet: ReadonlySet<EventId>,
): Steps<Set<EventId>> {
  const picked = new Set<EventId>();
  yield* forEach(fullConflictedSet, (eventId) => {
    if (isPowerEvent(loadedEvent(graph, eventId))) picked.add(eventId);
  });
  yield* forEach(picked, (eventId) => {
    for (const authEventId of loadedEvent(graph, eventId).authEvents) {
      if (fullConflictedSet.has(authEventId)) picked.add(authEventId);
    }
  });
  return picked;
}

/** The state that is built: what was applied to it, upon that which it started from. */
class ResolvedState {
  readonly #start: StateIds;
  readonly applied = new Map<string, EventId>();

  constructor(start: StateIds) {
    this.#start = start;
  }

  get(key: string): EventId | undefined {
    return this.applied.get(key) ?? this.#start.get(key);
  }
}

/**
 * The iterative auth checks: "constructs a new room state by iterating through the event list and applying the
 * state event to the room state if the state event is allowed by the authorisation rules. If the state event is
 * not allowed by the authorisation rules, then the event is ignored."
 */
function* applyAllowed(
  graph: AuthGraph,
  events: readonly Event[],
  state: ResolvedState,
  step: 2 | 4,
): Steps<void> {
  yield* forEach(
    events,
    (event) => {
      if (event.stateKey === undefined) return;
      const authState = authStateFor(graph, event, state);
      const refusal = checkStateDependent(event, authState);
      graph.noteCheck?.({ step, event, refusal, state: authState });
      if (refusal !== undefined) return;
      state.applied.set(stateMapKey(event.type, event.stateKey), event.eventId);
    },
    CHECKS_AT_ONCE,
  );
}

/**
 * "If a (event_type, state_key) key that is required for checking the authorisation rules is not present in the
 * state, then the appropriate state event from the event's auth_events is used if the auth event is not
 * rejected."
 */
function authStateFor(graph: AuthGraph, event: Event, state: ResolvedState): AuthState {
  return {
    get(type, stateKey) {
      const eventId = state.get(stateMapKey(type, stateKey));
      if (eventId !== undefined) return loadedEvent(graph, eventId);
      const named =
        type === 'm.room.create'
          ? createEventOf(graph, event)
          : namedAuthEvent(graph, event, { type, stateKey });
      return named !== undefined && graph.isRejected?.(named.eventId) ? undefined : named;
    },
  };
}
