import type { EventId } from '#keys/ids.ts';

/** The state of a room: `stateMapKey(type, stateKey)` to the id of the state event. */
export type StateIds = ReadonlyMap<string, EventId>;

/** What a set of states agree and disagree on. */
export interface Conflicts {
  readonly unconflicted: StateIds;
  readonly conflicted: ReadonlySet<EventId>;
}

/**
 * "If a given key K is present in every S_i with the same value V in each state map, then the pair (K, V)
 * belongs to the unconflicted state map. Otherwise, V belongs to the conflicted state set."
 */
export function conflictsOf(stateSets: readonly StateIds[]): Conflicts {
  const unconflicted = new Map<string, EventId>();
  const conflicted = new Set<EventId>();
  const [first, ...others] = stateSets;
  if (first === undefined) return { unconflicted, conflicted };
  for (const [key, eventId] of first) {
    if (others.every((state) => state.get(key) === eventId)) unconflicted.set(key, eventId);
  }
  for (const state of stateSets) {
    for (const [key, eventId] of state) if (!unconflicted.has(key)) conflicted.add(eventId);
  }
  return { unconflicted, conflicted };
}
