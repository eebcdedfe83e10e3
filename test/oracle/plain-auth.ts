/**
 * The authorisation rules, plainly: the section "Authorisation rules" of each room version, in the order of its text.
 * Numbers are those of version 12; the earlier versions have the same sentences under other numbers, and fewer.
 */
import { isUserId } from '#keys/ids.ts';
import { isStringArray } from '#keys/json.ts';
import { refusalOfMember } from './plain-auth-member.ts';
import { refusalOfPowerLevels } from './plain-auth-power-levels.ts';
import { domainOf, keyOf, membershipIn, type PlainEvent, type PlainState, valueAt } from './plain-event.ts';
import { levelIn, requiredLevelIn, userLevelIn } from './plain-power.ts';

/** Room versions that are "recognised". */
export const PLAIN_VERSIONS = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12] as const;

/** What a server knows of the events that another one cites. */
export interface PlainKnowledge {
  event(id: string): PlainEvent | undefined;
  isRejected(id: string): boolean;
}

/** Public keys of servers, in base64. */
export type PlainKeys = (server: string) => string;

/** The sentence by which an event is rejected whatever the state of its room: rules 1, 2 and 3. Undefined: none. */
export function refusalByItself(event: PlainEvent, known: PlainKnowledge): string | undefined {
  if (event.type === 'm.room.create') return refusalOfCreate(event);
  // 2. v12: "If the event's `room_id` is not an event ID for an accepted (not rejected) `m.room.create` event, with the
  // sigil `!` instead of `$`, reject."
  if (event.version >= 12) {
    const id = `$${event.roomId.slice(1)}`;
    const create = known.event(id);
    if (create?.type !== 'm.room.create' || known.isRejected(id))
      return "the event's room_id is not an event ID for an accepted m.room.create event";
  }
  // 3. "Considering the event's `auth_events`:"
  const entries = event.authEvents.map((id) => known.event(id));
  const cited = entries.filter((entry) => entry !== undefined);
  if (cited.length < entries.length) throw new Error('the auth events must be known');
  // 3.1 "If there are duplicate entries for a given `type` and `state_key` pair, reject."
  const pairs = cited.map(({ type, stateKey }) => JSON.stringify([type, stateKey]));
  if (new Set(pairs).size < pairs.length) return 'there are duplicate entries';
  // 3.2 "If there are entries whose `type` and `state_key` don't match those specified by the auth events selection
  // algorithm described in the server specification, reject."
  const specified = authSelection(event);
  for (const { type, stateKey } of cited) {
    if (stateKey === undefined || !specified.includes(keyOf(type, stateKey)))
      return "there are entries whose type and state_key don't match those specified";
  }
  // 3.3 "If there are entries which were themselves rejected under the checks performed on receipt of a PDU, reject."
  if (cited.some(({ id }) => known.isRejected(id))) return 'there are entries which were themselves rejected';
  // v1 to v11, 2.4: "If there is no `m.room.create` event among the entries, reject."
  if (event.version <= 11 && !cited.some(({ type }) => type === 'm.room.create'))
    return 'there is no m.room.create event among the entries';
  // 3.5 "If any event in `auth_events` has a `room_id` which does not match that of the event being authorised, reject."
  if (cited.some(({ roomId }) => roomId !== event.roomId)) return 'an auth event has another room_id';
  return undefined;
}

/** 1. "If type is `m.room.create`:" */
function refusalOfCreate(event: PlainEvent): string | undefined {
  // 1.1 "If it has any `prev_events`, reject."
  if (event.prevEvents.length > 0) return 'it has prev_events';
  if (event.version <= 11) {
    // v1 to v11, 1.2: "If the domain of the `room_id` does not match the domain of the `sender`, reject."
    if (domainOf(event.roomId) !== domainOf(event.sender))
      return 'the domain of the room_id does not match the domain of the sender';
  } else if (Object.hasOwn(event.pdu, 'room_id')) {
    // v12, 1.2: "If the event has a `room_id`, reject."
    return 'the event has a room_id';
  }
  // 1.3 "If `content.room_version` is present and is not a recognised version, reject."
  const said = valueAt(event.content, 'room_version');
  if (said !== undefined && !PLAIN_VERSIONS.some((version) => String(version) === said))
    return 'content.room_version is not a recognised version';
  // v1 to v10, 1.4: "If `content` has no `creator` property, reject."
  if (event.version <= 10 && !Object.hasOwn(event.content, 'creator'))
    return 'content has no creator property';
  // v12, 1.4: "If `additional_creators` is present in `content` and is not an array of strings where each string passes
  // the same user ID validation applied to `sender`, reject."
  const more = valueAt(event.content, 'additional_creators');
  if (event.version >= 12 && more !== undefined && !(isStringArray(more) && more.every(isUserId)))
    return 'additional_creators is not an array of user ids';
  // 1.5 "Otherwise, allow."
  return undefined;
}

/**
 * "The `auth_events` field of a PDU identifies the set of events which give the sender permission to send the event.
 * The `auth_events` for the `m.room.create` event in a room is empty; for other events, it should be the following
 * subset of the room state" - its keys.
 */
