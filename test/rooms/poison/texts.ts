/** The text of an event: what canonical JSON has not, what is written in another way, and what is no JSON at all. */

import type { Json, JsonObject } from '#keys/json.ts';
import { number, type OutcomeBy, type Shape } from './shape.ts';

const byStrictness: OutcomeBy = (rules) => (rules.strictJson ? 'dropped' : 'accepted');

/** A token somewhere in the event; canonical JSON has only the integers of up to 53 bits. */
const TOKENS: ReadonlyMap<string, OutcomeBy> = new Map<string, OutcomeBy>([
  ['0', 'accepted'],
  ['-1', 'accepted'],
  ['9007199254740991', 'accepted'],
  ['-9007199254740991', 'accepted'],
  ['9007199254740992', byStrictness],
  ['-9007199254740992', byStrictness],
  ['123456789012345678901234567890', byStrictness],
  ['1.5', byStrictness],
  ['1.0', byStrictness],
  ['-0', byStrictness],
  ['1e3', byStrictness],
  ['1E-5', byStrictness],
  ['1.7976931348623157e308', byStrictness],
  ['5e-324', byStrictness],
]);

const MARK = '"placeholder"';

/** Where it stands: the mark is replaced by the number as it is hashed, and then by the number as it is written. */
const PLACES: ReadonlyMap<string, (value: Json, content: JsonObject) => JsonObject> = new Map<
  string,
  (value: Json, content: JsonObject) => JsonObject
>([
  ['the content', (value, content) => ({ content: { ...content, placeholder: value } })],
  [
    'a list in the content',
    (value, content) => ({ content: { ...content, list: [{ placeholder: value }] } }),
  ],
  ['a field of no meaning', (value) => ({ 'org.example': { placeholder: value } })],
  ['unsigned', (value) => ({ unsigned: { placeholder: value } })],
]);

const NUMBERS: readonly Shape[] = [...PLACES].flatMap(([place, put]) =>
  [...TOKENS].map(
    ([token, outcome]): Shape => ({
      name: `${place} has the number ${token}`,
      change: (pdu) => put(number(token), pdu.content as JsonObject),
      edit: (text) => text.replace(new RegExp(`${MARK}:[^,}]*`), `${MARK}:${token}`),
      outcome,
    }),
  ),
);

/** The content has `"mark":"MARK"`, and instead of it these members. */
function member(name: string, members: string, outcome: OutcomeBy): Shape {
  return {
    name,
    change: (pdu) => ({ content: { ...(pdu.content as JsonObject), mark: 'MARK' } }),
    edit: (text) => text.replace('"mark":"MARK"', () => members),
    outcome,
  };
}

const MEMBERS: readonly Shape[] = [
  member('a key twice in the content', '"mark":"MARK","mark":"MARK"', 'dropped'),
  member(
    'a key twice in the content, the second by its escape',
    '"mark":"MARK","\\u006dark":"MARK"',
    'dropped',
  ),
  member('a key __proto__ twice', '"mark":"MARK","__proto__":1,"__proto__":2', 'dropped'),
  member('half a character in a text', '"mark":"\\ud800"', 'dropped'),
  member('the other half of a character in a text', '"mark":"\\udc00x"', 'dropped'),
  member('the halves of a character in the wrong order', '"mark":"\\udc00\\ud800"', 'dropped'),
  member('half a character in a key', '"\\ud83d":"MARK"', 'dropped'),
  // The same text, written otherwise.
  member('an escape that is not needed', '"mark":"M\\u0041RK"', 'accepted'),
  member('white space between tokens', ' \n\t"mark" :\r "MARK" ', 'accepted'),
];

function edited(name: string, edit: (text: string) => string, outcome: OutcomeBy): Shape {
  return { name, edit, outcome };
}

