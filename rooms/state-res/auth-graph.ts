import type { EventId } from '#keys/ids.ts';
import type { AuthState, Refusal } from '../auth/check.ts';
import type { Event } from '../event.ts';
import { createEventIdOf } from '../hashes.ts';
import { forEach, type Steps } from './steps.ts';

/** The events that a resolution may look at: those that it has wanted. */
export interface AuthGraph {
  event(eventId: EventId): Event | undefined;
  /** True for an event that was rejected on receipt. Without this function, none was. */
  isRejected?(eventId: EventId): boolean;
  /** Told each check of the resolution, in order, for who explains one. */
  noteCheck?(check: ResolutionCheck): void;
}

/** An event that a resolution has checked by the state that it had built so far. */
export interface ResolutionCheck {
  /** Of version 2: 2, the power events, or 4, all others. Of version 1: 1, which has one check for all. */
  readonly step: 1 | 2 | 4;
  readonly event: Event;
  readonly refusal: Refusal | undefined;
  /** Changes as the resolution goes on. */
  readonly state: AuthState;
}

/** An event of the graph. Throws where it was not loaded: without it the result would be another. */
export function loadedEvent(graph: AuthGraph, eventId: EventId): Event {
  const event = graph.event(eventId);
  if (event === undefined) throw new Error(`the event ${eventId} was not loaded for state resolution`);
  return event;
}

/**
 * The events given and their auth chains: "the events reachable by walking the graph induced by an event's
 * auth_events links".
 */
export function* withAuthChains(graph: AuthGraph, eventIds: Iterable<EventId>): Steps<Set<EventId>> {
  const reached = new Set(eventIds);
  yield* forEach(reached, (eventId) => {
    for (const authEventId of loadedEvent(graph, eventId).authEvents) reached.add(authEventId);
  });
  return reached;
}

/**
 * The event of a type and state key that an event names in its `auth_events`, also where it was rejected: rejected
 * events "are handled as usual by the algorithm, unless otherwise specified".
 */
export function namedAuthEvent(
  graph: AuthGraph,
  event: Event,
  key: { readonly type: string; readonly stateKey: string },
): Event | undefined {
  for (const authEventId of event.authEvents) {
    const authEvent = loadedEvent(graph, authEventId);
    if (authEvent.type === key.type && authEvent.stateKey === key.stateKey) return authEvent;
  }
  return undefined;
}

/**
 * The room's create event as an event knows it: among its `auth_events`, or, where these must not name it,
 * "the room_id (being the m.room.create event's ID) implies this instead".
 */
export function createEventOf(graph: AuthGraph, event: Event): Event | undefined {
  if (event.type === 'm.room.create') return event;
  if (event.rules.roomIdIsCreateHash) return loadedEvent(graph, createEventIdOf(event.roomId));
  return namedAuthEvent(graph, event, { type: 'm.room.create', stateKey: '' });
}
