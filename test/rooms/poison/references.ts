/** What an event cites: how many, in which form, itself, nothing, what nobody has, what does not authorise it. */

import type { EventId } from '#keys/ids.ts';
import type { Json, JsonObject } from '#keys/json.ts';
import type { Event } from '#rooms/event.ts';
import { referenceHashesOf, writeReferences } from '#rooms/references.ts';
import type { RoomVersionRules } from '#rooms/versions.ts';
import { type Ground, kindsBut, type OutcomeBy, type Shape } from './shape.ts';

const LISTS = ['prev_events', 'auth_events'] as const;
const HASH = 'bm9ib2R5IGhhcyBtYWRlIGl0';

const isPairs: (rules: RoomVersionRules) => boolean = ({ eventReferences }) => eventReferences === 'pairs';

/** As the version writes them. */
function cited(events: readonly Event[], { rules }: Ground['room']): Json[] {
  const ids = events.map(({ eventId }) => eventId);
  return writeReferences(ids, rules, referenceHashesOf(events, rules));
}

function unknown(eventId: EventId, { rules }: Ground['room']): Json {
  return isPairs(rules) ? [eventId, { sha256: HASH }] : eventId;
}

/** The last events of the room, the newest last. */
function lastOf({ room }: Ground, count: number): Event[] {
  return [...room.events.values()].slice(-count);
}

function listOf(pdu: JsonObject, key: string): Json[] {
  return [...(pdu[key] as Json[])];
}

const WHOLE: readonly Shape[] = LISTS.flatMap((key): Shape[] => [
  { name: `${key} is missing`, change: () => ({ [key]: undefined }), outcome: 'dropped' },
  ...kindsBut('a list').map(
    ([kind, value]): Shape => ({
      name: `${key} is ${kind}`,
      change: () => ({ [key]: value }),
      outcome: 'dropped',
    }),
  ),
  {
    name: `${key} is an object with a length`,
    change: () => ({ [key]: { length: 1, 0: '$x' } }),
    outcome: 'dropped',
  },
]);

/** One item more, which is none. */
const ITEMS: ReadonlyMap<string, Json> = new Map<string, Json>([
  ...kindsBut('nothing'),
  ['a sigil', '$'],
  ['a room id', '!x:other.test'],
  ['an id with NUL', '$x\0:other.test'],
  ['half a character', '$\ud800'],
  ['256 bytes', `$${'x'.repeat(255)}`],
  ['256 bytes of characters of four bytes', `$xxx${'\u{1f600}'.repeat(63)}`],
  ['a list of an id', ['$x:other.test']],
  ['a list in a list', [[['$x:other.test']]]],
  ['a pair of numbers', [1, 2]],
  ['a pair with a text for hashes', ['$x:other.test', HASH]],
  ['a pair with a list for hashes', ['$x:other.test', [HASH]]],
  ['a pair with null for hashes', ['$x:other.test', null]],
  ['a pair without an id', [null, { sha256: HASH }]],
  ['three of a pair', ['$x:other.test', { sha256: HASH }, 1]],
  ['an object with an id', { event_id: '$x:other.test' }],
]);

const WRONG_ITEMS: readonly Shape[] = LISTS.flatMap((key) =>
  [...ITEMS].map(
    ([what, item]): Shape => ({
      name: `${key} names ${what}`,
      change: (pdu) => ({ [key]: [...listOf(pdu, key), item] }),
      outcome: 'dropped',
    }),
  ),
);

const OTHER_FORM: readonly Shape[] = LISTS.flatMap((key): Shape[] => [
  {
    name: `${key} has pairs where ids are due`,
    change: (_, ground) => ({ [key]: lastOf(ground, 1).map(({ eventId }) => [eventId, { sha256: HASH }]) }),
    outcome: (rules) => (isPairs(rules) ? undefined : 'dropped'),
  },
  {
    name: `${key} has ids where pairs are due`,
    change: (_, ground) => ({ [key]: lastOf(ground, 1).map(({ eventId }) => eventId) }),
    outcome: (rules) => (isPairs(rules) ? 'dropped' : undefined),
  },
]);

function prev(name: string, change: (ground: Ground) => Json[], outcome: OutcomeBy): Shape {
  // For what is told as a part of the state, prev events do not count.
  const byAuthEvents = (rules: RoomVersionRules) => {
    const by = typeof outcome === 'function' ? outcome(rules) : outcome;
    return by === 'dropped' || by === undefined ? by : ('accepted' as const);
  };
  return { name, change: (_, ground) => ({ prev_events: change(ground) }), outcome, byAuthEvents };
}

