import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { EventId, UserId } from '#keys/ids.ts';
import type { JsonObject } from '#keys/json.ts';
import { buildByTemplate, buildEvent, buildGenerically, canonicalContent } from '#rooms/build-event.ts';
import { checkFormat } from '#rooms/format.ts';
import { checkIngress } from '#rooms/ingress.ts';
import { rulesOf } from '#rooms/versions.ts';
import { openRooms } from '#test/harness/rooms.ts';
import { fc } from '#test/harness/rounds.ts';

const types = [
  'm.room.message',
  'm.room.encrypted',
  'm.room.member',
  'm.room.power_levels',
  'm.room.join_rules',
  'm.room.redaction',
  'm.room.history_visibility',
  'org.example "quoted" \u00e9\ud83d\ude00\u007f\u0001',
];
const key = fc.oneof(
  fc.string({ unit: 'grapheme' }),
  fc.constantFrom(
    'membership',
    'users',
    'join_rule',
    'ban',
    '10',
    '2',
    '__proto__',
    'constructor',
    '\uffff',
    '\u{10000}',
  ),
);
const value = fc.letrec((tie) => ({
  json: fc.oneof(
    { depthSize: 'small' },
    fc.string({ unit: 'grapheme' }),
    fc.maxSafeInteger(),
    fc.boolean(),
    fc.constant(null),
    fc.array(tie('json'), { maxLength: 4 }),
    fc.array(fc.tuple(key, tie('json')), { maxLength: 5 }).map((entries) => Object.fromEntries(entries)),
  ),
})).json;
const content = fc
  .array(fc.tuple(key, value), { maxLength: 6 })
  .map((entries) => Object.fromEntries(entries));
const eventId = fc
  .uint8Array({ minLength: 32, maxLength: 32 })
  .map((bytes): EventId => `$${Buffer.from(bytes).toString('base64url')}`);
const parts = fc.record({
  version: fc.constantFrom('4', '5', '6', '7', '8', '9', '10', '11', '12'),
  type: fc.constantFrom(...types),
  stateKey: fc.option(fc.oneof(fc.constant(''), fc.string({ unit: 'grapheme', maxLength: 20 })), {
    nil: undefined,
  }),
  content,
  prevEvents: fc.array(eventId, { maxLength: 20 }),
  authEvents: fc.array(eventId, { maxLength: 10 }),
  depth: fc.nat(),
  originServerTs: fc.maxSafeInteger(),
});

test('the template gives byte for byte what the general algorithms give', async () => {
  await using server = await openRooms();
  const { ctx } = server;
  fc.assert(
    fc.property(parts, ({ version, ...rest }) => {
      const rules = rulesOf(version);
      const canonical = canonicalContent(rest.content as JsonObject);
      assert.ok(rules && canonical);
      const sender: UserId = '@alice:here.test';
      const whole = { ...rest, content: canonical.value, rules, sender, roomId: '!room:here.test' } as const;
      const fast = buildByTemplate(ctx, whole, canonical);
      const slow = buildGenerically(ctx, whole);
      assert.ok(fast.kind === 'ok' && slow.kind === 'ok');
      assert.equal(fast.event.json, slow.event.json);
      assert.deepEqual(fast.event, slow.event);
      assert.equal(checkFormat(fast.event.pdu, rules), undefined);
    }),
    { numRuns: 300 },
  );
});

test('what we build passes our own ingress', async () => {
  await using server = await openRooms();
  const { ctx } = server;
  await fc.assert(
    fc.asyncProperty(parts, async ({ version, ...rest }) => {
      const rules = rulesOf(version);
      assert.ok(rules);
      // A restricted join needs the signature of the authorising user's server too.
      const content = { ...rest.content } as JsonObject;
      const built = buildEvent(ctx, {
        ...rest,
        content,
        rules,
        sender: '@alice:here.test',
        roomId: '!room:here.test',
      });
      assert.ok(built.kind === 'ok');
      const checked = await checkIngress(ctx, rules, built.event.json);
      assert.equal(checked.kind, 'verified');
      assert.ok(checked.kind === 'verified');
      assert.equal(checked.redacted, false);
      assert.deepEqual(checked.event, built.event);
    }),
    { numRuns: 100 },
  );
});

test('size limits: an event of 65,536 bytes is built, one of 65,537 is not', async () => {
  await using server = await openRooms();
  const rules = rulesOf('12');
  assert.ok(rules);
  const build = (length: number) =>
    buildEvent(server.ctx, {
      rules,
      roomId: '!room:here.test',
      sender: '@alice:here.test',
      type: 'm.room.message',
      content: { body: 'x'.repeat(length) },
      prevEvents: [],
      authEvents: [],
      depth: 1,
      originServerTs: 1,
    });
  const empty = build(0);
  assert.ok(empty.kind === 'ok');
  const room = 65_536 - Buffer.byteLength(empty.event.json);
  assert.equal(build(room).kind, 'ok');
  assert.equal(build(room + 1).kind, 'invalid');
});
