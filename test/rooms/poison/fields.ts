/** Fields that are missing, of another type, empty or of another grammar. */

import type { Json, JsonObject } from '#keys/json.ts';
import { KINDS, kindsBut, number, type OutcomeBy, type Shape } from './shape.ts';

/** A key of the event set to each kind of value but those that are as they should be. */
function wrongKinds(key: string, right: readonly string[]): Shape[] {
  return kindsBut(...right).map(([kind, value]) => ({
    name: `${key} is ${kind}`,
    change: () => ({ [key]: value }),
    outcome: 'dropped',
  }));
}

function missing(key: string, outcome: OutcomeBy = 'dropped'): Shape {
  return { name: `${key} is missing`, change: () => ({ [key]: undefined }), outcome };
}

function set(name: string, parts: { readonly [key: string]: Json }, outcome: OutcomeBy): Shape {
  return { name, change: () => parts, outcome };
}

const REQUIRED: readonly Shape[] = [
  missing('type'),
  ...wrongKinds('type', ['a text', 'an empty text']),
  missing('room_id'),
  ...wrongKinds('room_id', []),
  missing('sender'),
  ...wrongKinds('sender', []),
  missing('content'),
  ...wrongKinds('content', ['an object']),
  missing('origin_server_ts'),
  ...wrongKinds('origin_server_ts', ['a number']),
  missing('depth'),
  ...wrongKinds('depth', ['a number']),
  ...wrongKinds('state_key', ['a text', 'an empty text']),
  // Without it, it is no state event, and as good as any.
  missing('state_key', 'accepted'),
  set('type is empty', { type: '' }, 'accepted'),
  set('state_key is empty', { state_key: '' }, 'accepted'),
  set('content is empty', { content: {} }, 'accepted'),
];

const CHOSEN_ID: readonly Shape[] = [
  { ...missing('event_id'), outcome: onlyChosen('dropped') },
  ...wrongKinds('event_id', []).map((shape) => ({ ...shape, outcome: onlyChosen('dropped') })),
  ...['$', '$x', 'x:y.test', '$x:', '$\0:y.test', '!x:y.test', '$x:y.test:1:2'].map((id) =>
    set(`event_id is ${JSON.stringify(id)}`, { event_id: id }, onlyChosen('dropped')),
  ),
  // The server in the id must sign too.
  set('event_id is of another server', { event_id: '$x:other.test' }, onlyChosen('dropped')),
  // Of version 3 and later the field says nothing: ids are hashes.
  ...[...KINDS].map(([kind, value]) =>
    set(`event_id is ${kind}, and says nothing`, { event_id: value }, notChosen('accepted')),
  ),
  set('event_id is that of another event', { event_id: '$x:other.test' }, notChosen('accepted')),
];

function onlyChosen(outcome: 'dropped'): OutcomeBy {
  return (rules) => (rules.eventIds === 'chosen' ? outcome : undefined);
}

function notChosen(outcome: 'accepted'): OutcomeBy {
  return (rules) => (rules.eventIds === 'chosen' ? undefined : outcome);
}

const SENDERS: readonly Shape[] = [
  ...[
    '@',
    '@x',
    '@x:',
    ':x',
    'x:other.test',
    '@x:other.test/',
    '@x:other..:1:2',
    '#x:other.test',
    '!x:other.test',
  ].map((sender) => set(`sender is ${JSON.stringify(sender)}`, { sender }, 'dropped')),
  ...['\0', '\ud800'].map((character): Shape => {
    const name = `sender has ${JSON.stringify(character)}`;
    return {
      name,
      change: (_, { sender }) => ({ sender: sender.replace(':', `${character}:`) }),
      outcome: 'dropped',
    };
  }),
  set('sender is of a server that has not signed', { sender: '@x:other.test' }, 'dropped'),
  ...['', 'nobody', 'UPPER', 'ü', '\u{1f600}', '__proto__', 'a b', '%00', '../x'].map((localpart): Shape => {
    const name = `sender is not in the room, and called ${JSON.stringify(localpart)}`;
    const senderOf = (sender: string) => `@${localpart}${sender.slice(sender.indexOf(':'))}`;
    return { name, change: (_, { sender }) => ({ sender: senderOf(sender) }), outcome: 'rejected' };
  }),
];

const ROOMS: readonly Shape[] = [
  ...[
    '!',
    '!x',
    '!x:',
    'x:other.test',
    '$x:other.test',
    `!${'A'.repeat(42)}`,
    `!${'A'.repeat(44)}`,
    '!\0:other.test',
  ].map((roomId) => set(`room_id is ${JSON.stringify(roomId)}`, { room_id: roomId }, 'dropped')),
  set('room_id is of a room that nobody knows', { room_id: '!nowhere:other.test' }, 'rejected'),
  set('room_id is a hash of nothing', { room_id: `!${'A'.repeat(43)}` }, 'rejected'),
  set('room_id is __proto__', { room_id: '__proto__' }, 'dropped'),
];

