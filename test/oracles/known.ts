/**
 * The disagreements that are known, each with a fixture of the same name in `disagreements/`, which holds the sentence
 * that decides. A predicate says which differences are of that kind: as narrow as it can be, so that no other
 * difference hides behind it.
 */
import { isUserId, serverNameOf } from '#keys/ids.ts';
import { isObject, type Json, type JsonObject, own } from '#keys/json.ts';
import type { Event } from '#rooms/event.ts';
import { levelOf, levelsOf } from '#rooms/power.ts';
import type { RoomVersionRules } from '#rooms/versions.ts';
import type { Difference } from './compare.ts';
import type { OracleName } from './oracle.ts';
import type { OurRoom } from './ours.ts';

type VerdictDifference = Difference & { readonly what: 'verdict' };

export interface Known {
  /** The name of its fixture. */
  readonly name: string;
  readonly oracles: readonly OracleName[];
  /** What is computed of an event, or whether it can be read at all. */
  readonly ofFact?: (event: Event, fact: string) => boolean;
  readonly ofVerdict?: (difference: VerdictDifference) => boolean;
  /** Whether a room holds what lets the oracle judge otherwise, so that its resolution may end otherwise. */
  readonly ofRoom?: (room: OurRoom) => boolean;
}

const BOTH = ['ruma', 'synapse'] as const;

export const KNOWN: readonly Known[] = [
  {
    name: 'level-with-a-fraction',
    oracles: ['ruma'],
    ofFact: (event) => hasFraction(event.pdu),
    ofVerdict: (difference) => levelsIn(difference).some(hasFraction),
    ofRoom: (room) => someEvent(room, ({ content }) => hasFraction(content)),
  },
  {
    name: 'level-that-is-no-number',
    oracles: BOTH,
    ofVerdict: (difference) =>
      levelsIn(difference).some((levels) => hasOddLevel(levels, difference.event.rules)),
    ofRoom: (room) =>
      someEvent(
        room,
        ({ type, content }) => type === 'm.room.power_levels' && hasOddLevel(content, room.rules),
      ),
  },
  {
    name: 'room-without-a-join-rule',
    oracles: ['ruma'],
    ofVerdict: ({ event, state, ours }) =>
      ours === 'allowed' &&
      event.type === 'm.room.member' &&
      typeof own(state.get('m.room.join_rules', '')?.content ?? {}, 'join_rule') !== 'string',
    ofRoom: ({ states, events }) =>
      states.some((state) => state.get('m.room.join_rules', '') === undefined) ||
      [...events.values()].some(
        ({ type, content }) => type === 'm.room.join_rules' && typeof own(content, 'join_rule') !== 'string',
      ) ||
      // Version 2.1 begins with an empty state: what an event does not name is not there, if the states agree on it.
      [...events.values()].some((event) => event.type === 'm.room.member' && !namesJoinRules(event, events)),
  },
  createRefused('create-of-an-unknown-version', ['ruma'], 'The room version is not a recognised one'),
  createRefused('create-of-another-version', BOTH, 'The event was read as of another room version'),
  createRefused('create-with-auth-events', BOTH, 'A create event has no auth_events'),
  createRefused('create-with-a-state-key', BOTH, 'The state key of a create event is empty'),
  {
    name: 'creator-that-is-no-user',
    oracles: ['ruma'],
    ofVerdict: ({ event, ours }) =>
      event.type === 'm.room.create' && ours === 'allowed' && !isUserId(own(event.content, 'creator')),
  },
  {
    name: 'redaction-of-an-odd-third-party-invite',
    oracles: ['ruma'],
    ofFact: ({ type, content, rules }, fact) =>
      type === 'm.room.member' &&
      rules.redactsInContent &&
      Object.hasOwn(content, 'third_party_invite') &&
      !isObject(content.third_party_invite) &&
      ['redacted', 'reference_hash', 'event_id'].includes(fact),
  },
  {
    name: 'keys-of-an-odd-third-party-invite',
    // Of keys that are no keys, Ruma takes none of the others; Synapse fails where it looks for them.
    oracles: BOTH,
    ofVerdict: ({ event, state, ours }) => {
      const token = invitedBy(event.content);
      const invite = token === undefined ? undefined : state.get('m.room.third_party_invite', token);
      return ours === 'allowed' && invite !== undefined && hasOddKeys(invite.content);
    },
    ofRoom: (room) =>
      someEvent(room, ({ type, content }) => type === 'm.room.third_party_invite' && hasOddKeys(content)),
  },
  {
    name: 'third-party-invite-that-is-null',
    oracles: ['ruma'],
    ofVerdict: ({ event, ours }) =>
      event.content.third_party_invite === null && ours === 'The third-party invite is not signed',
  },
  {
    name: 'authoriser-that-is-no-user',
    oracles: BOTH,
    ofVerdict: ({ ours }) => ours === 'join_authorised_via_users_server is not a user id',
  },
  {
    name: 'member-that-is-no-user',
    oracles: BOTH,
    ofVerdict: ({ event, ours }) =>
      event.type === 'm.room.member' && ours === 'allowed' && !isUserId(event.stateKey),
  },
  {
    name: 'federation-that-is-no-boolean',
    oracles: BOTH,
    ofVerdict: ({ state, ours }) => {
      const federate = state.get('m.room.create', '')?.content['m.federate'] ?? true;
      return ours === 'allowed' && typeof federate !== 'boolean';
    },
  },
  {
    name: 'guest-of-an-unfederated-room',
    oracles: ['synapse'],
    ofVerdict: ({ event, state, ours }) => {
      const create = state.get('m.room.create', '');
      return (
        event.type === 'm.room.member' &&
        ours === 'allowed' &&
        create?.content['m.federate'] === false &&
        serverNameOf(event.stateKey ?? '') !== serverNameOf(create.sender)
      );
    },
    ofRoom: ({ events }) => [...events.values()][0]?.content['m.federate'] === false,
  },
  {
    name: 'power-levels-with-a-state-key',
    oracles: ['synapse'],
    ofVerdict: ({ event }) => event.type === 'm.room.power_levels' && event.stateKey !== '',
  },
  {
    name: 'user-of-an-odd-server',
    oracles: ['synapse'],
    ofVerdict: ({ event, ours, theirs }) =>
      event.type === 'm.room.power_levels' &&
      ours === 'users has a key that is not a user id' &&
      theirs === 'allowed',
  },
  {
    name: 'content-hash-over-all-keys',
    oracles: ['synapse'],
    ofFact: ({ pdu }, fact) =>
      fact === 'content_hash' && ['age_ts', 'outlier', 'destinations'].some((key) => Object.hasOwn(pdu, key)),
  },
];

