/** State resolution, plainly: room version 1, 2 to 11 ("v2"), and 12 ("v2.1"). */
import { createHash } from 'node:crypto';
import { authSelection, type PlainKeys, type PlainKnowledge, refusalByState } from './plain-auth.ts';
import { keyOf, type PlainEvent, type PlainState, stateOf } from './plain-event.ts';
import { userLevelIn } from './plain-power.ts';

interface Court {
  readonly version: number;
  readonly create: PlainEvent;
  readonly known: PlainKnowledge;
  readonly keys: PlainKeys;
  /**
   * In two places Synapse, Dendrite and the servers on Ruma all do otherwise than the letter of the text has it: see
   * `fullConflictedSet` and `conflictedChain`. To differ from them would split rooms, so this is false unless given.
   */
  readonly toTheLetter?: boolean;
}

/** The resolution of a set of states of one room. */
export function plainResolve(court: Court, states: readonly PlainState[]): PlainState {
  return court.version === 1 ? resolveV1(court, states) : resolveV2(court, states);
}

function resolveV1(court: Court, states: readonly PlainState[]): PlainState {
  // "A conflict occurs between states where those states have different `event_ids` for the same
  // `(event_type, state_key)`. The events thus affected are said to be conflicting events."
  const candidates = byKey(states);
  // "Start by setting R to the union of the states to be resolved, excluding any conflicting events."
  const resolved = new Map<string, PlainEvent>();
  for (const [key, [only, ...others]] of candidates) {
    if (only !== undefined && others.length === 0) resolved.set(key, only);
  }
  const conflicts = [...candidates].filter(([, events]) => events.length > 1);
  const allowed = (event: PlainEvent) => refusalByState(event, resolved, court.keys) === undefined;
  // "First we resolve conflicts between `m.room.power_levels` events." "Repeat the above process for conflicts between
  // `m.room.join_rules` events." "Repeat the above process for conflicts between `m.room.member` events."
  for (const type of ['m.room.power_levels', 'm.room.join_rules', 'm.room.member']) {
    const ofType = conflicts.filter(([, events]) => events[0]?.type === type);
    // In the state as it was before this pass, so that the order of the keys does not matter.
    const picked = ofType.map(([key, events]): [string, PlainEvent | undefined] => {
      // "Sort the list by ascending `depth` then descending `sha1(event_id)`."
      const [first, ...rest] = [...events].sort(byDepthThenSha1);
      // "Add the first event in the list to R."
      let best = first;
      for (const event of rest) {
        // "For each subsequent event in the list, check that the event would be allowed by the authorisation rules for a
        // room in state R. If the event would be allowed, then update R with the event and continue with the next event
        // in the list. If it would not be allowed, stop".
        const withBest = best === undefined ? resolved : new Map(resolved).set(key, best);
        if (refusalByState(event, withBest, court.keys) !== undefined) break;
        best = event;
      }
      return [key, best];
    });
    for (const [key, event] of picked) if (event !== undefined) resolved.set(key, event);
  }
  // "No other events affect the authorisation rules, so for all other conflicts, just pick the event with the highest
  // depth and lowest `sha1(event_id)` that passes authentication in R and add it to R."
  const others = new Map<string, PlainEvent>();
  for (const [key, events] of conflicts) {
    if (resolved.has(key)) continue;
    // What to pick where none passes, the text leaves open: the first of the list, as the servers of the network do.
    const sorted = [...events].sort(byDepthThenSha1);
    const best = sorted.findLast(allowed) ?? sorted[0];
    if (best !== undefined) others.set(key, best);
  }
  for (const [key, event] of others) resolved.set(key, event);
  return resolved;
}

function byDepthThenSha1(a: PlainEvent, b: PlainEvent): number {
  return a.depth - b.depth || (sha1(a.id) < sha1(b.id) ? 1 : -1);
}

function sha1(text: string): string {
  return createHash('sha1').update(text).digest('hex');
}

function resolveV2(court: Court, states: readonly PlainState[]): PlainState {
  const { unconflicted, conflicted } = conflictsOf(states);
  const full = fullConflictedSet(court, states, conflicted);
  // "1. Select the set X of all power events that appear in the full conflicted set. For each such power event P, enlarge
  // X by adding the events in the auth chain of P which also belong to the full conflicted set."
  const chosen = new Set<PlainEvent>();
  for (const event of full) {
    if (!isPowerEvent(event)) continue;
    chosen.add(event);
    for (const other of conflictedChain(court, event, full)) chosen.add(other);
  }
  // "Sort X into a list using the reverse topological power ordering."
  const powerList = powerOrdering(court, chosen);
  // "2. Apply the iterative auth checks algorithm, starting from the unconflicted state map, to the list of events from
  // the previous step to get a partially resolved state." v12: "starting from an empty state map".
  const partial = iterativeAuthChecks(court, court.version >= 12 ? new Map() : unconflicted, powerList);
  // "3. Take all remaining events that weren't picked in step 1 and order them by the mainline ordering based on the
  // power level in the partially resolved state obtained in step 2."
  const remaining = [...full].filter((event) => !chosen.has(event));
  const mainline = mainlineOrdering(court, partial.get(keyOf('m.room.power_levels', '')), remaining);
  // "4. Apply the iterative auth checks algorithm on the partial resolved state and the list of events from the previous
  // step."
  const result = iterativeAuthChecks(court, partial, mainline);
  // "5. Update the result by replacing any event with the event with the same key from the unconflicted state map, if
  // such an event exists, to get the final resolved state."
  return new Map([...result, ...unconflicted]);
}

