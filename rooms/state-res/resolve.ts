import type { EventId } from '#keys/ids.ts';
import { authEventKeys } from '../auth/select.ts';
import { type Event, stateMapKey } from '../event.ts';
import { createEventIdOf } from '../hashes.ts';
import type { RoomVersionRules } from '../versions.ts';
import { differenceOfConflicted } from './auth-difference.ts';
import type { AuthGraph } from './auth-graph.ts';
import { conflictsOf, type StateIds } from './conflicts.ts';
import { type ConflictsV1, conflictsOfV1, resolveV1 } from './v1.ts';
import { fullConflictedSetOf, resolveV2 } from './v2.ts';

export type { AuthGraph } from './auth-graph.ts';
export type { StateIds } from './conflicts.ts';

/**
 * The resolution of a set of room states, by the algorithm of the room's version. Pure; the order of the states
 * does not matter. `graph` must hold what it looks at: load `missingFor` until nothing is missing. Throws where
 * an event was not loaded.
 */
export function resolve(rules: RoomVersionRules, stateSets: readonly StateIds[], graph: AuthGraph): StateIds {
  if (rules.stateResolution === 'v1') return resolveV1(graph, conflictsOfV1(stateSets));
  const conflicts = conflictsOf(stateSets);
  if (conflicts.conflicted.size === 0) return conflicts.unconflicted;
  return resolveV2(rules.stateResolution, graph, { stateSets, conflicts });
}

/**
 * The events that `resolve` will look at and that `graph` lacks: load them and their whole auth chains into the
 * graph, and ask again until none is missing, at most four times.
 *
 * What is asked for is little: the conflicted events first; the whole of the state only where the auth chains
 * of the conflicted events differ; and, from the unconflicted state, what authorises the events in question.
 */
export function missingFor(
  rules: RoomVersionRules,
  stateSets: readonly StateIds[],
  graph: AuthGraph,
): EventId[] {
  if (rules.stateResolution === 'v1') return missingForV1(graph, conflictsOfV1(stateSets));
  const conflicts = conflictsOf(stateSets);
  if (conflicts.conflicted.size === 0) return [];
  const missing = notLoaded(graph, conflicts.conflicted);
  const [someEventId] = conflicts.conflicted;
  const someEvent = someEventId === undefined ? undefined : graph.event(someEventId);
  if (rules.roomIdIsCreateHash && someEvent !== undefined) {
    missing.push(...notLoaded(graph, [createEventIdOf(someEvent.roomId)]));
  }
  if (missing.length > 0) return missing;

  if (differenceOfConflicted(graph, stateSets, conflicts).size > 0) {
    missing.push(...notLoaded(graph, conflicts.unconflicted.values()));
    if (missing.length > 0) return missing;
  }

  const algorithm = rules.stateResolution;
  // 2.1 checks against what it builds from nothing, never against the unconflicted state.
  if (algorithm === 'v2.1') return [];
  const keys = new Set([stateMapKey('m.room.power_levels', '')]);
  for (const eventId of fullConflictedSetOf(algorithm, graph, { stateSets, conflicts })) {
    for (const key of authKeysOf(graph.event(eventId))) keys.add(key);
  }
  const authorising = [...keys].map((key) => conflicts.unconflicted.get(key));
  return notLoaded(
    graph,
    authorising.filter((eventId) => eventId !== undefined),
  );
}

/** Version 1 looks at the events in conflict, and at what authorises them where all agree; at no auth chains. */
function missingForV1(graph: AuthGraph, { unconflicted, conflicting }: ConflictsV1): EventId[] {
  const inConflict = [...conflicting.values()].flatMap((eventIds) => [...eventIds]);
  const missing = inConflict.filter((eventId) => graph.event(eventId) === undefined);
  if (missing.length > 0) return missing;
  const keys = new Set(inConflict.flatMap((eventId) => authKeysOf(graph.event(eventId))));
  const authorising = [...keys].map((key) => unconflicted.get(key));
  return authorising
    .filter((eventId) => eventId !== undefined)
    .filter((eventId) => graph.event(eventId) === undefined);
}

function authKeysOf(event: Event | undefined): string[] {
  if (event === undefined) return [];
  return authEventKeys(event, event.rules).map(({ type, stateKey }) => stateMapKey(type, stateKey));
}

/** Those of the events and their auth chains that are not in the graph. */
function notLoaded(graph: AuthGraph, eventIds: Iterable<EventId>): EventId[] {
  const reached = new Set(eventIds);
  const missing: EventId[] = [];
  // A set hands out what is added to it while it is walked.
  for (const eventId of reached) {
    const event = graph.event(eventId);
    if (event === undefined) missing.push(eventId);
    else for (const authEventId of event.authEvents) reached.add(authEventId);
  }
  return missing;
}
