/**
 * The disagreements that are known, each with a fixture of the same name in `disagreements/`, which holds the sentence
 * that decides. A predicate says which differences are of that kind: as narrow as it can be, so that no other
 * difference hides behind it.
 */
import { isUserId, serverNameOf } from '#keys/ids.ts';
import { isObject, type Json, type JsonObject, own } from '#keys/json.ts';
import type { Event } from '#rooms/event.ts';
import { DEFAULT_LEVELS, levelOf, levelsOf, powerOf } from '#rooms/power.ts';
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
    name: 'level-that-is-not-given',
    oracles: ['synapse'],
    ofVerdict: ({ event, state, theirs }) => {
      const before = state.get('m.room.power_levels', '');
      return theirs === 'allowed' && before !== undefined && givesLowLevel(before, event);
    },
    ofRoom: (room) => someEvent(room, (event) => someEvent(room, (before) => givesLowLevel(before, event))),
  },
  {
    name: 'room-without-a-join-rule',
    oracles: ['ruma'],
    ofVerdict: ({ event, state, ours }) =>
      ours === 'allowed' &&
      event.type === 'm.room.member' &&
      typeof own(state.get('m.room.join_rules', '')?.content ?? {}, 'join_rule') !== 'string',
    ofRoom: (room) =>
      room.states.some((state) => state.get('m.room.join_rules', '') === undefined) ||
      someEvent(
        room,
        ({ type, content }) => type === 'm.room.join_rules' && typeof own(content, 'join_rule') !== 'string',
      ) ||
      // What an event does not name is not there where the resolution begins without it, as that of version 2.1 does.
      someEvent(room, (event) => joinsWithoutRules(event, room)),
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
      someEvent(room, ({ content }) => {
        const token = invitedBy(content);
        return token !== undefined && someEvent(room, (event) => isOddInvite(event, token));
      }),
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

/** Whether some event is so that the resolution of the states may look at: of the states and their auth chains. */
function someEvent({ events, request }: OurRoom, is: (event: Event) => boolean): boolean {
  const reached = new Set(request.states.flat());
  // A set hands out what is added to it while it is walked.
  for (const eventId of reached) {
    const event = events.get(eventId);
    if (event === undefined) continue;
    if (is(event)) return true;
    for (const authEventId of event.authEvents) reached.add(authEventId);
  }
  return false;
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

/**
 * Whether of two power levels events one gives a level below its default, the other does not give it, and the sender of
 * the later one is below that default.
 */
function givesLowLevel(before: Event, after: Event): boolean {
  if (before.type !== 'm.room.power_levels' || after.type !== 'm.room.power_levels') return false;
  const levelOfSender = powerOf(undefined, before).of(after.sender);
  return Object.entries(DEFAULT_LEVELS).some(([key, inferred]) => {
    const [was, is] = [before, after].map(({ content, rules }) => levelOf(own(content, key), rules));
    const given = was ?? is;
    return (
      (was === undefined) !== (is === undefined) &&
      given !== undefined &&
      given < inferred &&
      levelOfSender < inferred
    );
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

function isOddInvite({ type, stateKey, content }: Event, token: string): boolean {
  return type === 'm.room.third_party_invite' && stateKey === token && hasOddKeys(content);
}

function hasOddKeys(content: JsonObject): boolean {
  const { public_key: key, public_keys: keys = [] } = content;
  if (key !== undefined && typeof key !== 'string') return true;
  return (
    !Array.isArray(keys) || !keys.every((item: Json) => isObject(item) && typeof item.public_key === 'string')
  );
}

/** A join, other than the first of the room, whose auth events name no join rules. */
function joinsWithoutRules(event: Event, { events }: OurRoom): boolean {
  if (event.type !== 'm.room.member' || event.content.membership !== 'join') return false;
  const isFirst =
    event.prevEvents.length === 1 && events.get(event.prevEvents[0] ?? '$')?.type === 'm.room.create';
  return !isFirst && !event.authEvents.some((id) => events.get(id)?.type === 'm.room.join_rules');
}
