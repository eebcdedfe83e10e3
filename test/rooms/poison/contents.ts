/** Contents that the rules judge, or that somebody shows: memberships, power levels, create events, redactions. */

import type { Json, JsonObject } from '#keys/json.ts';
import type { RoomVersionRules } from '#rooms/versions.ts';
import { type Ground, KINDS, kindsBut, type Outcome, type OutcomeBy, type Shape } from './shape.ts';

function stateShape(
  name: string,
  [type, stateKey]: readonly [type: string, stateKey: string],
  content: (ground: Ground) => JsonObject,
  outcome: OutcomeBy,
): Shape {
  return { name, event: (ground) => ({ type, state_key: stateKey, content: content(ground) }), outcome };
}

/** A membership of somebody of the sender's server, of whom nobody has heard. */
function memberShape(name: string, content: JsonObject, outcome: OutcomeBy): Shape {
  return {
    name: `m.room.member: ${name}`,
    event: ({ sender, number }) => ({
      type: 'm.room.member',
      state_key: sender.replace('@', `@p${number}`),
      content,
    }),
    outcome,
  };
}

const ofRestricted: OutcomeBy = (rules) => (rules.restrictedJoins ? 'rejected' : 'accepted');

const MEMBERS: readonly Shape[] = [
  memberShape('no membership', {}, 'rejected'),
  ...[...KINDS].map(([kind, membership]) =>
    memberShape(`the membership is ${kind}`, { membership }, 'rejected'),
  ),
  ...['JOIN', 'join ', 'banned', 'invited', '\0', '__proto__', 'x'.repeat(1_000)].map((membership) =>
    memberShape(`the membership is ${JSON.stringify(membership.slice(0, 10))}`, { membership }, 'rejected'),
  ),
  memberShape('the join of another user', { membership: 'join' }, 'rejected'),
  memberShape('the knock of another user', { membership: 'knock' }, 'rejected'),
  // The sender has the power to send away whoever is not there.
  memberShape('the leave of a user who is not there', { membership: 'leave' }, 'accepted'),
  ...['displayname', 'avatar_url', 'reason', 'is_direct', 'm.mentions', 'joined', '__proto__'].flatMap(
    (key) =>
      [...KINDS].map(([kind, value]) =>
        memberShape(
          `${key} is ${kind}`,
          Object.fromEntries([
            ['membership', 'invite'],
            [key, value],
          ]),
          'accepted',
        ),
      ),
  ),
  memberShape(
    'a display name of 60,000 bytes',
    { membership: 'invite', displayname: 'x'.repeat(60_000) },
    'accepted',
  ),
  ...[...KINDS].map(([kind, third_party_invite]) =>
    memberShape(`third_party_invite is ${kind}`, { membership: 'invite', third_party_invite }, 'rejected'),
  ),
  ...[...KINDS].map(([kind, signed]) =>
    memberShape(
      `third_party_invite.signed is ${kind}`,
      { membership: 'invite', third_party_invite: { signed } },
      'rejected',
    ),
  ),
  memberShape(
    'a third-party invite of no token',
    {
      membership: 'invite',
      third_party_invite: { signed: { mxid: '@x:other.test', token: 'x', signatures: [] } },
    },
    'rejected',
  ),
  ...[...KINDS].map(([kind, value]) =>
    memberShape(
      `join_authorised_via_users_server is ${kind}`,
      { membership: 'invite', join_authorised_via_users_server: value },
      ofRestricted,
    ),
  ),
  memberShape(
    'the authoriser is of a server that has not signed',
    { membership: 'invite', join_authorised_via_users_server: '@x:other.test' },
    (rules) => (rules.restrictedJoins ? 'dropped' : 'accepted'),
  ),
  {
    name: 'm.room.member: no state key',
    event: () => ({ type: 'm.room.member', content: { membership: 'join' } }),
    outcome: 'rejected',
  },
  ...['', 'x', '@', '@x', 'x:other.test', '@x:', '\0', '__proto__'].map(
    (stateKey): Shape => ({
      name: `m.room.member: an invitation of ${JSON.stringify(stateKey)}`,
      event: () => ({ type: 'm.room.member', state_key: stateKey, content: { membership: 'invite' } }),
      // No rule says that the state key is a user id.
      outcome: 'accepted',
    }),
  ),
];

/** Power levels that keep the sender's own, with something odd. */
function levelsShape(name: string, content: JsonObject, outcome: OutcomeBy): Shape {
  return {
    name: `m.room.power_levels: ${name}`,
    event: ({ room, sender }) => {
      const users = room.rules.privilegedCreators ? {} : { [sender]: 100 };
      return { type: 'm.room.power_levels', state_key: '', content: { users, ...content } };
    },
    outcome,
    changesRules: true,
  };
}

