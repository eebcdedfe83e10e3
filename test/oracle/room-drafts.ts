/** What users of a random room try to do: what the rules allow, and what they do not. */
import { isObject, type Json, type JsonObject } from '#keys/json.ts';
import { domainOf, keyOf, type PlainEvent, type PlainState } from './plain-event.ts';
import { plainCanonical } from './plain-json.ts';
import { creatorsOf } from './plain-power.ts';
import { type Draft, knownKeyPairOf } from './room-workshop.ts';

export const USERS = [
  '@creator:a.example',
  '@alice:a.example',
  '@bob:b.example',
  '@carol:c.example',
  '@dave:d.example',
  '@erin:here.test',
] as const;

export const ACTIONS = [
  'message',
  'topic',
  'name',
  'join',
  'leave',
  'invite',
  'kick',
  'ban',
  'knock',
  'restrictedJoin',
  'otherMembership',
  'issueInvite',
  'redeemInvite',
  'userLevel',
  'eventLevel',
  'level',
  'oddLevels',
  'joinRules',
  'visibility',
  'acl',
  'redact',
  'aliases',
  'ownState',
] as const;
export type Action = (typeof ACTIONS)[number];

export interface Act {
  readonly action: Action;
  readonly sender: string;
  readonly target: string;
  /** Any number of 0 to 999, from which the rest is taken. */
  readonly value: number;
}

interface Scene {
  readonly version: number;
  readonly state: PlainState;
  /** All events so far, in the order in which they were made. */
  readonly events: readonly PlainEvent[];
}

const LEVELS = [0, 25, 50, 75, 100];
const LEVEL_NAMES = ['users_default', 'events_default', 'state_default', 'ban', 'redact', 'kick', 'invite'];
const EVENT_TYPES = [
  'm.room.power_levels',
  'm.room.message',
  'm.room.topic',
  'm.room.redaction',
  'm.room.join_rules',
];
const JOIN_RULES = ['public', 'invite', 'knock', 'restricted', 'knock_restricted', 'private', 42];
const VISIBILITIES = ['world_readable', 'shared', 'invited', 'joined', 'nonsense'];

/** What the act makes somebody say in a state of the room. */
export function draftOf({ action, sender, target, value }: Act, scene: Scene): Draft {
  const state = (type: string, stateKey: string, content: JsonObject): Draft => ({
    sender,
    type,
    stateKey,
    content,
  });
  const member = (of: string, content: JsonObject) => state('m.room.member', of, content);
  switch (action) {
    case 'message':
      return { sender, type: 'm.room.message', content: { msgtype: 'm.text', body: `${value}` } };
    case 'topic':
    case 'name':
      return state(`m.room.${action}`, '', { [action]: `${value}` });
    case 'join':
    case 'leave':
    case 'knock':
      return member(sender, { membership: action });
    case 'invite':
    case 'ban':
      return member(target, { membership: action });
    case 'kick':
      return member(target, { membership: 'leave' });
    case 'restrictedJoin':
      return member(sender, { membership: 'join', join_authorised_via_users_server: target });
    case 'otherMembership':
      return member(pick([sender, target, 'nobody'], value), pick(OTHER_MEMBERSHIPS, value));
    case 'issueInvite':
      return state('m.room.third_party_invite', `token${value % 2}`, issued(value));
    case 'redeemInvite':
      return redeemed({ sender, target, value }, scene.state);
    case 'joinRules':
      return state('m.room.join_rules', '', { join_rule: pick(JOIN_RULES, value) });
    case 'visibility':
      return state('m.room.history_visibility', '', { history_visibility: pick(VISIBILITIES, value) });
    case 'acl':
      return state('m.room.server_acl', '', {
        allow: ['*'],
        deny: value % 2 === 0 ? [] : [domainOf(target) ?? ''],
      });
    case 'redact':
      return { sender, type: 'm.room.redaction', content: {}, redacts: pick(scene.events, value).id };
    case 'aliases':
      return state('m.room.aliases', pick([domainOf(sender) ?? '', 'z.example'], value), { aliases: [] });
    case 'ownState':
      return state('org.example.state', pick([sender, target, '@', 'plain'], value), { value });
    default:
      return state('m.room.power_levels', '', levels(action, { target, value }, scene));
  }
}

const OTHER_MEMBERSHIPS: readonly JsonObject[] = [
  { membership: 'nonsense' },
  {},
  { membership: 7 },
  { membership: 'invite', third_party_invite: {} },
  { membership: 'leave', join_authorised_via_users_server: '@bob:b.example' },
  { membership: 'join', join_authorised_via_users_server: 'nobody' },
];