/** The known disagreement that a difference is a case of. */
export function knownOf(difference: Difference, room: OurRoom): Known | undefined {
  return KNOWN.find((known) => known.oracles.includes(difference.oracle) && isCase(known, difference, room));
}

function isCase(known: Known, difference: Difference, room: OurRoom): boolean {
  switch (difference.what) {
    case 'facts':
      return known.ofFact?.(difference.event, difference.fact) === true;
    case 'verdict':
      return known.ofVerdict?.(difference) === true;
    case 'resolved':
      return known.ofRoom?.(room) === true;
    case 'failure':
      return false;
  }
}

function createRefused(name: string, oracles: readonly OracleName[], reason: string): Known {
  return { name, oracles, ofVerdict: ({ event, ours }) => event.type === 'm.room.create' && ours === reason };
}

function someEvent({ events }: OurRoom, is: (event: Event) => boolean): boolean {
  return [...events.values()].some(is);
}

/** The power levels by which an event was judged, and those that it sets itself. */
function levelsIn({ event, state }: VerdictDifference): JsonObject[] {
  const before = state.get('m.room.power_levels', '')?.content;
  const own = event.type === 'm.room.power_levels' ? [event.content] : [];
  return before === undefined ? own : [before, ...own];
}

/** Before version 10 nothing says what a level is that is no number; there is a rule for `users` alone. */
function hasOddLevel(content: JsonObject, rules: RoomVersionRules): boolean {
  if (rules.powerLevels === 'integers') return false;
  return Object.entries(content).some(([key, value]) => {
    if (['events', 'notifications', 'users'].includes(key)) return levelsOf(value, rules) === undefined;
    return /^(ban|kick|redact|invite|\w+_default)$/.test(key) && levelOf(value, rules) === undefined;
  });
}

function hasFraction(value: Json): boolean {
  if (typeof value === 'number') return !Number.isInteger(value);
  return typeof value === 'object' && value !== null && Object.values(value).some(hasFraction);
}

function invitedBy(content: JsonObject): string | undefined {
  const { third_party_invite: invite } = content;
  const signed = isObject(invite) ? own(invite, 'signed') : undefined;
  const token = isObject(signed) ? own(signed, 'token') : undefined;
  return typeof token === 'string' ? token : undefined;
}

function hasOddKeys(content: JsonObject): boolean {
  const { public_key: key, public_keys: keys = [] } = content;
  if (key !== undefined && typeof key !== 'string') return true;
  return (
    !Array.isArray(keys) || !keys.every((item: Json) => isObject(item) && typeof item.public_key === 'string')
  );
}

function namesJoinRules(event: Event, events: OurRoom['events']): boolean {
  return event.authEvents.some((eventId) => events.get(eventId)?.type === 'm.room.join_rules');
}