/** From version 10 levels are integers; before it what is none counts as if it were not there. */
const byIntegers: OutcomeBy = (rules) => (rules.powerLevels === 'integers' ? 'rejected' : 'accepted');

const LEVEL_KEYS = ['users_default', 'events_default', 'state_default', 'ban', 'kick', 'redact', 'invite'];

const POWER_LEVELS: readonly Shape[] = [
  ...LEVEL_KEYS.flatMap((key) =>
    kindsBut('a number').map(([kind, value]) =>
      levelsShape(`${key} is ${kind}`, { [key]: value }, byIntegers),
    ),
  ),
  ...['events', 'notifications'].flatMap((key) => [
    ...kindsBut('an object').map(([kind, value]) =>
      levelsShape(`${key} is ${kind}`, { [key]: value }, byIntegers),
    ),
    ...kindsBut('a number').map(([kind, value]) =>
      levelsShape(`an entry of ${key} is ${kind}`, { [key]: { 'test.odd': value } }, byIntegers),
    ),
  ]),
  ...kindsBut('an object').map(([kind, users]) => levelsShape(`users is ${kind}`, { users }, 'rejected')),
  ...kindsBut('a number').map(([kind, value]) =>
    levelsShape(`a level of users is ${kind}`, { users: { '@odd:other.test': value } }, 'rejected'),
  ),
  ...['', 'x', '@x', '@x:', '__proto__', '@\0:other.test'].map((name) =>
    levelsShape(
      `users names ${JSON.stringify(name)}`,
      { users: Object.fromEntries([[name, 0]]) },
      'rejected',
    ),
  ),
  levelsShape('a level of users above that of the sender', { users: { '@odd:other.test': 101 } }, (rules) =>
    rules.privilegedCreators ? undefined : 'rejected',
  ),
  levelsShape(
    'a level of the greatest integer',
    { users: { '@odd:other.test': Number.MAX_SAFE_INTEGER } },
    (rules) => (rules.privilegedCreators ? undefined : 'rejected'),
  ),
  levelsShape('a level below zero', { events: { 'test.odd': -Number.MAX_SAFE_INTEGER } }, 'accepted'),
  levelsShape(
    'a thousand entries',
    { events: Object.fromEntries(range(1_000).map((n) => [`test.${n}`, 1])) },
    'accepted',
  ),
  levelsShape(
    'entries of __proto__ and constructor',
    JSON.parse('{"events":{"__proto__":1,"constructor":2}}'),
    'accepted',
  ),
  {
    name: 'm.room.power_levels: users names a creator',
    event: ({ sender }) => ({
      type: 'm.room.power_levels',
      state_key: '',
      content: { users: { [sender]: 100 } },
    }),
    outcome: (rules) => (rules.privilegedCreators ? 'rejected' : undefined),
  },
];

/** A second create event, at the end of the room as any event, or as if it were the first. */
function createShape(name: string, content: JsonObject): Shape {
  return {
    name: `m.room.create: ${name}`,
    event: ({ room, sender }) => ({
      type: 'm.room.create',
      state_key: '',
      content: { room_version: room.rules.version, creator: sender, ...content },
    }),
    outcome: 'rejected',
  };
}

const CREATES: readonly Shape[] = [
  createShape('a second one, after other events', {}),
  ...[...KINDS].map(([kind, value]) => createShape(`room_version is ${kind}`, { room_version: value })),
  ...[...KINDS].map(([kind, value]) => createShape(`predecessor is ${kind}`, { predecessor: value })),
  ...[...KINDS].map(([kind, value]) =>
    createShape(`additional_creators is ${kind}`, { additional_creators: value }),
  ),
  createShape('of another version', { room_version: '999' }),
  createShape('not federated', { 'm.federate': false }),
  {
    ...createShape('a second one without a past', { second: true }),
    change: () => ({ prev_events: [], auth_events: [] }),
  },
  {
    ...createShape('a second one without a room', { second: true }),
    change: () => ({ prev_events: [], auth_events: [], room_id: undefined }),
    outcome: (rules) => (rules.roomIdIsCreateHash ? 'rejected' : 'dropped'),
  },
];

