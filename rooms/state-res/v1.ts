/**
 * State resolution, version 1 (room version 1): https://spec.matrix.org/v1.19/rooms/v1/#state-resolution
 *
 * "The resolved state is built up in a number of passes; here we use R to refer to the results of the resolution
 * so far."
 *
 * 1. "Start by setting R to the union of the states to be resolved, excluding any conflicting events."
 * 2. "First we resolve conflicts between m.room.power_levels events. If there is no conflict, this step is skipped,
 *    otherwise:"
 *    a. "Assemble all the m.room.power_levels events from the states to be resolved into a list."
 *    b. "Sort the list by ascending depth then descending sha1(event_id)."
 *    c. "Add the first event in the list to R."
 *    d. "For each subsequent event in the list, check that the event would be allowed by the authorisation rules for
 *       a room in state R. If the event would be allowed, then update R with the event and continue with the next
 *       event in the list. If it would not be allowed, stop and continue below with m.room.join_rules events."
 * 3. "Repeat the above process for conflicts between m.room.join_rules events."
 * 4. "Repeat the above process for conflicts between m.room.member events."
 * 5. "No other events affect the authorisation rules, so for all other conflicts, just pick the event with the
 *    highest depth and lowest sha1(event_id) that passes authentication in R and add it to R."
 *
 * The algorithm looks at no auth chains. It is known to set state back; room version 2 replaced it.
 */
import { createHash } from 'node:crypto';
import type { EventId } from '#keys/ids.ts';
import { type AuthState, checkStateDependent } from '../auth/check.ts';
import { authEventKeys } from '../auth/select.ts';
import { type Event, splitStateMapKey, stateMapKey } from '../event.ts';
import { type AuthGraph, loadedEvent } from './auth-graph.ts';
import { type Conflicts, conflictedSet, type StateIds } from './conflicts.ts';
import { forEach, type Steps } from './steps.ts';

const POWER_LEVELS = stateMapKey('m.room.power_levels', '');
const CREATE = stateMapKey('m.room.create', '');
/** A key has as many events as there are states, each of them to be checked. */
const KEYS_AT_ONCE = 16;

/** What the resolved state has beside the unconflicted state map. */
export function* resolveV1(graph: AuthGraph, conflicts: Conflicts): Steps<StateIds> {
  yield* wantAuthorising(graph, conflicts);
  const conflicting = yield* conflictingByKey(conflicts);
  // Step 1.
  const resolved = new Map<string, EventId>();
  yield* forEach(conflicting, ([key, events]) => {
    const [eventId, another] = events;
    if (eventId === undefined || another !== undefined) return;
    resolved.set(key, eventId);
    conflicting.delete(key);
  });
  const state = { get: (key: string) => resolved.get(key) ?? conflicts.unconflicted.get(key) };
  // Steps 2 to 5.
  for (const [isOfPass, pick] of [
    [isPowerLevels, lastAllowed],
    [isJoinRules, lastAllowed],
    [isMember, lastAllowed],
    [isAny, highestAllowed],
  ] as const) {
    const picked = new Map<string, EventId>();
    yield* forEach(
      conflicting,
      ([key, events]) => {
        if (!isOfPass(key)) return;
        picked.set(key, pick(graph, events, state));
        conflicting.delete(key);
      },
      KEYS_AT_ONCE,
    );
    // All of a pass are checked against the same R: else the result would depend on which user comes first.
    for (const [key, eventId] of picked) resolved.set(key, eventId);
  }
  return resolved;
}