export function authSelection(
  event: Pick<PlainEvent, 'version' | 'type' | 'sender' | 'stateKey' | 'content'>,
): string[] {
  const { version, type, sender, stateKey, content } = event;
  if (type === 'm.room.create') return [];
  const keys = new Set<string>();
  // "Depending on the room version, the `m.room.create` event." v12: "MUST NOT be selected".
  if (version <= 11) keys.add(keyOf('m.room.create', ''));
  // "The current `m.room.power_levels` event, if any."
  keys.add(keyOf('m.room.power_levels', ''));
  // "The sender's current `m.room.member` event, if any."
  keys.add(keyOf('m.room.member', sender));
  // "If type is `m.room.member`:"
  if (type === 'm.room.member') {
    // "The target's current `m.room.member` event, if any."
    if (stateKey !== undefined) keys.add(keyOf('m.room.member', stateKey));
    // "If `membership` is `join`, `invite` or `knock`, the current `m.room.join_rules` event, if any."
    const { membership } = content;
    if (membership === 'join' || membership === 'invite' || membership === 'knock')
      keys.add(keyOf('m.room.join_rules', ''));
    // "If membership is `invite` and `content` contains a `third_party_invite` property, the current
    // `m.room.third_party_invite` event with `state_key` matching `content.third_party_invite.signed.token`, if any."
    const token = valueAt(valueAt(valueAt(content, 'third_party_invite'), 'signed'), 'token');
    if (membership === 'invite' && typeof token === 'string')
      keys.add(keyOf('m.room.third_party_invite', token));
    // "If `membership` is `join`, `content.join_authorised_via_users_server` is present, and the room version supports
    // restricted rooms, then the `m.room.member` event with `state_key` matching" it.
    const authoriser = valueAt(content, 'join_authorised_via_users_server');
    if (membership === 'join' && version >= 8 && typeof authoriser === 'string')
      keys.add(keyOf('m.room.member', authoriser));
  }
  return [...keys];
}

/** The sentence by which an event is rejected in a state of its room: the rules from 4 on. Undefined: none. */
export function refusalByState(event: PlainEvent, state: PlainState, keys: PlainKeys): string | undefined {
  // 1.5 "Otherwise, allow."
  if (event.type === 'm.room.create') return undefined;
  const create = state.get(keyOf('m.room.create', ''));
  // Rules 2 and 2.4 have seen to it.
  if (create === undefined) return 'there is no m.room.create event';
  // 4. "If the `content` of the `m.room.create` event in the room state has the property `m.federate` set to `false`,
  // and the `sender` domain of the event does not match the `sender` domain of the create event, reject."
  if (valueAt(create.content, 'm.federate') === false && domainOf(event.sender) !== domainOf(create.sender))
    return 'the room does not federate';
  // v1 to v5, 4: "If type is `m.room.aliases`:"
  if (event.version <= 5 && event.type === 'm.room.aliases') {
    // 4.1 "If event has no `state_key`, reject."
    if (event.stateKey === undefined) return 'm.room.aliases has no state_key';
    // 4.2 "If sender's domain doesn't match `state_key`, reject." 4.3 "Otherwise, allow."
    return domainOf(event.sender) === event.stateKey
      ? undefined
      : "the sender's domain doesn't match state_key";
  }
  // 5. "If type is `m.room.member`:"
  if (event.type === 'm.room.member') return refusalOfMember(event, { state, create, keys });
  // 6. "If the `sender`'s current membership state is not `join`, reject."
  if (membershipIn(state, event.sender) !== 'join') return "the sender's membership state is not join";
  const power = userLevelIn(state, event.sender, create);
  // 7. "If type is `m.room.third_party_invite`: Allow if and only if `sender`'s current power level is greater than or
  // equal to the invite level."
  if (event.type === 'm.room.third_party_invite')
    return power >= levelIn(state, 'invite') ? undefined : 'the power level is less than the invite level';
  // 8. "If the event type's required power level is greater than the `sender`'s power level, reject."
  if (requiredLevelIn(state, event) > power)
    return 'the required power level is greater than that of the sender';
  // 9. "If the event has a `state_key` that starts with an `@` and does not match the `sender`, reject."
  if (event.stateKey?.startsWith('@') === true && event.stateKey !== event.sender)
    return 'the state_key starts with an @ and does not match the sender';
  // 10. "If type is `m.room.power_levels`:"
  if (event.type === 'm.room.power_levels') return refusalOfPowerLevels(event, state, create);
  // v1, v2, 11: "If type is `m.room.redaction`:"
  if (event.version <= 2 && event.type === 'm.room.redaction') {
    // 11.1 "If the `sender`'s power level is greater than or equal to the redact level, allow."
    if (power >= levelIn(state, 'redact')) return undefined;
    // 11.2 "If the domain of the `event_id` of the event being redacted is the same as the domain of the `event_id` of
    // the `m.room.redaction`, allow." 11.3 "Otherwise, reject."
    const redacted = domainOf(String(event.pdu.redacts));
    return redacted !== undefined && redacted === domainOf(event.id) ? undefined : 'it may not be redacted';
  }
  // 11. "Otherwise, allow."
  return undefined;
}
