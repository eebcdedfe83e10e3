/** The same questions as the oracles answer, answered by the product. */

import { encodeCanonical, parseStrict } from '#keys/canonical-json.ts';
import type { EventId } from '#keys/ids.ts';
import type { JsonObject } from '#keys/json.ts';
import {
  type AuthState,
  authStateOf,
  checkStateDependent,
  checkStateIndependent,
  type Refusal,
} from '#rooms/auth/check.ts';
import { type Event, eventFrom, stateMapKey } from '#rooms/event.ts';
import { contentHash, createEventIdOf, referenceHash } from '#rooms/hashes.ts';
import { redact } from '#rooms/redact.ts';
import { type AuthGraph, resolve } from '#rooms/state-res/resolve.ts';
import { type RoomVersionRules, rulesOf } from '#rooms/versions.ts';
import type {
  CanonicalAnswer,
  CanonicalRequest,
  EventAnswer,
  EventFacts,
  OracleRoom,
  RoomAnswer,
  RoomRequest,
  Verdict,
} from './protocol.ts';

/** A room, read and judged by us: what the oracles are asked, and what we answer. */
export interface OurRoom {
  readonly rules: RoomVersionRules;
  readonly events: ReadonlyMap<EventId, Event>;
  readonly states: readonly AuthState[];
  readonly request: RoomRequest;
  readonly answer: RoomAnswer;
}

/** Reads the events in their order; one that its auth events do not allow counts as rejected for those after it. */
export function judgeRoom({ version, pdus, stateSets }: OracleRoom): OurRoom {
  const rules = rulesOf(version);
  if (rules === undefined) throw new Error(`room version ${version} is not known`);
  const events = new Map(pdus.map((pdu) => eventFrom(pdu, rules)).map((event) => [event.eventId, event]));
  const states = stateSets.map((ids) => authStateOf(ids.map((id) => known(events, id))));
  const rejected = new Set<EventId>();
  const answers = [...events.values()].map((event): EventAnswer => {
    const byAuthEvents = judgeByAuthEvents(event, { events, rejected });
    if (byAuthEvents.independent !== null || byAuthEvents.dependent !== null) rejected.add(event.eventId);
    return {
      facts: factsOf(event.pdu, rules),
      ...byAuthEvents,
      in_states: states.map((state) => verdictOf(checkStateDependent(event, state))),
    };
  });
  const graph: AuthGraph = { event: (id) => events.get(id), isRejected: (id) => rejected.has(id) };
  const stateIds = stateSets.map((ids) => new Map(ids.map((id) => [keyOf(known(events, id)), id])));
  const request: RoomRequest = {
    op: 'room',
    version,
    events: [...events.values()].map(({ eventId, pdu }) => {
      return { event_id: eventId, pdu, rejected: rejected.has(eventId) };
    }),
    states: stateSets,
  };
  const resolved = [...resolve(rules, stateIds, graph).values()].sort();
  return { rules, events, states, request, answer: { events: answers, resolved } };
}

/** The canonical JSON of a text. */
export function canonicalOf({ text }: CanonicalRequest): CanonicalAnswer {
  const parsed = parseStrict(text);
  return parsed.kind === 'ok' ? { canonical: encodeCanonical(parsed.value) } : { refused: parsed.reason };
}

/** The state by which an event's own auth events judge it: with the create event, whether they name it or not. */
export function authEventStateOf(event: Event, events: ReadonlyMap<EventId, Event>): AuthState {
  const named = event.authEvents.map((id) => events.get(id)).filter((found) => found !== undefined);
  const create = createOf(event, events);
  return authStateOf(create === undefined ? named : [create, ...named]);
}

function judgeByAuthEvents(
  event: Event,
  { events, rejected }: { events: ReadonlyMap<EventId, Event>; rejected: ReadonlySet<EventId> },
): { independent: Verdict; dependent: Verdict } {
  const named = new Map<EventId, Event | 'rejected'>();
  for (const id of event.authEvents) {
    const authEvent = events.get(id);
    if (authEvent !== undefined) named.set(id, rejected.has(id) ? 'rejected' : authEvent);
  }
  const create = createOf(event, events);
  const isAccepted = create !== undefined && !rejected.has(create.eventId);
  return {
    independent: verdictOf(checkStateIndependent(event, named, isAccepted ? create : undefined)),
    dependent: verdictOf(checkStateDependent(event, authEventStateOf(event, events))),
  };
}

function verdictOf(refusal: Refusal | undefined): Verdict {
  return refusal === undefined ? null : refusal.reason;
}

function createOf(event: Event, events: ReadonlyMap<EventId, Event>): Event | undefined {
  return event.rules.roomIdIsCreateHash ? events.get(createEventIdOf(event.roomId)) : undefined;
}

function factsOf(pdu: JsonObject, rules: RoomVersionRules): EventFacts {
  return {
    event_id: eventFrom(pdu, rules).eventId,
    content_hash: contentHash(pdu),
    reference_hash: referenceHash(pdu, rules).toString('base64').replaceAll('=', ''),
    redacted: encodeCanonical(redact(pdu, rules)),
    canonical: encodeCanonical(pdu),
  };
}

function keyOf(event: Event): string {
  if (event.stateKey === undefined) throw new Error(`${event.eventId} is no state event`);
  return stateMapKey(event.type, event.stateKey);
}

function known(events: ReadonlyMap<EventId, Event>, id: EventId): Event {
  const event = events.get(id);
  if (event === undefined) throw new Error(`the room has no event ${id}`);
  return event;
}