/** "Unconflicted state map and conflicted state set." */
function conflictsOf(states: readonly PlainState[]) {
  const unconflicted = new Map<string, PlainEvent>();
  const conflicted = new Set<PlainEvent>();
  for (const [key, events] of byKey(states)) {
    const [only, ...others] = events;
    // "If a given key K is present in every S_i with the same value V in each state map, then the pair (K, V) belongs to
    // the unconflicted state map. Otherwise, V belongs to the conflicted state set."
    if (only !== undefined && others.length === 0 && states.every((state) => state.has(key)))
      unconflicted.set(key, only);
    else for (const event of events) conflicted.add(event);
  }
  return { unconflicted, conflicted };
}

/** The different events of each key. */
function byKey(states: readonly PlainState[]): Map<string, PlainEvent[]> {
  const all = new Map<string, PlainEvent[]>();
  for (const [key, event] of states.flatMap((state) => [...state])) {
    const found = all.get(key) ?? [];
    if (!found.includes(event)) all.set(key, [...found, event]);
  }
  return all;
}

function fullConflictedSet(
  court: Court,
  states: readonly PlainState[],
  conflicted: ReadonlySet<PlainEvent>,
): Set<PlainEvent> {
  // "The auth difference is calculated by first calculating the full auth chain for each state S_i, that is the union of
  // the auth chains for each event in S_i, and then taking every event that doesn't appear in every auth chain."
  //
  // To the letter an event of S_i is in C_i only where another event of S_i leads to it. The servers of the network take
  // C_i with the events of S_i, so that what all states hold is in no difference.
  const chains = states.map((state) => {
    const chain = [...state.values()].flatMap((event) => [...authChain(court, event)]);
    return new Set(court.toTheLetter === true ? chain : [...chain, ...state.values()]);
  });
  const union = new Set(chains.flatMap((chain) => [...chain]));
  const difference = [...union].filter((event) => !chains.every((chain) => chain.has(event)));
  // "The full conflicted set is the union of the conflicted state set and the auth difference." v12: and "the conflicted
  // state subgraph".
  const full = new Set([...conflicted, ...difference]);
  if (court.version >= 12) for (const event of conflictedSubgraph(court, conflicted)) full.add(event);
  return full;
}

/**
 * v12: "Starting from an event in the conflicted state set and following `auth_events` edges may lead to another event
 * in the conflicted state set. The union of all such paths between any pair of events in the conflicted state set
 * (including endpoints) forms a subgraph".
 */
function conflictedSubgraph(court: Court, conflicted: ReadonlySet<PlainEvent>): Set<PlainEvent> {
  const subgraph = new Set<PlainEvent>();
  for (const start of conflicted) {
    for (const event of authChain(court, start)) {
      const leadsOn =
        conflicted.has(event) || [...authChain(court, event)].some((end) => conflicted.has(end));
      if (leadsOn) subgraph.add(start).add(event);
    }
  }
  return subgraph;
}

/** "The set containing all of E's auth events, all of their auth events, and so on recursively". */
export function authChain({ known }: Pick<Court, 'known'>, event: PlainEvent): Set<PlainEvent> {
  const chain = new Set<PlainEvent>();
  const add = (from: PlainEvent): void => {
    for (const id of from.authEvents) {
      const cited = known.event(id);
      if (cited === undefined || chain.has(cited)) continue;
      chain.add(cited);
      add(cited);
    }
  };
  add(event);
  return chain;
}

/**
 * "The events in the auth chain of P which also belong to the full conflicted set". The servers of the network walk the
 * chain within the set: where it leaves the set and comes back, they do not follow. In v12 the conflicted state subgraph
 * is in the set, and there are no such gaps.
 */
function conflictedChain(court: Court, event: PlainEvent, full: ReadonlySet<PlainEvent>): Set<PlainEvent> {
  if (court.toTheLetter === true) return authChain(court, event).intersection(full);
  const chain = new Set<PlainEvent>([event]);
  for (const { authEvents } of chain) {
    for (const id of authEvents) {
      const cited = court.known.event(id);
      if (cited !== undefined && full.has(cited)) chain.add(cited);
    }
  }
  return chain;
}

/**
 * "A power event is a state event with type `m.room.power_levels` or `m.room.join_rules`, or a state event with type
 * `m.room.member` where the `membership` is `leave` or `ban` and the `sender` does not match the `state_key`."
 */
function isPowerEvent({ type, stateKey, sender, content }: PlainEvent): boolean {
  if (stateKey === undefined) return false;
  if (type === 'm.room.power_levels' || type === 'm.room.join_rules') return true;
  const { membership } = content;
  return type === 'm.room.member' && (membership === 'leave' || membership === 'ban') && sender !== stateKey;
}

