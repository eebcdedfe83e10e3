import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodeCanonical } from '#keys/canonical-json.ts';
import type { Json, JsonObject } from '#keys/json.ts';
import { checkFormat, MAX_PDU_BYTES } from '#rooms/format.ts';
import { type RoomVersionRules, rulesOf, SUPPORTED_VERSIONS } from '#rooms/versions.ts';

function rules(version: string): RoomVersionRules {
  const found = rulesOf(version);
  assert.ok(found);
  return found;
}

const V12_ROOM = `!${'a'.repeat(43)}`;
const MESSAGE: JsonObject = {
  type: 'm.room.message',
  room_id: V12_ROOM,
  sender: '@alice:a.test',
  content: { body: 'hello' },
  depth: 5,
  origin_server_ts: 1,
  prev_events: ['$p'],
  auth_events: ['$a'],
  hashes: { sha256: 'aGFzaA' },
  signatures: { 'a.test': { 'ed25519:1': 'c2ln' } },
};

function without(key: string): JsonObject {
  return Object.fromEntries(Object.entries(MESSAGE).filter(([name]) => name !== key));
}

function verdict(change: Record<string, Json>, version = '12'): string | undefined {
  return checkFormat({ ...MESSAGE, ...change }, rules(version));
}

for (const version of SUPPORTED_VERSIONS) {
  test(`v${version}: a well-formed message passes, and one with references of the other kind does not`, () => {
    const references = {
      ids: { prev_events: ['$p'], auth_events: ['$a'] },
      pairs: {
        prev_events: [['$p:a.test', { sha256: 'aGFzaA' }]],
        auth_events: [['$a:a.test', { sha256: 'aGFzaA' }]],
      },
    };
    const room_id = version === '12' ? V12_ROOM : '!r:a.test';
    const [own, other] = Number(version) < 3 ? (['pairs', 'ids'] as const) : (['ids', 'pairs'] as const);
    const message = { room_id, event_id: '$x:a.test', ...references[own] };
    assert.equal(verdict(message, version), undefined);
    assert.equal(verdict({ ...message, state_key: '', unsigned: { age: 5 } }, version), undefined);
    assert.match(verdict({ ...message, ...references[other] }, version) ?? '', /list of event references/);
  });
}

for (const key of [
  'type',
  'room_id',
  'sender',
  'content',
  'depth',
  'origin_server_ts',
  'prev_events',
  'auth_events',
  'hashes',
  'signatures',
]) {
  test(`an event without ${key} is malformed`, () => {
    for (const version of ['10', '11', '12'])
      assert.notEqual(checkFormat(without(key), rules(version)), undefined);
  });

  test(`an event whose ${key} is of another type is malformed`, () => {
    for (const value of [null, true, 1.5, 'text', [1], { x: 1 }] as const) {
      // Each key has its own type; these stand for all the others.
      if (key === 'type' && typeof value === 'string') continue;
      if (key === 'content' && typeof value === 'object' && value !== null && !Array.isArray(value)) continue;
      assert.notEqual(verdict({ [key]: value }), undefined, `${key}: ${JSON.stringify(value)}`);
    }
  });
}

test('what is not an object is no event', () => {
  for (const value of [null, true, 1, 'x', []] as const) {
    assert.notEqual(checkFormat(value, rules('12')), undefined);
  }
});

test('v12: only the create event may lack a room_id', () => {
  const create = { ...without('room_id'), type: 'm.room.create', state_key: '' };
  assert.equal(checkFormat(create, rules('12')), undefined);
  assert.notEqual(checkFormat(create, rules('11')), undefined);
  assert.notEqual(checkFormat(without('room_id'), rules('12')), undefined);
  // One that has a room_id is well formed; rule 1.2 rejects it.
  assert.equal(checkFormat({ ...create, room_id: V12_ROOM }, rules('12')), undefined);
});

test('an event has at most 65536 bytes: 65535 and 65536 pass, 65537 does not', () => {
  const empty = Buffer.byteLength(encodeCanonical({ ...MESSAGE, content: { body: '' } }));
  const sized = (bytes: number) => verdict({ content: { body: 'x'.repeat(bytes - empty) } });
  assert.equal(sized(MAX_PDU_BYTES - 1), undefined);
  assert.equal(sized(MAX_PDU_BYTES), undefined);
  assert.notEqual(sized(MAX_PDU_BYTES + 1), undefined);
});

test('the size of an event is counted in bytes, not in characters', () => {
  const empty = Buffer.byteLength(encodeCanonical({ ...MESSAGE, content: { body: '' } }));
  const characters = Math.floor((MAX_PDU_BYTES - empty) / 2);
  assert.equal(verdict({ content: { body: 'ü'.repeat(characters) } }), undefined);
  assert.notEqual(verdict({ content: { body: 'ü'.repeat(characters + 1) } }), undefined);
});

test('unsigned does not count for the size of an event', () => {
  assert.equal(verdict({ unsigned: { note: 'x'.repeat(MAX_PDU_BYTES) } }), undefined);
});

