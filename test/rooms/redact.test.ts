import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodeCanonical } from '#keys/canonical-json.ts';
import type { JsonObject } from '#keys/json.ts';
import { eventIdOf } from '#rooms/hashes.ts';
import { redact } from '#rooms/redact.ts';
import { type RoomVersionRules, rulesOf } from '#rooms/versions.ts';
import { fc } from '#test/harness/rounds.ts';

function rules(version: string): RoomVersionRules {
  const found = rulesOf(version);
  assert.ok(found);
  return found;
}

/** Every key that any version keeps at the top level, and one that none does. */
const EVERY_KEY: JsonObject = {
  event_id: '$e',
  type: 'm.x',
  room_id: '!r:x',
  sender: '@u:x',
  state_key: '',
  content: {},
  hashes: {},
  signatures: {},
  depth: 1,
  prev_events: [],
  prev_state: [],
  auth_events: [],
  origin: 'x',
  origin_server_ts: 1,
  membership: 'join',
  redacts: '$r',
  unsigned: {},
  other: 1,
};

const V10_KEYS = [
  'auth_events',
  'content',
  'depth',
  'event_id',
  'hashes',
  'membership',
  'origin',
  'origin_server_ts',
  'prev_events',
  'prev_state',
  'room_id',
  'sender',
  'signatures',
  'state_key',
  'type',
];
const V11_KEYS = V10_KEYS.filter((key) => !['membership', 'origin', 'prev_state'].includes(key));

for (const [version, keys] of [
  ['10', V10_KEYS],
  ['11', V11_KEYS],
  ['12', V11_KEYS],
] as const) {
  test(`v${version}: the top-level keys that a redaction keeps`, () => {
    assert.deepEqual(Object.keys(redact(EVERY_KEY, rules(version))).sort(), keys);
  });
}

const POWER_KEYS = [
  'ban',
  'events',
  'events_default',
  'kick',
  'redact',
  'state_default',
  'users',
  'users_default',
];

/** By type: the content keys that versions 10, 11 and 12 keep, of a content with all of `offered`. */
const KEPT_CONTENT: readonly {
  type: string;
  offered: readonly string[];
  v10: readonly string[];
  v11: readonly string[];
}[] = [
  {
    type: 'm.room.member',
    offered: ['membership', 'join_authorised_via_users_server', 'displayname', 'avatar_url', 'reason'],
    v10: ['membership', 'join_authorised_via_users_server'],
    v11: ['membership', 'join_authorised_via_users_server'],
  },
  {
    type: 'm.room.create',
    offered: ['creator', 'room_version', 'm.federate', 'type', 'predecessor', 'additional_creators'],
    v10: ['creator'],
    v11: ['creator', 'room_version', 'm.federate', 'type', 'predecessor', 'additional_creators'],
  },
  {
    type: 'm.room.join_rules',
    offered: ['join_rule', 'allow', 'other'],
    v10: ['join_rule', 'allow'],
    v11: ['join_rule', 'allow'],
  },
  {
    type: 'm.room.power_levels',
    offered: [...POWER_KEYS, 'invite', 'notifications', 'historical'],
    v10: POWER_KEYS,
    v11: [...POWER_KEYS, 'invite'],
  },
  {
    type: 'm.room.history_visibility',
    offered: ['history_visibility', 'other'],
    v10: ['history_visibility'],
    v11: ['history_visibility'],
  },
  { type: 'm.room.redaction', offered: ['redacts', 'reason'], v10: [], v11: ['redacts'] },
  { type: 'm.room.aliases', offered: ['aliases'], v10: [], v11: [] },
  { type: 'm.room.third_party_invite', offered: ['public_key', 'public_keys'], v10: [], v11: [] },
  { type: 'm.room.message', offered: ['body', 'msgtype', 'membership', 'redacts'], v10: [], v11: [] },
  { type: 'm.room.server_acl', offered: ['allow', 'deny'], v10: [], v11: [] },
];

for (const { type, offered, v10, v11 } of KEPT_CONTENT) {
  for (const [version, kept] of [
    ['10', v10],
    ['11', v11],
    ['12', v11],
  ] as const) {
    test(`v${version}: what a redaction keeps of ${type}`, () => {
      const content = Object.fromEntries(offered.map((key) => [key, { value: key }]));
      const redacted = redact({ type, content }, rules(version));
      assert.deepEqual(redacted, {
        type,
        content: Object.fromEntries(kept.map((key) => [key, { value: key }])),
      });
    });
  }
}

test('v11: of third_party_invite only the signed key is kept', () => {
  const signed = { mxid: '@a:x', token: 't' };
  const member = (invite: JsonObject) => ({
    type: 'm.room.member',
    content: { membership: 'invite', third_party_invite: invite },
  });
  const content = { membership: 'invite', third_party_invite: { signed } };
  for (const version of ['11', '12']) {
    const redacted = redact(member({ display_name: 'a', signed }), rules(version));
    assert.deepEqual(redacted.content, content);
  }
  const v10 = redact(member({ display_name: 'a', signed }), rules('10'));
  assert.deepEqual(v10.content, { membership: 'invite' });
});

test('redaction takes keys of the event only, never of the prototype', () => {
  const pdu = JSON.parse('{"type":"constructor","content":{"__proto__":{"membership":"join"}}}');
  assert.deepEqual(redact(pdu, rules('11')), { type: 'constructor', content: {} });
  const create = JSON.parse('{"type":"m.room.create","content":{"__proto__":{"x":1}}}');
  assert.equal(encodeCanonical(redact(create, rules('11'))), encodeCanonical(create));
});

const types = [...KEPT_CONTENT.map(({ type }) => type), 'm.x'];
const contents = fc.dictionary(
  fc.oneof(fc.constantFrom(...KEPT_CONTENT.flatMap(({ offered }) => offered)), fc.string()),
  fc
    .jsonValue({ maxDepth: 2, noUnicodeString: false })
    .filter((value) => !JSON.stringify(value).includes('.')),
);
const pdus = fc
  .record({
    type: fc.constantFrom(...types),
    content: contents,
    room_id: fc.constant('!r:x'),
    sender: fc.constant('@u:x'),
    depth: fc.nat(),
    hashes: fc.constant({ sha256: 'aGFzaA' }),
    unsigned: fc.constant({ age: 1 }),
    other: fc.string(),
    origin: fc.string(),
  })
  .map((pdu): JsonObject => JSON.parse(JSON.stringify(pdu)));

for (const version of ['1', '6', '8', '9', '10', '11', '12']) {
  test(`v${version}: redaction is idempotent, changes no id and leaves its argument alone`, () => {
    fc.assert(
      fc.property(pdus, (pdu) => {
        const before = encodeCanonical(pdu);
        const once = redact(pdu, rules(version));
        assert.deepEqual(redact(once, rules(version)), once);
        assert.equal(encodeCanonical(pdu), before);
        if (version !== '1') assert.equal(eventIdOf(once, rules(version)), eventIdOf(pdu, rules(version)));
      }),
    );
  });
}