const WHOLE: readonly Shape[] = [
  edited('type twice at the top', (text) => text.replace(/"type":"[^"]*"/, '$&,$&'), 'dropped'),
  edited('content twice at the top', (text) => `{"content":{"other":1},${text.slice(1)}`, 'dropped'),
  edited('sender twice at the top', (text) => `{"sender":"@x:other.test",${text.slice(1)}`, 'dropped'),
  edited('signatures twice at the top', (text) => `{"signatures":{},${text.slice(1)}`, 'dropped'),
  edited('room_id twice at the top', (text) => `{"room_id":"!x:other.test",${text.slice(1)}`, 'dropped'),
  edited(
    'keys in another order',
    (text) =>
      `${text.slice(0, -1).replace(/"depth":(\d+),/, '')},"depth":${/"depth":(\d+)/.exec(text)?.[1]}}`,
    'accepted',
  ),
  edited('white space around it', (text) => ` \n${text}\t `, 'accepted'),
  edited('an empty object', () => '{}', 'dropped'),
  ...['null', 'true', '7', '-0', '1e400x'.slice(0, 3), '"x"', '""', '[]', '[{}]', '[[]]'].map((text) =>
    edited(`the text ${text}`, () => text, 'dropped'),
  ),
  edited('the event as a text', (text) => JSON.stringify(text), 'dropped'),
  edited('the event in a list', (text) => `[${text}]`, 'dropped'),
  edited('the event in an object', (text) => `{"event":${text}}`, 'dropped'),
];

/** Values of the content that are as good as any, and look as if they were not. */
const TEXTS: readonly Shape[] = [
  '\0',
  '\u0001\u001f\u007f',
  '\u2028\u2029',
  '\ufeff',
  '\ufffd',
  '\uffff\u{10ffff}',
  '\u202e\u200b',
  '"\\/',
  '</script>',
  '"; DROP TABLE events; --',
  '%00%2e%2e',
  '{}[]',
].flatMap((text): Shape[] => {
  const shown = JSON.stringify(text);
  return [
    { name: `the type ${shown}`, change: () => ({ type: text }), outcome: 'accepted' },
    { name: `the state key ${shown}`, change: () => ({ state_key: text }), outcome: 'accepted' },
    {
      name: `${shown} as a key and a text of the content`,
      change: (pdu) => ({ content: { ...(pdu.content as JsonObject), [text]: text } }),
      outcome: 'accepted',
    },
  ];
});

/** No JSON: whatever holds it is none either. */
const TORN: readonly Shape[] = Object.entries<(text: string) => string>({
  'a byte order mark': (text) => `\ufeff${text}`,
  'the number NaN': (text) => text.replace(/"depth":\d+/, '"depth":NaN'),
  'the number Infinity': (text) => text.replace(/"depth":\d+/, '"depth":-Infinity'),
  'the number 1e400': (text) => text.replace(/"depth":\d+/, '"depth":1e400'),
  'a number in hexadecimal': (text) => text.replace(/"depth":\d+/, '"depth":0x10'),
  'a number with a plus': (text) => text.replace(/"depth":\d+/, '"depth":+1'),
  'a number with a leading zero': (text) => text.replace(/"depth":\d+/, '"depth":01'),
  'a number without digits': (text) => text.replace(/"depth":\d+/, '"depth":1.'),
  'a comma at the end': (text) => `${text.slice(0, -1)},}`,
  'a comment': (text) => `{/**/${text.slice(1)}`,
  'single quotes': (text) => text.replace('"type"', "'type'"),
  'a key without quotes': (text) => text.replace('"type"', 'type'),
  'a control character in a text': (text) => text.replace('"type":"', '"type":"\x01'),
  'no end': (text) => text.slice(0, -1),
  'two ends': (text) => `${text}}`,
  'an escape that is none': (text) => text.replace('"type":"', '"type":"\\x41'),
  'half an escape': (text) => text.replace('"type":"', '"type":"\\u00'),
  undefined: () => 'undefined',
  nothing: () => '',
}).map(([name, edit]): Shape => ({ name: `no JSON: ${name}`, edit, outcome: 'dropped', isTorn: true }));

export const TEXT_SHAPES: readonly Shape[] = [...NUMBERS, ...MEMBERS, ...WHOLE, ...TEXTS, ...TORN];
