/** A random room as `rooms/` sees it, for comparing. */
import type { EventId } from '#keys/ids.ts';
import type { JsonObject } from '#keys/json.ts';
import { authStateOf, checkStateDependent, checkStateIndependent } from '#rooms/auth/check.ts';
import { type Event, eventFrom, stateMapKey } from '#rooms/event.ts';
import type { AuthGraph, StateIds } from '#rooms/state-res/resolve.ts';
import { type RoomVersionRules, rulesOf } from '#rooms/versions.ts';
import type { PlainState } from './plain-event.ts';
import type { RandomRoom } from './random-room.ts';

export interface Ours extends AuthGraph {
  readonly rules: RoomVersionRules;
  readonly events: Map<EventId, Event>;
}

export function rulesFor(version: number): RoomVersionRules {
  const rules = rulesOf(String(version));
  if (rules === undefined) throw new Error(`there is no room version ${version}`);
  return rules;
}

/** The events of a random room, with the plain implementation's word for which of them were rejected. */
export function oursOf({ version, others, pdus, plain }: RandomRoom): Ours {
  return {
    ...oursOfEvents(version, [...others, ...pdus]),
    isRejected: (eventId) => plain.isRejected(eventId),
  };
}

/** Some events, none of them rejected. */
export function oursOfEvents(version: number, pdus: readonly JsonObject[]): Ours {
  const rules = rulesFor(version);
  const events = new Map(pdus.map((pdu) => eventFrom(pdu, rules)).map((event) => [event.eventId, event]));
  return { rules, events, event: (eventId) => events.get(eventId) };
}

/** A state with our keys, and the ids of its events. */
export function idsOf(state: PlainState): Map<string, EventId> {
  return new Map(
    [...state.values()].map(({ type, stateKey, id }) => [stateMapKey(type, stateKey ?? ''), id as EventId]),
  );
}

/** The states at the ends of a room's lines. */
export function statesOf({ lines, plain }: RandomRoom): Map<string, EventId>[] {
  return lines.map((heads) => idsOf(plain.resolve(heads) ?? new Map()));
}

/** In an order that does not depend on how it was made. */
export function sorted(state: StateIds): [string, EventId][] {
  return [...state].sort(([a], [b]) => (a < b ? -1 : 1));
}

/** Our reason to refuse an event by its auth events: check 4. */
export function refusalByAuthEvents(ours: Ours, event: Event): string | undefined {
  const cited = event.authEvents.map((id): [EventId, Event | 'rejected'] => {
    const found = ours.isRejected?.(id) ? 'rejected' : ours.event(id);
    if (found === undefined) throw new Error('the auth events must be known');
    return [id, found];
  });
  const createId = `$${event.roomId.slice(1)}` as const;
  const create =
    ours.rules.roomIdIsCreateHash && !ours.isRejected?.(createId) ? ours.event(createId) : undefined;
  const found = cited.flatMap(([, event]) => (event === 'rejected' ? [] : [event]));
  const refusal =
    checkStateIndependent(event, new Map(cited), create) ??
    checkStateDependent(event, authStateOf(create === undefined ? found : [create, ...found]));
  return refusal?.reason;
}

/** Our reason to refuse an event in a state. */
export function refusalIn(ours: Ours, event: Event, state: PlainState): string | undefined {
  const events = [...idsOf(state).values()]
    .map((id) => ours.event(id))
    .filter((found) => found !== undefined);
  return checkStateDependent(event, authStateOf(events))?.reason;
}
