/** An event as the plain implementation reads it, and states of a room. */
import { isObject, type Json, type JsonObject } from '#keys/json.ts';
import { plainEventId } from './plain-json.ts';

export interface PlainEvent {
  readonly version: number;
  readonly id: string;
  readonly roomId: string;
  readonly type: string;
  readonly sender: string;
  /** Undefined for a message event. */
  readonly stateKey: string | undefined;
  readonly content: JsonObject;
  readonly depth: number;
  readonly ts: number;
  readonly prevEvents: readonly string[];
  readonly authEvents: readonly string[];
  readonly pdu: JsonObject;
}

/** The state of a room: an event for each `(event_type, state_key)`, under `keyOf`. */
export type PlainState = ReadonlyMap<string, PlainEvent>;

/** The event of a PDU of a room version, 1 to 12. */
export function plainEvent(version: number, pdu: JsonObject): PlainEvent {
  const id = plainEventId(version, pdu);
  // v12: "The room ID is the event ID of the event with sigil `!` instead of `$`."
  const roomId = typeof pdu.room_id === 'string' ? pdu.room_id : `!${id.slice(1)}`;
  return {
    version,
    id,
    roomId,
    type: String(pdu.type),
    sender: String(pdu.sender),
    stateKey: typeof pdu.state_key === 'string' ? pdu.state_key : undefined,
    content: isObject(pdu.content) ? pdu.content : {},
    depth: Number(pdu.depth),
    ts: Number(pdu.origin_server_ts),
    prevEvents: references(pdu.prev_events),
    authEvents: references(pdu.auth_events),
    pdu,
  };
}

/** "`(event_type, state_key)`" */
export function keyOf(type: string, stateKey: string): string {
  return JSON.stringify([type, stateKey]);
}

/** The events as a state. */
export function stateOf(events: Iterable<PlainEvent>): Map<string, PlainEvent> {
  const state = new Map<string, PlainEvent>();
  for (const event of events) {
    if (event.stateKey !== undefined) state.set(keyOf(event.type, event.stateKey), event);
  }
  return state;
}

/** The user's membership in a state; undefined where the state has none. */
export function membershipIn(state: PlainState, userId: string): Json | undefined {
  return state.get(keyOf('m.room.member', userId))?.content.membership;
}

/** The domain of a user id, room id, alias or event id: all after its first colon. */
export function domainOf(id: string): string | undefined {
  const colon = id.indexOf(':');
  return colon === -1 ? undefined : id.slice(colon + 1);
}

/** The value that an object itself has under a key. */
export function valueAt(object: Json | undefined, key: string): Json | undefined {
  return isObject(object) && Object.hasOwn(object, key) ? object[key] : undefined;
}

/** v1, v2: a list of "Event IDs and reference hashes"; v3: "plain lists of event IDs". */
function references(list: Json | undefined): string[] {
  if (!Array.isArray(list)) return [];
  return list.map((item: Json) => String(Array.isArray(item) ? item[0] : item));
}