/** What a version before 6 may write as a depth, and a later one not. */
const DEPTHS: readonly (readonly [string, OutcomeBy])[] = [
  ['-1', 'dropped'],
  ['0', 'accepted'],
  ['1', 'accepted'],
  ['9007199254740991', 'accepted'],
  ['9007199254740992', (rules) => (rules.strictJson ? 'dropped' : 'accepted')],
  ['9223372036854775807', (rules) => (rules.strictJson ? 'dropped' : 'accepted')],
  ['9223372036854775808', 'dropped'],
  ['-9223372036854775808', 'dropped'],
  ['1.5', 'dropped'],
  ['1.0', 'dropped'],
  ['1e3', 'dropped'],
  ['-0', (rules) => (rules.strictJson ? 'dropped' : 'accepted')],
];

/** An event is signed by a key that is valid at its time, from version 5. */
const TIMES: readonly (readonly [string, OutcomeBy])[] = [
  ['-1', 'accepted'],
  ['0', 'accepted'],
  ['-9007199254740991', 'accepted'],
  ['9007199254740991', (rules) => (rules.strictKeyValidity ? 'dropped' : 'accepted')],
  ['9007199254740992', 'dropped'],
  ['1.5', 'dropped'],
  ['1e3', 'dropped'],
];

const NUMBERS: readonly Shape[] = [
  ...DEPTHS.map(([token, outcome]): Shape => numberShape('depth', token, outcome)),
  ...TIMES.map(([token, outcome]): Shape => numberShape('origin_server_ts', token, outcome)),
  set('depth is "5"', { depth: '5' }, 'dropped'),
  set('origin_server_ts is "5"', { origin_server_ts: '5' }, 'dropped'),
];

function numberShape(key: string, token: string, outcome: OutcomeBy): Shape {
  return {
    name: `${key} is ${token}`,
    change: () => ({ [key]: number(token) }),
    // As it is written, not as it is hashed.
    edit: (text) => text.replace(new RegExp(`"${key}":[^,}]*`), `"${key}":${token}`),
    outcome,
  };
}

const REDACTS: readonly Shape[] = [
  ...kindsBut('a text', 'an empty text').map(([kind, redacts]) =>
    set(`redacts is ${kind}`, { redacts }, (rules) => (rules.redactsInContent ? 'accepted' : 'dropped')),
  ),
  ...['', 'x', '$', '$nobody', '\0'].map((redacts) =>
    set(`redacts of what is no redaction is ${JSON.stringify(redacts)}`, { redacts }, 'accepted'),
  ),
];

const NAMES = [
  '__proto__',
  'constructor',
  'toString',
  'hasOwnProperty',
  'then',
  '',
  '\0',
  '10',
  'x'.repeat(1_000),
];

const ODD_UNSIGNED: Readonly<Record<string, JsonObject>> = {
  'an age that is a text': { age: 'x' },
  'a redaction that is none': { redacted_because: {} },
  'a redaction that is a text': { redacted_because: 'x' },
  'a transaction id': { transaction_id: 'x' },
  'a content of before that is a list': { prev_content: [], replaces_state: 7 },
  'relations of its own': { 'm.relations': { 'm.thread': { latest_event: {} } } },
  'a membership': { membership: 'ban' },
  'an invited room': { invite_room_state: [null, [[]]] },
  'itself in itself': { unsigned: { unsigned: {} } },
};

const OTHERS: readonly Shape[] = [
  ...[...KINDS].flatMap(([kind, value]) =>
    ['unsigned', 'origin', 'membership', 'prev_state', 'age_ts'].map((key) =>
      set(`${key} is ${kind}`, { [key]: value }, 'accepted'),
    ),
  ),
  ...NAMES.map(
    (key): Shape => ({
      name: `the event has a key ${JSON.stringify(key.slice(0, 20))}`,
      change: () => Object.fromEntries([[key, { a: 1 }]]),
      outcome: 'accepted',
    }),
  ),
  ...Object.entries(ODD_UNSIGNED).map(([name, unsigned]) =>
    set(`unsigned has ${name}`, { unsigned }, 'accepted'),
  ),
];

export const FIELD_SHAPES: readonly Shape[] = [
  ...REQUIRED,
  ...CHOSEN_ID,
  ...SENDERS,
  ...ROOMS,
  ...NUMBERS,
  ...REDACTS,
  ...OTHERS,
];