function levels(
  action: 'userLevel' | 'eventLevel' | 'level' | 'oddLevels',
  { target, value }: Pick<Act, 'target' | 'value'>,
  { version, state }: Scene,
): JsonObject {
  const before = state.get(keyOf('m.room.power_levels', ''))?.content ?? {};
  const level = pick(LEVELS, value);
  const further = Math.floor(value / LEVELS.length);
  switch (action) {
    case 'userLevel': {
      const create = state.get(keyOf('m.room.create', ''));
      const isCreator = version >= 12 && create !== undefined && creatorsOf(create).includes(target);
      // v12: creators are in the list by mistake only.
      return isCreator && further % 4 > 0
        ? before
        : { ...before, users: { ...object(before.users), [target]: level } };
    }
    case 'eventLevel': {
      const list = further % 4 === 0 ? 'notifications' : 'events';
      const key = list === 'notifications' ? 'room' : pick(EVENT_TYPES, further);
      const without = Object.entries(object(before[list])).filter(([name]) => name !== key);
      return {
        ...before,
        [list]: Object.fromEntries(further % 5 === 0 ? without : [...without, [key, level]]),
      };
    }
    case 'level': {
      const name = pick(LEVEL_NAMES, further);
      const without = Object.entries(before).filter(([key]) => key !== name);
      return Object.fromEntries(further % 5 === 0 ? without : [...without, [name, level]]);
    }
    case 'oddLevels':
      return { ...before, ...pick(oddLevels(version, { target, level }), further) };
  }
}

/** Contents over the one before that are unusual, or wrong, in a way of which the specification says what is to be. */
function oddLevels(version: number, { target, level }: { target: string; level: number }): JsonObject[] {
  const largest = Number.MAX_SAFE_INTEGER;
  return [
    { users: 'none' },
    { users: null },
    { users: [] },
    { users: { 'not a user': level } },
    { users: { [target]: null } },
    { users: { [target]: largest } },
    { users: {} },
    { users_default: -largest },
    { ban: largest, kick: -largest },
    // v10: "power levels MUST NOT be represented as strings".
    { users: { [target]: `${level}` } },
    { users: { [target]: ` +0${level} ` }, invite: ` ${level} ` },
    { events: { 'm.room.topic': `${level}` } },
    { users: { [target]: '5x' } },
    // v6: there are no floats in canonical JSON.
    ...(version <= 5
      ? [{ users: { [target]: level + 0.57 } }, { kick: level + 0.99, events_default: -0.5 }]
      : []),
    ...(version >= 10
      ? [
          { events: [] },
          { notifications: 'all' },
          { notifications: { room: '50' } },
          { invite: null },
          { kick: true },
        ]
      : []),
  ];
}

/** Has a private key of its own, which the identity server signs with. */
const IDENTITY = 'identity.example';

function issued(value: number): JsonObject {
  const { publicKey } = knownKeyPairOf(IDENTITY);
  const other = knownKeyPairOf('another.example').publicKey;
  return pick(
    [
      { display_name: 'somebody', public_key: publicKey },
      { display_name: 'somebody', public_key: other, public_keys: [{ public_key: publicKey }] },
      { display_name: 'somebody', public_key: other },
      { display_name: 'somebody', public_keys: [{ public_key: other }, {}, 'nonsense'] },
    ],
    Math.floor(value / 2),
  );
}

function redeemed({ sender, target, value }: Omit<Act, 'action'>, state: PlainState): Draft {
  const token = `token${value % 2}`;
  const issuer = state.get(keyOf('m.room.third_party_invite', token))?.sender;
  const signed = { mxid: target, token };
  const { keyId, sign } = knownKeyPairOf(IDENTITY);
  const signatures = { [IDENTITY]: { [keyId]: sign(plainCanonical(signed)) } };
  const wrong = Math.floor(value / 2) % 8;
  const content: JsonObject = {
    membership: 'invite',
    third_party_invite: {
      display_name: 'somebody',
      signed: { ...signed, signatures, ...(wrong === 1 && { mxid: '@nobody:a.example' }) },
    },
  };
  const stateKey = wrong === 2 ? sender : target;
  return { sender: wrong === 3 ? sender : (issuer ?? sender), type: 'm.room.member', stateKey, content };
}

function object(value: Json | undefined): JsonObject {
  return isObject(value) ? value : {};
}

export function pick<T>(list: readonly T[], value: number): T {
  return list[value % list.length] as T;
}
