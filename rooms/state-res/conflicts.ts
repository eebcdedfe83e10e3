import type { EventId } from '#keys/ids.ts';

/** The state of a room, or a part of it: `stateMapKey(type, stateKey)` to the id of the state event. */
export type StateIds = ReadonlyMap<string, EventId>;

/** What a set of states agree and disagree on. */
export interface Conflicts {
  /**
   * "If a given key K is present in every S_i with the same value V in each state map, then the pair (K, V) belongs to
   * the unconflicted state map." May hold only those keys that a resolution has asked for: see `Wanted`.
   */
  readonly unconflicted: StateIds;
  /** Each of the states without what is unconflicted. */
  readonly differing: readonly StateIds[];
}

/** The conflicts of states that are given whole. */
export function conflictsOf(stateSets: readonly StateIds[]): Conflicts {
  const unconflicted = new Map<string, EventId>();
  const [first = new Map<string, EventId>(), ...others] = stateSets;
  for (const [key, eventId] of first) {
    if (others.every((state) => state.get(key) === eventId)) unconflicted.set(key, eventId);
  }
  const differing = stateSets.map(
    (state) => new Map(state.entries().filter(([key]) => !unconflicted.has(key))),
  );
  return { unconflicted, differing };
}

/** "Otherwise, V belongs to the conflicted state set." */
export function conflictedSet({ differing }: Conflicts): Set<EventId> {
  const conflicted = new Set<EventId>();
  for (const state of differing) for (const eventId of state.values()) conflicted.add(eventId);
  return conflicted;
}
