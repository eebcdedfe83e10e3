import type { EventId } from '#keys/ids.ts';
import type { RoomVersionRules } from '../versions.ts';
import type { AuthGraph } from './auth-graph.ts';
import { type Conflicts, conflictsOf, type StateIds } from './conflicts.ts';
import { atOnce, type Steps } from './steps.ts';
import { resolveV1 } from './v1.ts';
import { resolveV2 } from './v2.ts';

export type { AuthGraph } from './auth-graph.ts';
export type { Conflicts, StateIds } from './conflicts.ts';

/**
 * The resolution of a set of room states, by the algorithm of the room's version. Pure; the order of the states
 * does not matter. `graph` must hold what it looks at: at most the events of the states and their auth chains.
 * Throws where an event is not there.
 */
export function resolve(rules: RoomVersionRules, stateSets: readonly StateIds[], graph: AuthGraph): StateIds {
  const conflicts = conflictsOf(stateSets);
  return new Map([...conflicts.unconflicted, ...atOnce(resolution(rules, conflicts, graph))]);
}

/**
 * The same in bounded portions, for states of which is told how they differ: what the resolved state has beside the
 * unconflicted state map. `graph` and the unconflicted state map may hold less at first: what more is needed is wanted.
 */
export function* resolution(
  rules: RoomVersionRules,
  conflicts: Conflicts,
  graph: AuthGraph,
): Steps<ReadonlyMap<string, EventId>> {
  if (conflicts.differing.every((state) => state.size === 0)) return new Map();
  if (rules.stateResolution === 'v1') return yield* resolveV1(graph, conflicts);
  return yield* resolveV2(rules.stateResolution, graph, conflicts);
}