for (const key of ['type', 'state_key']) {
  test(`${key} has at most 255 bytes: 254 and 255 pass, 256 do not`, () => {
    assert.equal(verdict({ [key]: 'x'.repeat(254) }), undefined);
    assert.equal(verdict({ [key]: 'x'.repeat(255) }), undefined);
    assert.notEqual(verdict({ [key]: 'x'.repeat(256) }), undefined);
    assert.notEqual(verdict({ [key]: 'ü'.repeat(128) }), undefined);
  });

  test(`${key} of other servers has at most 255 characters before version 11, where others have let in more bytes`, () => {
    assert.equal(verdict({ [key]: '💥'.repeat(255) }, '10'), undefined);
    assert.notEqual(verdict({ [key]: '💥'.repeat(256) }, '10'), undefined);
    assert.notEqual(verdict({ [key]: '💥'.repeat(64) }, '11'), undefined);
  });
}

test('sender has at most 255 bytes: 254 and 255 pass, 256 do not', () => {
  const sender = (bytes: number) => `@${'x'.repeat(bytes - '@:a.test'.length)}:a.test`;
  assert.equal(verdict({ sender: sender(254) }), undefined);
  assert.equal(verdict({ sender: sender(255) }), undefined);
  assert.notEqual(verdict({ sender: sender(256) }), undefined);
});

test('room_id has at most 255 bytes: 254 and 255 pass, 256 do not', () => {
  const room = (bytes: number) => `!${'x'.repeat(bytes - '!:a.test'.length)}:a.test`;
  assert.equal(verdict({ room_id: room(254) }, '11'), undefined);
  assert.equal(verdict({ room_id: room(255) }, '11'), undefined);
  assert.notEqual(verdict({ room_id: room(256) }, '11'), undefined);
});

for (const [key, most] of [
  ['prev_events', 20],
  ['auth_events', 10],
] as const) {
  test(`${key} names at most ${most} events: ${most - 1} and ${most} pass, ${most + 1} do not`, () => {
    const ids = (count: number) => Array.from({ length: count }, (_, index) => `$event${index}`);
    assert.equal(verdict({ [key]: ids(most - 1) }), undefined);
    assert.equal(verdict({ [key]: ids(most) }), undefined);
    assert.notEqual(verdict({ [key]: ids(most + 1) }), undefined);
  });

  test(`${key} is a list of event ids`, () => {
    for (const item of [null, 1, 'no sigil', '!r:x', ['$e', {}], {}] as const) {
      assert.notEqual(verdict({ [key]: [item] }), undefined, JSON.stringify(item));
    }
  });
}

test('v1: prev_events and auth_events are pairs of id and hashes, and there is an event_id', () => {
  const pairs = {
    room_id: '!r:a.test',
    event_id: '$e:a.test',
    prev_events: [['$p:a.test', { sha256: 'x' }]],
    auth_events: [],
  };
  assert.equal(verdict(pairs, '1'), undefined);
  assert.notEqual(verdict({ ...pairs, prev_events: ['$p:a.test'] }, '1'), undefined);
  assert.notEqual(verdict({ ...pairs, event_id: 'x' }, '1'), undefined);
  assert.notEqual(verdict(pairs, '3'), undefined);
});

test('depth is an integer from 0 to 2^53 - 1', () => {
  assert.equal(verdict({ depth: 0 }), undefined);
  assert.equal(verdict({ depth: Number.MAX_SAFE_INTEGER }), undefined);
  assert.notEqual(verdict({ depth: -1 }), undefined);
  assert.notEqual(verdict({ depth: Number.MAX_SAFE_INTEGER + 1 }), undefined);
  assert.notEqual(verdict({ depth: '5' }), undefined);
});

test('hashes has a sha256, and signatures are strings by server and key', () => {
  assert.notEqual(verdict({ hashes: {} }), undefined);
  assert.notEqual(verdict({ hashes: { sha256: 1 } }), undefined);
  assert.notEqual(verdict({ signatures: { 'a.test': 'x' } }), undefined);
  assert.notEqual(verdict({ signatures: { 'a.test': { 'ed25519:1': 1 } } }), undefined);
  assert.equal(verdict({ signatures: {} }), undefined);
});

test('v10: redacts is a string where there is one; from version 11 the top level has none', () => {
  assert.equal(verdict({ room_id: '!r:a.test', redacts: '$x' }, '10'), undefined);
  assert.notEqual(verdict({ room_id: '!r:a.test', redacts: 5 }, '10'), undefined);
  assert.equal(verdict({ redacts: 5 }, '12'), undefined);
});

test('keys of the prototype do not stand in for keys of the event', () => {
  const { type: _, ...rest } = MESSAGE;
  const pdu = JSON.parse(JSON.stringify(rest).replace('{', '{"__proto__":{"type":"m.room.message"},'));
  assert.notEqual(checkFormat(pdu, rules('12')), undefined);
});