const PREV: readonly Shape[] = [
  prev('prev_events is empty', () => [], 'rejected'),
  prev(
    'prev_events names one twice',
    (ground) => cited([...lastOf(ground, 1), ...lastOf(ground, 1)], ground.room),
    'accepted',
  ),
  prev('prev_events names 20', (ground) => cited(lastOf(ground, 20), ground.room), 'accepted'),
  prev('prev_events names 21', (ground) => cited(lastOf(ground, 21), ground.room), 'dropped'),
  {
    ...prev('prev_events names the create event', ({ room }) => cited([room.create], room), 'rejected'),
    resetsState: true,
  },
  prev(
    'prev_events names one that nobody has',
    ({ room }) => [unknown('$nobody:other.test', room)],
    'waiting',
  ),
  prev(
    'prev_events names one that nobody has beside one that is here',
    (ground) => [...cited(lastOf(ground, 1), ground.room), unknown('$nobody:other.test', ground.room)],
    'waiting',
  ),
  prev('prev_events names a hash of nothing', ({ room }) => [unknown(`$${'A'.repeat(43)}`, room)], 'waiting'),
  prev('prev_events names __proto__', ({ room }) => [unknown('$__proto__', room)], 'waiting'),
  {
    name: 'prev_events names the event itself',
    change: (pdu, { room }) => ({ prev_events: [unknown(String(pdu.event_id) as EventId, room)] }),
    outcome: ({ eventIds }) => (eventIds === 'chosen' ? 'waiting' : undefined),
    byAuthEvents: 'accepted',
  },
  prev(
    'prev_events has a wrong hash',
    (ground) => lastOf(ground, 1).map(({ eventId }) => [eventId, { sha256: HASH }]),
    (rules) => (isPairs(rules) ? 'accepted' : undefined),
  ),
  prev(
    'prev_events has no hash',
    (ground) => lastOf(ground, 1).map(({ eventId }) => [eventId, {}]),
    (rules) => (isPairs(rules) ? 'accepted' : undefined),
  ),
];

/** The auth events that the event has, with some put in or taken away. */
function auth(name: string, change: (own: Json[], ground: Ground) => Json[], outcome: OutcomeBy): Shape {
  return {
    name,
    change: (pdu, ground) => ({ auth_events: change(listOf(pdu, 'auth_events'), ground) }),
    outcome,
  };
}

/** The event of the room's state as its references name it. */
function stateOf({ room, sender }: Ground, type: string): Json[] {
  const event = room.get(type, type === 'm.room.member' ? sender : '');
  return event === undefined ? [] : cited([event], room);
}

function without(own: readonly Json[], taken: readonly Json[]): Json[] {
  const names = taken.map((item) => JSON.stringify(item));
  return own.filter((item) => !names.includes(JSON.stringify(item)));
}

const AUTH: readonly Shape[] = [
  auth('auth_events is empty', () => [], 'rejected'),
  auth('auth_events names 10', (_, ground) => cited(lastOf(ground, 10), ground.room), 'rejected'),
  auth('auth_events names 11', (_, ground) => cited(lastOf(ground, 11), ground.room), 'dropped'),
  auth('auth_events names each twice', (own) => [...own, ...own], 'rejected'),
  auth(
    'auth_events lacks the member',
    (own, ground) => without(own, stateOf(ground, 'm.room.member')),
    'rejected',
  ),
  // The creator has power without it.
  auth(
    'auth_events lacks the power levels',
    (own, ground) => without(own, stateOf(ground, 'm.room.power_levels')),
    'accepted',
  ),
  auth(
    'auth_events lacks the create event',
    (own, ground) => without(own, stateOf(ground, 'm.room.create')),
    (rules) => (rules.createInAuthEvents ? 'rejected' : undefined),
  ),
  auth(
    'auth_events names the create event',
    (own, ground) => [...own, ...stateOf(ground, 'm.room.create')],
    (rules) => (rules.createInAuthEvents ? undefined : 'rejected'),
  ),
  auth(
    'auth_events names the join rules',
    (own, ground) => [...own, ...stateOf(ground, 'm.room.join_rules')],
    'rejected',
  ),
  auth(
    'auth_events names a message',
    (own, ground) => [...own, ...cited(lastOf(ground, 1), ground.room)],
    'rejected',
  ),
  {
    ...auth(
      'auth_events names one that nobody has',
      (own, { room }) => [...own, unknown('$nobody:other.test', room)],
      'waiting',
    ),
    byAuthEvents: 'rejected',
  },
  {
    name: 'auth_events names the event itself',
    change: (pdu, { room }) => ({ auth_events: [unknown(String(pdu.event_id) as EventId, room)] }),
    outcome: ({ eventIds }) => (eventIds === 'chosen' ? 'waiting' : undefined),
    byAuthEvents: 'rejected',
  },
];

export const REFERENCE_SHAPES: readonly Shape[] = [...WHOLE, ...WRONG_ITEMS, ...OTHER_FORM, ...PREV, ...AUTH];
