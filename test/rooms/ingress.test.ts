import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodeCanonical } from '#keys/canonical-json.ts';
import type { JsonObject } from '#keys/json.ts';
import { checkIngress, type Ingress } from '#rooms/ingress.ts';
import { signEvent } from '#rooms/sign-event.ts';
import { rulesOf, SUPPORTED_VERSIONS } from '#rooms/versions.ts';
import { keyPairOf, roomOf } from '#test/harness/room-builder.ts';
import { openRooms } from '#test/harness/rooms.ts';

const eve = '@eve:elsewhere.test';

/** The verdict on a text, with the keys of elsewhere.test in memory, and the reason of a drop. */
async function judged(text: string, version = '12'): Promise<Ingress> {
  await using server = await openRooms();
  const rules = rulesOf(version);
  assert.ok(rules);
  const keyId = keyPairOf('elsewhere.test').keyId;
  await server.ctx.keyRing.ensure([{ server: 'elsewhere.test', keyId, atTs: 1 }]);
  return checkIngress(server.ctx, rules, text);
}

function message(content: JsonObject = { body: 'hello' }, pdu: Record<string, JsonObject[string]> = {}) {
  return roomOf(eve).draft(eve, { type: 'm.room.message', content, pdu });
}

function signed(pdu: JsonObject, server = 'elsewhere.test'): string {
  const rules = rulesOf('12');
  assert.ok(rules);
  return encodeCanonical(signEvent(pdu, rules, server, keyPairOf(server)));
}

test('a valid event is verified, whatever the order of its keys and its white space', async () => {
  const event = message();
  const reversed = Object.fromEntries(Object.entries(event.pdu).reverse());
  const checked = await judged(JSON.stringify(reversed, null, 2));
  assert.ok(checked.kind === 'verified');
  assert.equal(checked.redacted, false);
  assert.equal(checked.event.eventId, event.eventId);
  assert.equal(checked.event.json, event.json);
});

test('unsigned is dropped, and does not count', async () => {
  const event = message();
  const checked = await judged(
    JSON.stringify({ ...event.pdu, unsigned: { age: 1, prev_content: { x: 1 } } }),
  );
  assert.ok(checked.kind === 'verified');
  assert.equal(checked.event.json, event.json);
  assert.equal('unsigned' in checked.event.pdu, false);
});

const text = message().json;
const malformed: Readonly<Record<string, string>> = {
  'not JSON': '{',
  'not an object': '[]',
  'a duplicate key': text.replace('{', '{"type":"m.room.name",'),
  'a fraction': text.replace('"depth":5', '"depth":5.0'),
  'an exponent': text.replace('"depth":5', '"depth":5e0'),
  'a number too large': text.replace('"depth":5', '"depth":9007199254740992'),
  'a negative zero': text.replace('"depth":5', '"depth":-0'),
  'a negative depth': text.replace('"depth":5', '"depth":-1'),
  'a lone surrogate': text.replace('hello', '\\ud800'),
  'nested too deeply': signed({ ...message().pdu, content: { deep: deep(101) } }),
  'no sender': signed(without(message().pdu, 'sender')),
  'a sender of another type': signed({ ...message().pdu, sender: 5 }),
  'content of another type': signed({ ...message().pdu, content: [] }),
  'prev_events of another type': signed({ ...message().pdu, prev_events: {} }),
  'more than 20 prev_events': signed({ ...message().pdu, prev_events: Array(21).fill('$x') }),
  'more than 10 auth_events': signed({ ...message().pdu, auth_events: Array(11).fill('$x') }),
  'an oversized event': signed({ ...message().pdu, content: { body: 'x'.repeat(65_000) + 'y'.repeat(600) } }),
  'an oversized type': signed({ ...message().pdu, type: 'x'.repeat(256) }),
};

for (const [name, broken] of Object.entries(malformed)) {
  test(`check 1: dropped for its format: ${name}`, async () => {
    const checked = await judged(broken);
    assert.equal(checked.kind, 'dropped');
    assert.ok(checked.kind === 'dropped' && checked.eventId === undefined);
  });
}

