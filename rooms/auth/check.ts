/**
 * The authorisation rules: https://spec.matrix.org/v1.19/rooms/v12/#authorisation-rules and the same section of
 * the other versions. Numbers in the comments are those of version 12; earlier ones lack rule 2, so that there
 * they are one lower.
 *
 * Two functions, since the rules are of two kinds: those on the event and what its `auth_events` are, checked
 * once, and those on a state of the room, checked against the state that the auth events make, the state before
 * the event, and the current state.
 */
import type { EventId } from '#keys/ids.ts';
import { serverNameOf } from '#keys/ids.ts';
import { type Event, stateMapKey } from '../event.ts';
import { createEventIdOf } from '../hashes.ts';
import { powerOf } from '../power.ts';
import { checkCreate } from './create.ts';
import { admitsServer } from './federate.ts';
import { checkAliases, checkRedaction } from './legacy.ts';
import { checkMember } from './member.ts';
import { checkOwnedState } from './owned-state.ts';
import { checkPowerLevels } from './power-levels.ts';
import { type Refusal, refuse } from './refusal.ts';
import { authEventKeys, isSameKey, type StateKey } from './select.ts';
import { type AuthState, membershipIn } from './state.ts';

export type { Refusal } from './refusal.ts';
export type { AuthState, StateMap } from './state.ts';

/** The events that an event may name, by id; `rejected` for one that was. */
export interface AuthEvents {
  get(eventId: EventId): Event | 'rejected' | undefined;
}

/**
 * The rules that do not depend on state: why to reject, or undefined.
 *
 * `authEvents` holds each event that the event names; `create` is the accepted create event of the room, needed where
 * the version does not name it in `auth_events` (version 12).
 */
export function checkStateIndependent(
  event: Event,
  authEvents: AuthEvents,
  create: Event | undefined,
): Refusal | undefined {
  // v12 1: If type is `m.room.create`.
  if (event.type === 'm.room.create') return checkCreate(event);
  // v12 2: If the event's `room_id` is not an event ID for an accepted (not rejected) `m.room.create` event, with
  // the sigil `!` instead of `$`, reject.
  if (event.rules.roomIdIsCreateHash) {
    const isOfRoom = create?.type === 'm.room.create' && create.eventId === createEventIdOf(event.roomId);
    if (!isOfRoom) return refuse('v12 2', 'The room id is not that of an accepted create event');
  }
  return checkAuthEvents(event, authEvents);
}

/**
 * The rules on a state of the room: why to reject, or undefined. The state must have the create event also
 * in versions where `auth_events` do not name it.
 */
export function checkStateDependent(event: Event, state: AuthState): Refusal | undefined {
  const { type, sender, rules } = event;
  if (type === 'm.room.create') return undefined;
  const create = state.get('m.room.create', '');
  if (create === undefined) return refuse(undefined, 'The room has no create event');
  // v12 4: If the `content` of the `m.room.create` event in the room state has the property `m.federate` set to
  // `false`, and the `sender` domain of the event does not match the `sender` domain of the create event, reject.
  if (!admitsServer(create, serverNameOf(sender))) return refuse('v10 3', 'The room is not federated');
  // v1-v5 4: If type is `m.room.aliases`.
  if (rules.aliasesRule && type === 'm.room.aliases') return checkAliases(event);
  // v12 5: If type is `m.room.member`.
  if (type === 'm.room.member') return checkMember(event, state);
  // v12 6: If the `sender`'s current membership state is not `join`, reject.
  if (membershipIn(state, sender) !== 'join') return refuse('v10 5', 'The sender is not in the room');
  return checkPower(event, state, create);
}

/** The state that these events make; of two with the same key the later one counts. Message events do not. */
export function authStateOf(events: Iterable<Event>): AuthState {
  const map = new Map<string, Event>();
  for (const event of events) {
    if (event.stateKey !== undefined) map.set(stateMapKey(event.type, event.stateKey), event);
  }
  return { get: (type, stateKey) => map.get(stateMapKey(type, stateKey)) };
}

/** v12 3: Considering the event's `auth_events`. */
function checkAuthEvents(event: Event, authEvents: AuthEvents): Refusal | undefined {
  const selected = authEventKeys(event, event.rules);
  const seen: StateKey[] = [];
  for (const id of event.authEvents) {
    const authEvent = authEvents.get(id);
    if (authEvent === undefined) return refuse(undefined, `The auth event ${id} is not known`);
    // v12 3.3: If there are entries which were themselves rejected, reject.
    if (authEvent === 'rejected') return refuse('v10 2.3', `The auth event ${id} was rejected`);
    // v12 3.4: If any event in `auth_events` has a `room_id` which does not match that of the event being
    // authorised, reject.
    if (authEvent.roomId !== event.roomId) {
      return refuse('v10 2.5', `The auth event ${id} is of another room`);
    }
    // v12 3.2: If there are entries whose `type` and `state_key` don't match those specified by the auth events
    // selection algorithm, reject.
    const { type, stateKey } = authEvent;
    if (stateKey === undefined) return refuse('v10 2.2', `The auth event ${id} is not a state event`);
    const key = selected.find((one) => isSameKey(one, { type, stateKey }));
    if (key === undefined) {
      return refuse('v10 2.2', `The auth event ${id} is not one that authorises this event`);
    }
    // v12 3.1: If there are duplicate entries for a given `type` and `state_key` pair, reject.
    if (seen.includes(key)) return refuse('v10 2.1', `The auth event ${id} is a duplicate`);
    seen.push(key);
  }
  // v10 2.4: If there is no `m.room.create` event among the entries, reject.
  if (event.rules.createInAuthEvents && !seen.some(({ type }) => type === 'm.room.create')) {
    return refuse('v10 2.4', 'The create event is not among the auth events');
  }
  return undefined;
}

/** v12 7 to 11: what a member of the room may send. */
function checkPower(event: Event, state: AuthState, create: Event): Refusal | undefined {
  const { type, sender, stateKey, rules } = event;
  const power = powerOf(create, state.get('m.room.power_levels', ''));
  const level = power.of(sender);
  // v12 7.1: Allow `m.room.third_party_invite` if and only if `sender`'s current power level is greater than or
  // equal to the *invite level*.
  if (type === 'm.room.third_party_invite') {
    return level >= power.invite ? undefined : refuse('v10 6.1', 'The sender may not invite');
  }
  // v12 8: If the event type's *required power level* is greater than the `sender`'s power level, reject.
  const required = power.required(type, stateKey === undefined ? 'message' : 'state');
  if (required > level) {
    return refuse('v10 7', `The power level of the sender is ${level}, and ${required} is needed`);
  }
  // v12 9: If the event has a `state_key` that starts with an `@` and does not match the `sender`, reject.
  const owned = rules.ownedState
    ? checkOwnedState(event, power)
    : stateKey?.startsWith('@') && stateKey !== sender
      ? refuse('v10 8', 'The state key is another user')
      : undefined;
  if (owned !== undefined) return owned;
  // v12 10: If type is `m.room.power_levels`.
  if (type === 'm.room.power_levels') return checkPowerLevels(event, state);
  // v1-v2 11: If type is `m.room.redaction`.
  if (rules.redactionRule && type === 'm.room.redaction') return checkRedaction(event, power);
  // v12 11: Otherwise, allow.
  return undefined;
}
