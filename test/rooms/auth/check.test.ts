/** The rules outside of membership and power levels. Numbers are those of the version that a name begins with. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { EventId, UserId } from '#keys/ids.ts';
import type { JsonObject } from '#keys/json.ts';
import { authStateOf, checkStateDependent, checkStateIndependent } from '#rooms/auth/check.ts';
import { authEventKeys } from '#rooms/auth/select.ts';
import { type Event, eventFrom } from '#rooms/event.ts';
import { type RoomVersionRules, rulesOf } from '#rooms/versions.ts';
import { roomOf } from '#test/harness/room-builder.ts';

const ALICE = '@alice:a.test';
const BOB = '@bob:b.test';
const VERSIONS = ['10', '11', '12'];
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

  test(`v${version} 1: a create event that breaks no rule is allowed`, () => {
    assert.equal(checkCreate(createWith(version, {})), undefined);
  });

  test(`v${version} 1.1: a create event with prev_events is rejected`, () => {
    assert.match(checkCreate(createWith(version, { prev_events: ['$x'] })) ?? '', /prev_events/);
  });

  test(`v${version}: a create event with auth_events or another state key is rejected`, () => {
    assert.match(checkCreate(createWith(version, { auth_events: ['$x'] })) ?? '', /auth_events/);
    assert.match(checkCreate(createWith(version, { state_key: 'x' })) ?? '', /state key/);
    assert.match(checkCreate(createWith(version, { state_key: undefined })) ?? '', /state key/);
  });

  test(`v${version} 1.3: a create event of a version that is not recognised is rejected`, () => {
    for (const room_version of ['x', '13', '', 12, null, '__proto__']) {
      const event = createWith(version, { content: { ...content, room_version } });
      assert.match(checkCreate(event) ?? '', /not a recognised one/, JSON.stringify(room_version));
    }
  });

  test(`v${version} 1.3: a create event that names another version than it was read by is rejected`, () => {
    const { room_version: _, ...unversioned } = content;
    for (const changed of [{ ...content, room_version: '9' }, unversioned]) {
      assert.match(checkCreate(createWith(version, { content: changed })) ?? '', /another room version/);
    }
  });
}

for (const version of ['10', '11']) {
  test(`v${version} 1.2: a create event whose room id is of another server than the sender is rejected`, () => {
    assert.match(checkCreate(createWith(version, { room_id: '!r:b.test' })) ?? '', /room id/);
    assert.match(checkCreate(createWith(version, { room_id: `!${'a'.repeat(43)}` })) ?? '', /room id/);
  });
}

test('v10 1.4: a create event without creator is rejected; v11 has none', () => {
  assert.match(checkCreate(createWith('10', { content: { room_version: '10' } })) ?? '', /creator/);
  assert.equal(checkCreate(createWith('11', { content: { room_version: '11' } })), undefined);
});

test('v12 1.2: a create event with room_id is rejected', () => {
  assert.match(checkCreate(createWith('12', { room_id: '!r:a.test' })) ?? '', /room_id/);
});

test('v12 1.4: additional_creators that is not a list of user ids is rejected', () => {
  const base = { room_version: '12' };
  const long = `@${'x'.repeat(250)}:a.test`;
  for (const additional_creators of [
    {},
    BOB,
    null,
    1,
    [1],
    [null],
    ['bob'],
    [BOB, '@nobody'],
    [long],
    ['@a:b:c:d'],
  ]) {
    const event = createWith('12', { content: { ...base, additional_creators } });
    assert.match(checkCreate(event) ?? '', /additional_creators/, JSON.stringify(additional_creators));
  }
  for (const additional_creators of [[], [BOB], [BOB, BOB, ALICE], ['@Grüße:a.test']]) {
    const event = createWith('12', { content: { ...base, additional_creators } });
    assert.equal(checkCreate(event), undefined, JSON.stringify(additional_creators));
  }
});

test('v11: additional_creators serves no purpose and is not validated', () => {
  const content = { room_version: '11', additional_creators: 'anything' };
  assert.equal(checkCreate(createWith('11', { content })), undefined);
});

test('v12 2: an event whose room id is not that of an accepted create event is rejected', () => {
  const room = roomOf(ALICE, { version: '12' });
  const other = roomOf(ALICE, { version: '12', create: { type: 'm.space' } });
  const message = room.draft(ALICE, { type: 'm.room.message' });
  const authEvents = new Map(room.events);
  assert.equal(checkStateIndependent(message, authEvents, room.create), undefined);
  assert.match(checkStateIndependent(message, authEvents, undefined)?.reason ?? '', /create event/);
  assert.match(checkStateIndependent(message, authEvents, other.create)?.reason ?? '', /create event/);
  const notCreate = { ...room.last, eventId: room.create.eventId };
  assert.match(checkStateIndependent(message, authEvents, notCreate)?.reason ?? '', /create event/);
});

for (const version of VERSIONS) {
  const first = version === '12' ? 3 : 2;
  const room = roomOf(ALICE, { version, members: [BOB] });
  const usual = room.draft(ALICE, { type: 'm.room.message' }).authEvents;
  const withAuth = (auth_events: readonly EventId[]) =>
    room.draft(ALICE, { type: 'm.room.message', auth_events });

  test(`v${version} ${first}: the selected auth events are allowed`, () => {
    assert.equal(room.check(withAuth(usual)), undefined);
  });

  test(`v${version} ${first}.1: two auth events for one type and state key are rejected`, () => {
    const member = room.get('m.room.member', ALICE)?.eventId ?? '$';
    assert.match(room.check(withAuth([...usual, member])) ?? '', /duplicate/);
    const again = roomOf(ALICE, { version, members: [BOB] });
    const second = again.join(ALICE, { displayname: 'A' });
    assert.match(
      again.check(again.draft(ALICE, { type: 'm.room.message', auth_events: [...usual, second.eventId] })) ??
        '',
      /duplicate/,
    );
  });

  test(`v${version} ${first}.2: an auth event that the selection does not name is rejected`, () => {
    const joinRules = room.get('m.room.join_rules')?.eventId ?? '$';
    const bob = room.get('m.room.member', BOB)?.eventId ?? '$';
    assert.match(room.check(withAuth([...usual, joinRules])) ?? '', /not one that authorises/);
    assert.match(room.check(withAuth([...usual, bob])) ?? '', /not one that authorises/);
  });

  test(`v${version} ${first}.2: an auth event that is no state event is rejected`, () => {
    const line = room.fork();
    const message = line.message(ALICE, 'hello');
    const event = line.draft(ALICE, { type: 'm.room.message', auth_events: [...usual, message.eventId] });
    assert.match(line.check(event) ?? '', /not a state event/);
  });

  test(`v${version} ${first}.3: an auth event that was rejected is rejected, one that is unknown too`, () => {
    const event = withAuth(usual);
    const [id] = usual;
    assert.ok(id);
    const rejected = new Map<EventId, Event | 'rejected'>([...room.events, [id, 'rejected']]);
    assert.match(checkStateIndependent(event, rejected, room.create)?.reason ?? '', /was rejected/);
    const unknown = new Map(room.events);
    unknown.delete(id);
    assert.match(checkStateIndependent(event, unknown, room.create)?.reason ?? '', /not known/);
  });

  test(`v${version} ${first}.5: an auth event of another room is rejected`, () => {
    const other = roomOf('@alice:other.test', { version });
    const foreign = other.state('@alice:other.test', 'm.room.member', ALICE, { membership: 'join' });
    const ids = usual.filter((id) => id !== room.get('m.room.member', ALICE)?.eventId);
    const event = withAuth([...ids, foreign.eventId]);
    const known = new Map([...room.events, ...other.events]);
    assert.match(checkStateIndependent(event, known, room.create)?.reason ?? '', /another room/);
  });
}

for (const version of ['10', '11']) {
  test(`v${version} 2.4: auth events without the create event are rejected`, () => {
    const room = roomOf(ALICE, { version });
    const { authEvents } = room.draft(ALICE, { type: 'm.room.message' });
    const auth_events = authEvents.filter((id) => id !== room.create.eventId);
    assert.equal(auth_events.length, authEvents.length - 1);
    assert.match(room.verdict(ALICE, { type: 'm.room.message', auth_events }) ?? '', /create event/);
  });
}

test('v12 3.2: the create event must not be among the auth events', () => {
  const room = roomOf(ALICE, { version: '12' });
  const { authEvents } = room.draft(ALICE, { type: 'm.room.message' });
  assert.equal(authEvents.includes(room.create.eventId), false);
  const auth_events = [...authEvents, room.create.eventId];
  assert.match(room.verdict(ALICE, { type: 'm.room.message', auth_events }) ?? '', /not one that authorises/);
});

for (const version of VERSIONS) {
  const rule = version === '12' ? 4 : 3;
  test(`v${version} ${rule}: with m.federate false only users of the creator's server may send`, () => {
    const room = roomOf(ALICE, { version, create: { 'm.federate': false }, join_rule: 'public' });
    const join = (user: UserId) => ({
      type: 'm.room.member',
      state_key: user,
      content: { membership: 'join' },
    });
    assert.match(room.verdict(BOB, join(BOB)) ?? '', /federated/);
    assert.equal(room.verdict('@bob:a.test', join('@bob:a.test')), undefined);
    const open = roomOf(ALICE, { version, create: { 'm.federate': true }, join_rule: 'public' });
    assert.equal(open.verdict(BOB, join(BOB)), undefined);
  });

  test(`v${version} ${rule + 2}: a sender who is not joined may not send`, () => {
    for (const membership of ['invite', 'leave', 'ban', 'knock']) {
      const room = roomOf(ALICE, { version });
      room.member(ALICE, BOB, membership);
      assert.match(room.verdict(BOB, { type: 'm.room.message' }) ?? '', /not in the room/, membership);
    }
    assert.match(roomOf(ALICE, { version }).verdict(BOB, { type: 'm.x' }) ?? '', /not in the room/);
  });

  test(`v${version} ${rule + 3}.1: a third-party invite needs the invite level, whatever events says`, () => {
    const event = { type: 'm.room.third_party_invite', state_key: 'token', content: {} };
    const levels = (invite: number, own: number) => ({
      invite,
      users: { ...(version !== '12' && { [ALICE]: 100 }), [BOB]: own },
      events: { 'm.room.third_party_invite': 100 },
    });
    const room = (invite: number, own: number) =>
      roomOf(ALICE, { version, members: [BOB], power_levels: levels(invite, own) });
    assert.equal(room(50, 50).verdict(BOB, event), undefined);
    assert.match(room(50, 49).verdict(BOB, event) ?? '', /may not invite/);
  });

  test(`v${version} ${rule + 4}: an event needs its required power level`, () => {
    const users = { ...(version !== '12' && { [ALICE]: 100 }), [BOB]: 30 };
    const room = roomOf(ALICE, {
      version,
      members: [BOB],
      power_levels: { users, state_default: 40, events_default: 20, events: { low: 30, high: 31 } },
    });
    assert.equal(room.verdict(BOB, { type: 'm.room.message' }), undefined);
    assert.match(room.verdict(BOB, { type: 'm.room.topic', state_key: '' }) ?? '', /40 is needed/);
    assert.equal(room.verdict(BOB, { type: 'low', state_key: '' }), undefined);
    assert.match(room.verdict(BOB, { type: 'high' }) ?? '', /31 is needed/);
    assert.equal(room.verdict(BOB, { type: 'constructor' }), undefined);
  });

  test(`v${version} ${rule + 5}: a state key with @ must be the sender`, () => {
    const room = roomOf(ALICE, { version });
    assert.equal(room.verdict(ALICE, { type: 'm.x', state_key: ALICE }), undefined);
    assert.match(room.verdict(ALICE, { type: 'm.x', state_key: BOB }) ?? '', /another user/);
    assert.match(room.verdict(ALICE, { type: 'm.x', state_key: '@' }) ?? '', /another user/);
    assert.equal(room.verdict(ALICE, { type: 'm.x', state_key: 'bob' }), undefined);
  });

  test(`v${version}: a redaction is an event like any other`, () => {
    const room = roomOf(ALICE, { version, members: [BOB] });
    const content = version === '10' ? {} : { redacts: room.last.eventId };
    assert.equal(room.verdict(BOB, { type: 'm.room.redaction', content }), undefined);
  });

  test(`v${version}: without a create event in the state nothing is allowed`, () => {
    const room = roomOf(ALICE, { version });
    const message = room.draft(ALICE, { type: 'm.room.message' });
    const state = authStateOf([...room.stateMap.values()].filter(({ type }) => type !== 'm.room.create'));
    assert.match(checkStateDependent(message, state)?.reason ?? '', /no create event/);
  });
}

test("v5 4: m.room.aliases needs the sender's server as state key, and no membership; v6 has no such rule", () => {
  const outsider = '@eve:e.test';
  const aliases = (state_key?: string) => ({
    type: 'm.room.aliases',
    ...(state_key !== undefined && { state_key }),
  });
  const v5 = roomOf(ALICE, { version: '5' });
  assert.equal(v5.verdict(outsider, aliases('e.test')), undefined);
  assert.match(v5.verdict(outsider, aliases('a.test')) ?? '', /server of the sender/);
  assert.match(v5.verdict(outsider, aliases()) ?? '', /state key/);
  assert.match(roomOf(ALICE, { version: '6' }).verdict(outsider, aliases('e.test')) ?? '', /not in the room/);
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
