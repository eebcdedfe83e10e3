import { encodeCanonical } from '#keys/canonical-json.ts';
import { type EventId, isEventId, type RoomId, type UserId } from '#keys/ids.ts';
import { integerAt, type Json, type JsonObject, objectAt, own, stringAt } from '#keys/json.ts';
import { stateKeyOf, stateKeyText } from '#storage/state-key-text.ts';
import { depthOf } from './depth.ts';
import { eventIdOf, roomIdOfCreate } from './hashes.ts';
import type { RoomVersionRules } from './versions.ts';

/** A room event whose format has been checked. Frozen. */
export interface Event {
  readonly eventId: EventId;
  readonly roomId: RoomId;
  readonly rules: RoomVersionRules;
  readonly type: string;
  readonly sender: UserId;
  /** Undefined for a message event; state events have one, if only ''. */
  readonly stateKey: string | undefined;
  readonly content: JsonObject;
  /** At most `MAX_EVENT_DEPTH`, whatever the PDU says. */
  readonly depth: number;
  readonly originServerTs: number;
  readonly prevEvents: readonly EventId[];
  readonly authEvents: readonly EventId[];
  /** What an `m.room.redaction` redacts: from `content` or the top level; undefined where that is no event id. */
  readonly redacts: EventId | undefined;
  /** The PDU as it federates, without `unsigned`. */
  readonly pdu: JsonObject;
  /** Its canonical JSON, with hashes and signatures. */
  readonly json: string;
}

/**
 * The event of a PDU. The PDU's format must have been checked (`checkFormat`): a field of a wrong type throws,
 * for it is a bug of the caller.
 *
 * `known` spares the computing of what the caller has: the event id, and the canonical JSON of the PDU without
 * `unsigned`.
 */
export function eventFrom(
  pdu: JsonObject,
  rules: RoomVersionRules,
  known: { eventId?: EventId; json?: string } = {},
): Event {
  const bare = withoutUnsigned(pdu);
  const eventId = known.eventId ?? eventIdOf(bare, rules);
  const type = present(stringAt(bare, 'type'), 'type');
  const content = present(objectAt(bare, 'content'), 'content');
  return Object.freeze({
    eventId,
    roomId: roomIdOf(bare, rules, eventId),
    rules,
    type,
    sender: present(stringAt(bare, 'sender'), 'sender') as UserId,
    stateKey: stringAt(bare, 'state_key'),
    content,
    depth: present(depthOf(bare, rules), 'depth'),
    originServerTs: present(integerAt(bare, 'origin_server_ts'), 'origin_server_ts'),
    prevEvents: referencesOf(own(bare, 'prev_events')),
    authEvents: referencesOf(own(bare, 'auth_events')),
    redacts: redactsOf(bare, content, type, rules),
    pdu: bare,
    json: known.json ?? encodeCanonical(bare),
  });
}

/** The key of an event in a state map. */
export function stateMapKey(type: string, stateKey: string): string {
  return stateKeyText(type, stateKey);
}

/** The reverse of `stateMapKey`. */
export function splitStateMapKey(key: string): { type: string; stateKey: string } {
  return stateKeyOf(key);
}

/** `content.membership`, where it is a string. */
export function membershipOf(event: Event): string | undefined {
  return stringAt(event.content, 'membership');
}

/** The event ids in a `prev_events` or `auth_events` list of either form. */
export function referencesOf(list: Json | undefined): readonly EventId[] {
  if (!Array.isArray(list)) throw new TypeError('Not a list of event references');
  return Object.freeze(list.map((item: Json) => (Array.isArray(item) ? item[0] : item) as EventId));
}

function roomIdOf(pdu: JsonObject, rules: RoomVersionRules, eventId: EventId): RoomId {
  const claimed = stringAt(pdu, 'room_id');
  // "The room ID is the event ID of the event with sigil ! instead of $."
  const isHash =
    claimed === undefined && rules.roomIdIsCreateHash && stringAt(pdu, 'type') === 'm.room.create';
  return isHash ? roomIdOfCreate(eventId) : (present(claimed, 'room_id') as RoomId);
}

function redactsOf(
  pdu: JsonObject,
  content: JsonObject,
  type: string,
  rules: RoomVersionRules,
): EventId | undefined {
  if (type !== 'm.room.redaction') return undefined;
  const redacts = own(rules.redactsInContent ? content : pdu, 'redacts');
  return isEventId(redacts) ? redacts : undefined;
}

/** The PDU without what each server says beside it. */
export function withoutUnsigned(pdu: JsonObject): JsonObject {
  if (!Object.hasOwn(pdu, 'unsigned')) return pdu;
  const { unsigned: _, ...bare } = pdu;
  return bare;
}

function present<T>(value: T | undefined, key: string): T {
  if (value === undefined) throw new TypeError(`An event of a checked format lacks ${key}`);
  return value;
}
