/** What the authorisation rules need beside their numbered list, which is in `numbered/`. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { EventId } from '#keys/ids.ts';
import type { JsonObject } from '#keys/json.ts';
import { authStateOf, checkStateDependent, checkStateIndependent } from '#rooms/auth/check.ts';
import { authEventKeys } from '#rooms/auth/select.ts';
import { type Event, eventFrom, stateMapKey } from '#rooms/event.ts';
import { type RoomVersionRules, rulesOf, SUPPORTED_VERSIONS } from '#rooms/versions.ts';
import { roomOf } from '#test/harness/room-builder.ts';

const ALICE = '@alice:a.test';
const BOB = '@bob:b.test';
const VERSIONS = ['1', '3', '10', '11', '12'];
const none = new Map<EventId, Event>();

function rules(version: string): RoomVersionRules {
  const found = rulesOf(version);
  assert.ok(found);
  return found;
}

/** A create event with changed top-level keys; undefined removes a key. */
function createWith(version: string, change: Record<string, JsonObject[string] | undefined>): Event {
  const { hashes: _h, signatures: _s, ...pdu } = roomOf(ALICE, { version }).create.pdu;
  const entries = Object.entries({ ...pdu, ...change });
  const changed = Object.fromEntries(
    entries.filter((entry): entry is [string, JsonObject[string]] => entry[1] !== undefined),
  );
  return eventFrom({ ...changed, hashes: { sha256: 'x' }, signatures: {} }, rules(version));
}

function checkCreate(event: Event): string | undefined {
  const refusal =
    checkStateIndependent(event, none, undefined) ?? checkStateDependent(event, authStateOf([]));
  return refusal?.reason;
}

for (const version of VERSIONS) {
  const content = roomOf(ALICE, { version }).create.content;

  test(`v${version}: a create event with auth_events or another state key is rejected`, () => {
    assert.match(checkCreate(createWith(version, { auth_events: ['$x'] })) ?? '', /auth_events/);
    assert.match(checkCreate(createWith(version, { state_key: 'x' })) ?? '', /state key/);
    assert.match(checkCreate(createWith(version, { state_key: undefined })) ?? '', /state key/);
  });

  test(`v${version} 1.3: a create event that names another version than it was read by is rejected`, () => {
    const { room_version: _, ...unversioned } = content;
    const read = version === '1' ? [] : [unversioned];
    for (const changed of [{ ...content, room_version: '9' }, ...read]) {
      assert.match(checkCreate(createWith(version, { content: changed })) ?? '', /another room version/);
    }
  });
}

test('v11: additional_creators serves no purpose and is not validated', () => {
  const content = { room_version: '11', additional_creators: 'anything' };
  assert.equal(checkCreate(createWith('11', { content })), undefined);
});

for (const version of VERSIONS) {
  test(`v${version}: without a create event in the state nothing is allowed`, () => {
    const room = roomOf(ALICE, { version });
    const message = room.draft(ALICE, { type: 'm.room.message' });
    const state = authStateOf([...room.stateMap.values()].filter(({ type }) => type !== 'm.room.create'));
    assert.match(checkStateDependent(message, state)?.reason ?? '', /no create event/);
  });

  test(`v${version}: an event whose auth event is not known is refused`, () => {
    const room = roomOf(ALICE, { version });
    const event = room.draft(ALICE, { type: 'm.room.message' });
    const known = new Map([...room.events].slice(0, -3));
    assert.match(checkStateIndependent(event, known, room.create)?.reason ?? '', /not known/);
  });
}

test('the rules look at nothing of the state but the create event and what the selection names', () => {
  // State resolution loads just that.
  const member = (membership: string, more: JsonObject = {}) => ({
    ...{ type: 'm.room.member', state_key: BOB, content: { membership, ...more } },
  });
  const thirdParty = { third_party_invite: { signed: { mxid: BOB, token: 'tok' } } };
  const authorised = { join_authorised_via_users_server: ALICE };
  const kinds = [
    ...['join', 'invite', 'leave', 'ban', 'knock', 'unknown'].map((membership) => member(membership)),
    ...[member('invite', thirdParty), member('join', authorised)],
    ...[{ type: 'm.x' }, { type: 'm.room.redaction' }, { type: 'm.room.aliases', state_key: 'a.test' }],
    ...[
      { type: 'm.room.power_levels', state_key: '' },
      { type: 'm.room.third_party_invite', state_key: 'x' },
    ],
  ];
  for (const version of SUPPORTED_VERSIONS) {
    for (const join_rule of ['public', 'restricted', 'knock']) {
      const room = roomOf(ALICE, { version, members: [BOB], join_rule });
      for (const kind of kinds) {
        for (const sender of [ALICE, BOB] as const) {
          const event = room.draft(sender, kind);
          const names = authEventKeys(event, event.rules).map((key) => stateMapKey(key.type, key.stateKey));
          const selected = new Set([stateMapKey('m.room.create', ''), ...names]);
          const look = (type: string, stateKey: string) => {
            assert.ok(
              selected.has(stateMapKey(type, stateKey)),
              `v${version} ${event.json}: ${type} ${stateKey}`,
            );
            return room.get(type, stateKey);
          };
          checkStateDependent(event, { get: look });
        }
      }
    }
  }
});

test('auth event selection: what each kind of event names', () => {
  const names = (event: Parameters<typeof authEventKeys>[0], version: string) =>
    authEventKeys(event, rules(version)).map(
      ({ type, stateKey }) => `${type.replace('m.room.', '')}|${stateKey}`,
    );
  const member = (membership: string, more: JsonObject = {}) => ({
    type: 'm.room.member',
    sender: ALICE,
    stateKey: BOB,
    content: { membership, ...more },
  });
  const base = ['create|', 'power_levels|', `member|${ALICE}`];
  assert.deepEqual(names({ type: 'm.room.create', sender: ALICE, stateKey: '', content: {} }, '11'), []);
  assert.deepEqual(names({ type: 'm.room.message', sender: ALICE, content: {} }, '11'), base);
  assert.deepEqual(names({ type: 'm.room.message', sender: ALICE, content: {} }, '12'), base.slice(1));
  assert.deepEqual(names(member('leave'), '11'), [...base, `member|${BOB}`]);
  assert.deepEqual(names(member('ban'), '11'), [...base, `member|${BOB}`]);
  for (const membership of ['join', 'invite', 'knock']) {
    assert.deepEqual(names(member(membership), '11'), [...base, `member|${BOB}`, 'join_rules|']);
  }
  const signed = { third_party_invite: { signed: { token: 'tok' } } };
  assert.deepEqual(names(member('invite', signed), '11').at(-1), 'third_party_invite|tok');
  assert.equal(names(member('join', signed), '11').includes('third_party_invite|tok'), false);
  const authorised = { join_authorised_via_users_server: '@carol:c.test' };
  assert.deepEqual(names(member('join', authorised), '11').at(-1), 'member|@carol:c.test');
  assert.equal(names(member('join', authorised), '7').includes('member|@carol:c.test'), false);
  assert.equal(names(member('invite', authorised), '11').includes('member|@carol:c.test'), false);
  const self = { type: 'm.room.member', sender: ALICE, stateKey: ALICE, content: { membership: 'join' } };
  assert.deepEqual(names(self, '11'), [...base, 'join_rules|']);
});