/**
 * "The reverse topological power ordering can be found by sorting the events using Kahn's algorithm for topological
 * sorting, and at each step selecting, among all the candidate vertices, the smallest vertex using the above comparison
 * relation."
 */
function powerOrdering(court: Court, events: ReadonlySet<PlainEvent>): PlainEvent[] {
  const levels = new Map([...events].map((event) => [event, senderLevel(court, event)]));
  const smaller = (x: PlainEvent, y: PlainEvent): number => {
    const [powerOfX = 0, powerOfY = 0] = [levels.get(x), levels.get(y)];
    // "1. x's sender has greater power level than y's sender, when looking at their respective `auth_event`s; or"
    if (powerOfX !== powerOfY) return powerOfX > powerOfY ? -1 : 1;
    // "2. the senders have the same power level, but x's `origin_server_ts` is less than y's `origin_server_ts`; or
    // 3. [...] x's `event_id` is less than y's `event_id`."
    return byTsThenId(x, y);
  };
  const sorted: PlainEvent[] = [];
  const left = new Set(events);
  while (left.size > 0) {
    const cites = (event: PlainEvent) =>
      event.authEvents.some((id) => [...left].some((other) => other.id === id));
    const [smallest] = [...left].filter((event) => !cites(event)).sort(smaller);
    if (smallest === undefined) throw new Error('the auth events go in a circle');
    left.delete(smallest);
    sorted.push(smallest);
  }
  return sorted;
}

function senderLevel({ known, create }: Court, event: PlainEvent): number {
  const cited = event.authEvents.map((id) => known.event(id)).filter((found) => found !== undefined);
  return userLevelIn(stateOf(cited), event.sender, create);
}

function byTsThenId(x: PlainEvent, y: PlainEvent): number {
  return x.ts - y.ts || (x.id < y.id ? -1 : 1);
}

/** "Mainline ordering." */
function mainlineOrdering(
  court: Court,
  p: PlainEvent | undefined,
  events: readonly PlainEvent[],
): PlainEvent[] {
  // "The mainline of P_0 is the list of events [P_0, P_1, ..., P_n], fetched in this way."
  const mainline = p === undefined ? [] : [p, ...powerLevelsBehind(court, p)];
  const positions = new Map<PlainEvent, number>();
  for (const event of events) {
    // "Find the smallest index j >= 1 for which e_j belongs to the mainline of P. If such a j exists, then e_j = P_i for
    // some unique index i >= 0. Otherwise set i = infinity".
    const found = powerLevelsBehind(court, event).find((level) => mainline.includes(level));
    positions.set(event, found === undefined ? Infinity : mainline.indexOf(found));
  }
  return [...events].sort((x, y) => {
    const [positionOfX = 0, positionOfY = 0] = [positions.get(x), positions.get(y)];
    // "1. the mainline position of x is greater than the mainline position of y; or"
    if (positionOfX !== positionOfY) return positionOfX > positionOfY ? -1 : 1;
    // "2. [...] x's `origin_server_ts` is less than y's `origin_server_ts`; or 3. [...] x's `event_id` is less".
    return byTsThenId(x, y);
  });
}

/** "where e_{j+1} is the `m.room.power_levels` event in the `auth_events` of e_j": e_1, e_2 and so on. */
function powerLevelsBehind({ known }: Court, event: PlainEvent): PlainEvent[] {
  const list: PlainEvent[] = [];
  for (let at: PlainEvent | undefined = event; at !== undefined; ) {
    at = at.authEvents
      .map((id) => known.event(id))
      .find((cited) => cited?.type === 'm.room.power_levels' && cited.stateKey === '');
    if (at !== undefined) list.push(at);
  }
  return list;
}

/** "Iterative auth checks." */
function iterativeAuthChecks(court: Court, initial: PlainState, events: readonly PlainEvent[]): PlainState {
  const state = new Map(initial);
  for (const event of events) {
    // "If a `(event_type, state_key)` key that is required for checking the authorisation rules is not present in the
    // state, then the appropriate state event from the event's `auth_events` is used if the auth event is not rejected."
    const inCourt = new Map(state);
    const required = authSelection(event);
    for (const id of event.authEvents) {
      const cited = court.known.event(id);
      if (cited?.stateKey === undefined || court.known.isRejected(id)) continue;
      const key = keyOf(cited.type, cited.stateKey);
      if (required.includes(key) && !inCourt.has(key)) inCourt.set(key, cited);
    }
    // v12: the room id implies the create event.
    if (court.version >= 12) inCourt.set(keyOf('m.room.create', ''), court.create);
    // "applying the state event to the room state if the state event is allowed by the authorisation rules. If the state
    // event is not allowed by the authorisation rules, then the event is ignored."
    const allowed = refusalByState(event, inCourt, court.keys) === undefined;
    if (allowed && event.stateKey !== undefined) state.set(keyOf(event.type, event.stateKey), event);
  }
  return state;
}