/** A redaction as its version writes it. */
function redactionShape(name: string, redacts: (ground: Ground) => Json | undefined): Shape {
  const isText = (rules: RoomVersionRules): Outcome => (rules.redactsInContent ? 'accepted' : 'dropped');
  const isOdd = name.startsWith('what is');
  return {
    name: `m.room.redaction of ${name}`,
    event: (ground) => {
      const value = redacts(ground);
      const inContent = ground.room.rules.redactsInContent;
      const content = inContent && value !== undefined ? { redacts: value } : {};
      return { type: 'm.room.redaction', content, ...(!inContent && { pdu: { redacts: value } }) };
    },
    outcome: isOdd ? isText : 'accepted',
  };
}

const REDACTIONS: readonly Shape[] = [
  redactionShape('nothing', () => undefined),
  ...kindsBut('a text', 'an empty text').map(([kind, value]) =>
    redactionShape(`what is ${kind}`, () => value),
  ),
  ...['', 'x', '$', '$nobody:other.test', '!x:other.test', '$\0', 'x'.repeat(30_000)].map((id) =>
    redactionShape(JSON.stringify(id.slice(0, 20)), () => id),
  ),
  redactionShape('the create event', ({ room }) => room.create.eventId),
  redactionShape('the room', ({ room }) => room.roomId),
];

const SHOWN: ReadonlyMap<string, string> = new Map([
  ['m.room.name', 'name'],
  ['m.room.topic', 'topic'],
  ['m.room.avatar', 'url'],
  ['m.room.canonical_alias', 'alias'],
  ['m.room.encryption', 'algorithm'],
  ['m.room.guest_access', 'guest_access'],
  ['m.room.pinned_events', 'pinned'],
  ['m.room.tombstone', 'replacement_room'],
  ['m.room.history_visibility', 'history_visibility'],
  ['m.room.third_party_invite', 'public_key'],
  ['m.space.child', 'via'],
]);

const STATE: readonly Shape[] = [
  ...[...SHOWN].flatMap(([type, key]) =>
    [...KINDS].map(([kind, value]) =>
      stateShape(`${type}: ${key} is ${kind}`, [type, ''], () => ({ [key]: value }), 'accepted'),
    ),
  ),
  ...[...KINDS].map(
    ([kind, value]): Shape => ({
      ...stateShape(
        `m.room.join_rules: join_rule is ${kind}`,
        ['m.room.join_rules', ''],
        () => ({ join_rule: value }),
        'accepted',
      ),
      changesRules: true,
    }),
  ),
  ...[...KINDS].map(
    ([kind, allow]): Shape => ({
      ...stateShape(
        `m.room.join_rules: allow is ${kind}`,
        ['m.room.join_rules', ''],
        () => ({ join_rule: 'restricted', allow }),
        'accepted',
      ),
      changesRules: true,
    }),
  ),
  ...[...KINDS].map(([kind, deny]) =>
    stateShape(
      `m.room.server_acl: deny is ${kind}`,
      ['m.room.server_acl', ''],
      () => ({ allow: ['*', 5, null], deny, allow_ip_literals: deny }),
      'accepted',
    ),
  ),
  stateShape(
    'a state key that is another user',
    ['test.poison', '@other:other.test'],
    () => ({}),
    'rejected',
  ),
  stateShape(
    'm.room.aliases of another server',
    ['m.room.aliases', 'other.test'],
    () => ({ aliases: [7] }),
    (rules) => (rules.aliasesRule ? 'rejected' : 'accepted'),
  ),
];

function messageShape(name: string, content: JsonObject): Shape {
  return { name, event: () => ({ type: 'm.room.message', content }), outcome: 'accepted' };
}

const MESSAGES: readonly Shape[] = [
  messageShape('a message without content', {}),
  ...[...KINDS].flatMap(([kind, value]) => [
    messageShape(`a message whose body is ${kind}`, { msgtype: 'm.text', body: value }),
    messageShape(`a message whose relation is ${kind}`, { body: 'x', 'm.relates_to': value }),
    messageShape(`a message whose relation is of the type ${kind}`, {
      body: 'x',
      'm.relates_to': { rel_type: value, event_id: value, 'm.in_reply_to': value },
    }),
    messageShape(`a message whose mentions are ${kind}`, { body: 'x', 'm.mentions': { user_ids: value } }),
    messageShape(`a message whose edit is ${kind}`, {
      body: 'x',
      'm.new_content': value,
      'm.relates_to': { rel_type: 'm.replace', event_id: '$nobody' },
    }),
  ]),
];

function range(length: number): number[] {
  return Array.from({ length }, (_, index) => index);
}

export const CONTENT_SHAPES: readonly Shape[] = [
  ...MEMBERS,
  ...CREATES,
  ...REDACTIONS,
  ...STATE,
  ...MESSAGES,
  ...POWER_LEVELS,
];
