import type { EventId } from '#keys/ids.ts';
import { type AuthGraph, loadedEvent, withAuthChains } from './auth-graph.ts';
import { forEach, type Steps } from './steps.ts';

/**
 * "Starting from an event in the conflicted state set and following auth_events edges may lead to another
 * event in the conflicted state set. The union of all such paths between any pair of events in the conflicted
 * state set (including endpoints) forms a subgraph of the original auth_event graph, called the conflicted
 * state subgraph."
 *
 * An event is on such a path if a conflicted event leads to it and it leads to a conflicted event.
 */
export function* conflictedSubgraph(graph: AuthGraph, conflicted: ReadonlySet<EventId>): Steps<Set<EventId>> {
  const citedBy = new Map<EventId, EventId[]>();
  yield* forEach(yield* withAuthChains(graph, conflicted), (eventId) => {
    for (const authEventId of loadedEvent(graph, eventId).authEvents) {
      const citing = citedBy.get(authEventId);
      if (citing === undefined) citedBy.set(authEventId, [eventId]);
      else citing.push(eventId);
    }
  });
  const subgraph = new Set(conflicted);
  yield* forEach(subgraph, (eventId) => {
    for (const citing of citedBy.get(eventId) ?? []) subgraph.add(citing);
  });
  return subgraph;
}
