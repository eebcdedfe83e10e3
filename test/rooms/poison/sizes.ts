/** Sizes and depths at their limits, counted in bytes; before version 11 keys are counted in characters. */

import { encodeCanonical } from '#keys/canonical-json.ts';
import type { Json, JsonObject } from '#keys/json.ts';
import type { Ground, Outcome, Parts, Shape } from './shape.ts';

/** Texts of so many bytes, in characters of one, two and four. */
const FILLS: ReadonlyMap<string, (bytes: number) => string> = new Map([
  ['ASCII', (bytes: number) => 'x'.repeat(bytes)],
  ['characters of two bytes', (bytes: number) => 'é'.repeat(bytes >> 1) + 'x'.repeat(bytes % 2)],
  ['characters of four bytes', (bytes: number) => '\u{1f600}'.repeat(bytes >> 2) + 'x'.repeat(bytes % 4)],
]);

const KEY_SIZES = [254, 255, 256];

const KEYS: readonly Shape[] = ['type', 'state_key'].flatMap((key) =>
  [...FILLS].flatMap(([fill, text]) =>
    KEY_SIZES.map(
      (bytes): Shape => ({
        name: `${key} is ${bytes} bytes of ${fill}`,
        change: () => ({ [key]: text(bytes) }),
        outcome: ({ keySize }) =>
          (keySize === 'bytes' ? bytes : [...text(bytes)].length) > 255 ? 'dropped' : 'accepted',
      }),
    ),
  ),
);

/** The first character, so many bytes, and the server of the sender. */
function id(sigil: string, bytes: number, { sender }: Ground, fill: (bytes: number) => string): string {
  const domain = sender.slice(sender.indexOf(':'));
  return `${sigil}${fill(bytes - sigil.length - Buffer.byteLength(domain))}${domain}`;
}

const IDS: readonly Shape[] = [...FILLS].flatMap(([fill, text]) =>
  KEY_SIZES.flatMap((bytes): Shape[] => {
    const tooLong = bytes > 255;
    const refused: Outcome = tooLong ? 'dropped' : 'rejected';
    return [
      {
        name: `sender is ${bytes} bytes of ${fill}`,
        change: (_, ground) => ({ sender: id('@', bytes, ground, text) }),
        outcome: refused,
      },
      {
        name: `room_id is ${bytes} bytes of ${fill}`,
        change: (_, ground) => ({ room_id: id('!', bytes, ground, text) }),
        outcome: refused,
      },
      {
        name: `event_id is ${bytes} bytes of ${fill}`,
        change: (_, ground) => ({ event_id: id('$', bytes, ground, text) }),
        outcome: ({ eventIds }) => (eventIds === 'chosen' ? (tooLong ? 'dropped' : 'accepted') : undefined),
      },
    ];
  }),
);

/** The event with a content such that its canonical form with hash and signature is of so many bytes. */
function sized(pdu: JsonObject, ground: Ground, size: { bytes: number; fill: string }): Parts {
  const content = (text: string): JsonObject => ({ number: ground.number, pad: text });
  const hash = { sha256: 'x'.repeat(43) };
  const server = ground.sender.slice(ground.sender.indexOf(':') + 1);
  const signatures = { [server]: { 'ed25519:test': 'x'.repeat(86) } };
  const { unsigned: _, ...bare } = pdu;
  const taken = Buffer.byteLength(
    encodeCanonical({ ...bare, content: content(''), hashes: hash, signatures }),
  );
  const left = size.bytes - taken;
  const width = Buffer.byteLength(size.fill);
  return { content: content(size.fill.repeat(Math.floor(left / width)) + 'x'.repeat(left % width)) };
}

const EVENTS: readonly Shape[] = [65_535, 65_536, 65_537].flatMap((bytes) =>
  ['x', '\u{1f600}'].map(
    (fill): Shape => ({
      name: `the event is ${bytes} bytes of ${fill === 'x' ? 'ASCII' : 'characters of four bytes'}`,
      change: (pdu, ground) => sized(pdu, ground, { bytes, fill }),
      outcome: bytes > 65_536 ? 'dropped' : 'accepted',
    }),
  ),
);

function nested(levels: number): Json {
  let value: Json = [];
  for (let level = 1; level < levels; level++) value = level % 2 === 0 ? [value] : { a: value };
  return value;
}

/** The event is one level, its content another. */
const DEPTHS: readonly Shape[] = [
  ...[50, 99, 100, 101, 102, 150, 500, 900].map(
    (levels): Shape => ({
      name: `the event is nested ${levels} times`,
      change: (pdu) => ({ content: { ...contentOf(pdu), nested: nested(levels - 2) } }),
      outcome: levels > 100 ? 'dropped' : 'accepted',
    }),
  ),
  {
    name: 'unsigned is nested 150 times',
    change: () => ({ unsigned: { nested: nested(150) } }),
    outcome: 'dropped',
  },
  {
    name: 'a field of no meaning is nested 101 times',
    change: () => ({ 'org.example.nested': nested(100) }),
    outcome: 'dropped',
  },
];

const MANY: readonly Shape[] = [
  {
    name: 'content has ten thousand keys of the size of a number',
    change: (pdu) => ({
      content: { ...contentOf(pdu), ...Object.fromEntries(range(5_000).map((n) => [`${n}`, n])) },
    }),
    outcome: 'accepted',
  },
  {
    name: 'content has a list of ten thousand empty lists',
    change: (pdu) => ({ content: { ...contentOf(pdu), many: range(10_000).map((): Json => []) } }),
    outcome: 'accepted',
  },
  {
    name: 'unsigned is larger than an event may be',
    change: () => ({ unsigned: { pad: 'x'.repeat(70_000) } }),
    outcome: 'accepted',
  },
  {
    name: 'a key of the content is 60,000 bytes long',
    change: (pdu) => ({ content: { ...contentOf(pdu), ['k'.repeat(60_000)]: 1 } }),
    outcome: 'accepted',
  },
  {
    name: 'what a redaction takes away makes the event too large',
    change: (pdu) => ({ content: { ...contentOf(pdu), pad: 'x'.repeat(70_000) } }),
    outcome: 'dropped',
  },
];

function contentOf(pdu: JsonObject): JsonObject {
  return pdu.content as JsonObject;
}

function range(length: number): number[] {
  return Array.from({ length }, (_, index) => index);
}

export const SIZE_SHAPES: readonly Shape[] = [...KEYS, ...IDS, ...EVENTS, ...DEPTHS, ...MANY];
