/** Event graphs for the tests of state resolution: unsigned events with readable ids. */

import type { EventId, RoomId, UserId } from '#keys/ids.ts';
import type { JsonObject } from '#keys/json.ts';
import { authStateOf, checkStateDependent } from '#rooms/auth/check.ts';
import { type Event, eventFrom, stateMapKey } from '#rooms/event.ts';
import type { StateIds } from '#rooms/state-res/conflicts.ts';
import { type AuthGraph, resolve } from '#rooms/state-res/resolve.ts';
import { type RoomVersionRules, rulesOf } from '#rooms/versions.ts';

/** A state event of a graph; its id without the sigil. */
export interface GraphEvent {
  readonly id: string;
  readonly type: string;
  readonly state_key: string;
  readonly sender: UserId;
  readonly content: JsonObject;
  readonly auth: readonly string[];
  readonly ts: number;
  /** Looked at in room version 1 only. */
  readonly depth?: number;
}

/** An event that gets its place in the graph later. */
export type Draft = Omit<GraphEvent, 'id' | 'auth' | 'ts' | 'depth'>;

export const CREATE = stateMapKey('m.room.create', '');

export function idOf(name: string): EventId {
  return `$${name}`;
}

export function rulesFor(version: string): RoomVersionRules {
  const rules = rulesOf(version);
  if (rules === undefined) throw new Error(`room version ${version} is not known`);
  return rules;
}

/** Some events by id, as state resolution reads them. */
export class EventGraph implements AuthGraph {
  readonly rules: RoomVersionRules;
  readonly events = new Map<EventId, Event>();
  readonly rejected = new Set<EventId>();

  /** The name of the create event, after which the room is named. */
  readonly #create: string;

  constructor(version: string, create = 'create') {
    this.rules = rulesFor(version);
    this.#create = create;
  }

  event(eventId: EventId): Event | undefined {
    return this.events.get(eventId);
  }

  isRejected(eventId: EventId): boolean {
    return this.rejected.has(eventId);
  }

  /** Adds an event; where the version implies the create event, its auth events do not name it. */
  add({ id, type, state_key, sender, content, auth, ts, depth = 1 }: GraphEvent): Event {
    const isCreate = type === 'm.room.create';
    const roomId: RoomId = `!${this.#create}`;
    const named = this.rules.createInAuthEvents ? auth : auth.filter((name) => name !== this.#create);
    const pdu = {
      type,
      state_key,
      sender,
      content: this.#contentFor(type, sender, content),
      depth,
      origin_server_ts: ts,
      prev_events: isCreate
        ? []
        : [auth.every((name) => name === this.#create) ? idOf(this.#create) : '$before'],
      auth_events: named.map(idOf),
      ...(isCreate && this.rules.roomIdIsCreateHash ? {} : { room_id: roomId }),
    };
    const event = eventFrom(pdu, this.rules, { eventId: idOf(id), json: '' });
    this.events.set(event.eventId, event);
    return event;
  }

  stateOf(names: readonly string[]): Map<string, EventId> {
    const state = new Map<string, EventId>();
    for (const name of names) {
      const event = this.events.get(idOf(name));
      if (event?.stateKey === undefined) throw new Error(`the graph has no state event ${name}`);
      state.set(stateMapKey(event.type, event.stateKey), event.eventId);
    }
    return state;
  }

  /** The reason why an event is not allowed by a state. */
  refusal(event: Event, state: StateIds): string | undefined {
    const events = [...state.values()]
      .map((id) => this.events.get(id))
      .filter((found) => found !== undefined);
    return checkStateDependent(event, authStateOf(events))?.reason;
  }

  resolve(states: readonly StateIds[]): StateIds {
    return resolve(this.rules, states, this);
  }

  /** Versions differ in where the creator stands: in the create event, in the power levels, or nowhere. */
  #contentFor(type: string, sender: UserId, content: JsonObject): JsonObject {
    if (type === 'm.room.create' && this.rules.creatorInContent) return { ...content, creator: sender };
    const { users } = content;
    if (type !== 'm.room.power_levels' || !this.rules.privilegedCreators || typeof users !== 'object')
      return content;
    const others = Object.entries(users ?? {}).filter(([userId]) => userId !== CREATOR);
    return { ...content, users: Object.fromEntries(others) };
  }
}

export const CREATOR: UserId = '@creator:a.example';
