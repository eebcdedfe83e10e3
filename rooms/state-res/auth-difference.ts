import type { EventId } from '#keys/ids.ts';
import { type AuthGraph, withAuthChains } from './auth-graph.ts';
import type { Conflicts, StateIds } from './conflicts.ts';

/**
 * "The auth difference is calculated by first calculating the full auth chain for each state S_i, that is the
 * union of the auth chains for each event in S_i, and then taking every event that doesn't appear in every
 * auth chain. If C_i is the full auth chain of S_i, then the auth difference is ∪ C_i − ∩ C_i."
 *
 * Each C_i is taken together with the events of S_i: those of them that the other states lack are in the full
 * conflicted set anyhow, and one that all states hold is never part of the difference.
 */
export function authDifference(
  graph: AuthGraph,
  stateSets: readonly StateIds[],
  conflicts: Conflicts,
): Set<EventId> {
  const difference = differenceOfConflicted(graph, stateSets, conflicts);
  if (difference.size === 0) return difference;
  // What the unconflicted events need is in every chain.
  for (const eventId of withAuthChains(graph, conflicts.unconflicted.values())) difference.delete(eventId);
  return difference;
}

/**
 * The auth difference as far as the conflicted events tell: what is in it but not in the chain of any
 * unconflicted event is the auth difference. Mostly empty, and then the chains of the whole state, which are
 * long in a large room, need not be loaded.
 */
export function differenceOfConflicted(
  graph: AuthGraph,
  stateSets: readonly StateIds[],
  { conflicted }: Conflicts,
): Set<EventId> {
  const seen = new Map<EventId, number>();
  for (const state of stateSets) {
    const ofThisState = state.values().filter((eventId) => conflicted.has(eventId));
    for (const eventId of withAuthChains(graph, ofThisState)) seen.set(eventId, (seen.get(eventId) ?? 0) + 1);
  }
  const difference = new Set<EventId>();
  for (const [eventId, states] of seen) if (states < stateSets.length) difference.add(eventId);
  return difference;
}
