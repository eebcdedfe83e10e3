/** https://spec.matrix.org/v1.19/server-server-api/#auth-events-selection */
import { type JsonObject, objectAt, stringAt } from '#keys/json.ts';
import type { RoomVersionRules } from '../versions.ts';

export interface StateKey {
  readonly type: string;
  readonly stateKey: string;
}

/** What the selection depends on; an `Event` has it, and so has a draft of one. */
export interface Selectable {
  readonly type: string;
  readonly sender: string;
  readonly stateKey?: string | undefined;
  readonly content: JsonObject;
}

/**
 * The state that an event's `auth_events` name, as far as the room has it, without duplicates. Authorisation
 * depends on this state and, where the version does not name it, on the create event.
 */
export function authEventKeys(event: Selectable, rules: RoomVersionRules): StateKey[] {
  // "The auth_events for the m.room.create event in a room is empty"
  if (event.type === 'm.room.create') return [];
  const keys: StateKey[] = [];
  // "Depending on the room version, the m.room.create event."
  if (rules.createInAuthEvents) keys.push({ type: 'm.room.create', stateKey: '' });
  // "The current m.room.power_levels event, if any."
  keys.push({ type: 'm.room.power_levels', stateKey: '' });
  // "The sender's current m.room.member event, if any."
  keys.push({ type: 'm.room.member', stateKey: event.sender });
  if (event.type === 'm.room.member') keys.push(...memberKeys(event, rules));
  // Few: to compare them costs less than to make a text of each.
  return keys.filter((key, index) => keys.findIndex((other) => isSameKey(key, other)) === index);
}

/** True where both name the same piece of state. */
export function isSameKey(a: StateKey, b: StateKey): boolean {
  return a.type === b.type && a.stateKey === b.stateKey;
}

function memberKeys(event: Selectable, rules: RoomVersionRules): StateKey[] {
  const keys: StateKey[] = [];
  const membership = stringAt(event.content, 'membership');
  // "The target's current m.room.member event, if any."
  if (event.stateKey !== undefined) keys.push({ type: 'm.room.member', stateKey: event.stateKey });
  // "If membership is join, invite or knock, the current m.room.join_rules event, if any."
  if (membership === 'join' || membership === 'invite' || membership === 'knock') {
    keys.push({ type: 'm.room.join_rules', stateKey: '' });
  }
  // "If membership is invite and content contains a third_party_invite property, the current
  // m.room.third_party_invite event with state_key matching content.third_party_invite.signed.token, if any."
  const token = membership === 'invite' ? thirdPartyToken(event.content) : undefined;
  if (token !== undefined) keys.push({ type: 'm.room.third_party_invite', stateKey: token });
  // "If membership is join, content.join_authorised_via_users_server is present, and the room version supports
  // restricted rooms, then the m.room.member event with state_key matching it."
  const authoriser = stringAt(event.content, 'join_authorised_via_users_server');
  if (membership === 'join' && authoriser !== undefined && rules.restrictedJoins) {
    keys.push({ type: 'm.room.member', stateKey: authoriser });
  }
  return keys;
}

function thirdPartyToken(content: JsonObject): string | undefined {
  const signed = objectAt(objectAt(content, 'third_party_invite') ?? {}, 'signed');
  return signed === undefined ? undefined : stringAt(signed, 'token');
}