test('check 1: the samples of a wrong format differ from the valid text', () => {
  for (const [name, broken] of Object.entries(malformed)) assert.notEqual(broken, text, name);
});

test('check 2: an event without signatures is dropped', async () => {
  const checked = await judged(encodeCanonical({ ...message().pdu, signatures: {} }));
  assert.ok(checked.kind === 'dropped');
  assert.match(checked.reason, /not signed by elsewhere\.test/);
});

test('check 2: an event signed by another server than that of its sender is dropped', async () => {
  const { signatures: _, hashes: __, ...pdu } = message().pdu;
  const checked = await judged(signed(pdu, 'other.test'));
  assert.equal(checked.kind, 'dropped');
});

test('check 2: an event whose redacted form was changed after signing is dropped', async () => {
  const checked = await judged(encodeCanonical({ ...message().pdu, depth: 1_000 }));
  assert.equal(checked.kind, 'dropped');
});

test('check 2: an event in the name of our own user, signed by its sender, is dropped', async () => {
  const pdu = roomOf('@alice:here.test').draft('@alice:here.test', { type: 'm.room.message' }).pdu;
  const { signatures: _, hashes: __, ...bare } = pdu;
  const checked = await judged(signed(bare));
  assert.equal(checked.kind, 'dropped');
});

test('check 2: keys that are not in memory are asked for', async () => {
  await using server = await openRooms();
  const event = message();
  const checked = await checkIngress(server.ctx, event.rules, event.json);
  assert.ok(checked.kind === 'missing_keys');
  const { keyId } = keyPairOf('elsewhere.test');
  const atTs = event.originServerTs;
  assert.deepEqual(checked.keys, [{ server: 'elsewhere.test', keyId, atTs }]);
  assert.equal(checked.eventId, event.eventId);
});

test('v5: a key counts only while it was valid at origin_server_ts', async () => {
  const late = roomOf(eve).draft(eve, { type: 'm.room.message', origin_server_ts: 1_800_000_000_000 });
  const checked = await judged(late.json);
  assert.equal(checked.kind, 'missing_keys');
});

test('check 3: of an event whose content hash is wrong the redacted form counts, with the same id', async () => {
  const event = message();
  const checked = await judged(encodeCanonical({ ...event.pdu, content: { body: 'forged' } }));
  assert.ok(checked.kind === 'verified');
  assert.equal(checked.redacted, true);
  assert.equal(checked.event.eventId, event.eventId);
  assert.deepEqual(checked.event.content, {});
  assert.equal(checked.event.json.includes('forged'), false);
});

test('a key __proto__ in the content is kept, and counts for the hash', async () => {
  const content: JsonObject = JSON.parse('{"__proto__":{"x":1},"constructor":2,"body":"hello"}');
  const event = message(content);
  const checked = await judged(event.json);
  assert.ok(checked.kind === 'verified');
  assert.equal(checked.redacted, false);
  assert.ok(checked.event.json.includes('"__proto__":{"x":1}'));
  const changed = await judged(event.json.replace('"__proto__":{"x":1}', '"__proto__":{"x":2}'));
  assert.ok(changed.kind === 'verified' && changed.redacted);
});

function deep(levels: number): JsonObject {
  return levels === 0 ? {} : { a: deep(levels - 1) };
}

function without(pdu: JsonObject, key: string): JsonObject {
  return Object.fromEntries(Object.entries(pdu).filter(([name]) => name !== key));
}

for (const version of SUPPORTED_VERSIONS) {
  const counts = Number(version) < 5;
  const title = counts ? 'counts all the same' : 'does not count';
  test(`v${version}: a signature by a key that was not valid at the time of the event ${title}`, async () => {
    const room = roomOf(eve, { version });
    const event = (origin_server_ts: number) => room.draft(eve, { type: 'm.x', origin_server_ts }).json;
    const inTime = 1_700_000_500_000;
    assert.equal((await judged(event(inTime), version)).kind, 'verified');
    // The keys of this test are valid for a day.
    const late = await judged(event(inTime + 48 * 60 * 60_000), version);
    assert.equal(late.kind, counts ? 'verified' : 'missing_keys');
  });
}