/** Wants the events in question, and what authorises them where all agree. No auth chains. */
function* wantAuthorising(graph: AuthGraph, conflicts: Conflicts): Steps<void> {
  const conflicted = conflictedSet(conflicts);
  yield { kind: 'events', eventIds: conflicted, chains: false };
  const keys = new Set([CREATE]);
  yield* forEach(conflicted, (eventId) => {
    const event = loadedEvent(graph, eventId);
    for (const { type, stateKey } of authEventKeys(event, event.rules)) keys.add(stateMapKey(type, stateKey));
  });
  yield { kind: 'agreed', keys };
  const agreed = [...keys].map((key) => conflicts.unconflicted.get(key));
  yield { kind: 'events', eventIds: agreed.filter((eventId) => eventId !== undefined), chains: false };
}

/**
 * By key, the events that the states have there. "A conflict occurs between states where those states have different
 * event_ids for the same (event_type, state_key)": unlike in version 2, a state that lacks a key is in conflict with
 * none, so that an event that stands alone is not conflicting.
 */
function* conflictingByKey({ differing }: Conflicts): Steps<Map<string, Set<EventId>>> {
  const byKey = new Map<string, Set<EventId>>();
  for (const state of differing) {
    yield* forEach(state, ([key, eventId]) => {
      const events = byKey.get(key);
      if (events === undefined) byKey.set(key, new Set([eventId]));
      else events.add(eventId);
    });
  }
  return byKey;
}

/** R, as far as it is resolved. */
interface Resolved {
  get(key: string): EventId | undefined;
}

/** Step 2, a to d, for the events under one key. */
function lastAllowed(graph: AuthGraph, eventIds: ReadonlySet<EventId>, state: Resolved): EventId {
  const [first, ...others] = sortedByDepth(graph, eventIds);
  if (first === undefined) throw new Error('there is no conflict without events');
  let last = first;
  for (const event of others) {
    if (!isAllowed(graph, event, state, last)) break;
    last = event;
  }
  return last.eventId;
}

/**
 * Step 5 for the events under one key. "Just pick the event [...] that passes authentication in R" leaves open what
 * to pick where none does. The servers of the network then take the event with the lowest depth and highest sha1,
 * and so must we: else the state would differ between us and them.
 */
function highestAllowed(graph: AuthGraph, eventIds: ReadonlySet<EventId>, state: Resolved): EventId {
  const sorted = sortedByDepth(graph, eventIds);
  const picked = sorted.findLast((event) => isAllowed(graph, event, state)) ?? sorted[0];
  if (picked === undefined) throw new Error('there is no conflict without events');
  return picked.eventId;
}

/** "Sort the list by ascending depth then descending sha1(event_id)." */
function sortedByDepth(graph: AuthGraph, eventIds: ReadonlySet<EventId>): Event[] {
  const hashed = [...eventIds].map((eventId) => ({
    event: loadedEvent(graph, eventId),
    sha1: sha1(eventId),
  }));
  hashed.sort((x, y) => x.event.depth - y.event.depth || (x.sha1 < y.sha1 ? 1 : -1));
  return hashed.map(({ event }) => event);
}

/** "Check that the event would be allowed by the authorisation rules for a room in state R", with one event in it. */
function isAllowed(graph: AuthGraph, event: Event, state: Resolved, put?: Event): boolean {
  const authState: AuthState = {
    get(type, stateKey) {
      if (put !== undefined && put.type === type && put.stateKey === stateKey) return put;
      const eventId = state.get(stateMapKey(type, stateKey));
      return eventId === undefined ? undefined : loadedEvent(graph, eventId);
    },
  };
  const refusal = checkStateDependent(event, authState);
  graph.noteCheck?.({ step: 1, event, refusal, state: authState });
  return refusal === undefined;
}

/** Only with an empty state key do they say anything. */
function isPowerLevels(key: string): boolean {
  return key === POWER_LEVELS;
}

function isJoinRules(key: string): boolean {
  return splitStateMapKey(key).type === 'm.room.join_rules';
}

function isMember(key: string): boolean {
  return splitStateMapKey(key).type === 'm.room.member';
}

function isAny(): boolean {
  return true;
}

function sha1(eventId: EventId): string {
  return createHash('sha1').update(eventId).digest('hex');
}
