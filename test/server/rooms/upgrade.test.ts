/** https://spec.matrix.org/v1.19/client-server-api/#room-upgrades */

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { checkRooms } from '#rooms/db-check.ts';
import { type Body, register, type TestClient } from '#test/harness/client.ts';
import { inRoom, untilMember } from '#test/harness/conversation.ts';
import { startFleet } from '#test/harness/fleet.ts';
import { startServer, type TestServer } from '#test/harness/server.ts';

let server: TestServer;
let alice: TestClient;
let bob: TestClient;
let carol: TestClient;

before(async () => {
  server = await startServer();
  [alice, bob, carol] = await Promise.all([register(server), register(server), register(server)]);
});

after(async () => {
  const findings: string[] = [];
  for await (const finding of checkRooms(server.ctx)) findings.push(finding);
  await server[Symbol.asyncDispose]();
  assert.deepEqual(findings, []);
});

async function stateOf(user: TestClient, roomId: string, type: string, key = ''): Promise<Body> {
  const answer = await user.try('GET', `${inRoom(roomId)}/state/${type}/${encodeURIComponent(key)}`);
  return answer.status === 200 ? answer.body : undefined;
}

async function upgrade(user: TestClient, roomId: string, version = '12', more: object = {}): Promise<string> {
  const answer = await user.post(`${inRoom(roomId)}/upgrade`, { new_version: version, ...more });
  return answer.replacement_room;
}

function setState(user: TestClient, roomId: string, type: string, content: object, key = ''): Promise<Body> {
  return user.put(`${inRoom(roomId)}/state/${type}/${encodeURIComponent(key)}`, content);
}

test('the old room has a tombstone that names the new room, and the new one a predecessor', async () => {
  for (const [from, to] of [
    ['10', '11'],
    ['11', '12'],
    ['12', '12'],
    ['12', '11'],
  ]) {
    const roomId = await alice.createRoom({ room_version: from });
    const made = await upgrade(alice, roomId, to);
    const tombstones = await alice.get(`${inRoom(roomId)}/state/m.room.tombstone?format=event`);
    assert.equal(tombstones.content.replacement_room, made);
    assert.equal(typeof tombstones.content.body, 'string');
    const create = await stateOf(alice, made, 'm.room.create');
    assert.equal(create.room_version, to);
    // "When upgrading to room version 12 or later, the event_id property inside predecessor MAY be omitted": the
    // room id is the hash of the create event, which therefore comes first.
    const predecessor = { room_id: roomId, ...(to !== '12' && { event_id: tombstones.event_id }) };
    assert.deepEqual(create.predecessor, predecessor);
    assert.equal(create.creator, to === '10' ? alice.userId : undefined);
    assert.equal(await stateOf(alice, made, 'm.room.member', alice.userId).then((m) => m.membership), 'join');
  }
});

test('the recommended state goes along, and bans, and what else the create event says', async () => {
  const acl = { allow: ['*'], deny: ['evil.example'], allow_ip_literals: false };
  const roomId = await alice.createRoom({
    room_version: '11',
    preset: 'private_chat',
    name: 'Name',
    topic: 'Topic',
    creation_content: { type: 'org.example.kind', 'm.federate': false, 'org.example.more': 1 },
    initial_state: [
      { type: 'm.room.server_acl', content: acl },
      { type: 'm.room.encryption', content: { algorithm: 'm.megolm.v1.aes-sha2' } },
      { type: 'm.room.avatar', content: { url: 'mxc://example.org/a' } },
      { type: 'm.room.history_visibility', content: { history_visibility: 'joined' } },
      { type: 'm.room.guest_access', content: { guest_access: 'can_join' } },
      { type: 'org.example.other', content: { stays: true } },
    ],
  });
  await alice.post(`${inRoom(roomId)}/ban`, { user_id: carol.userId, reason: 'noise' });
  const made = await upgrade(alice, roomId);
  for (const type of [
    'server_acl',
    'encryption',
    'avatar',
    'history_visibility',
    'guest_access',
    'name',
    'topic',
    'join_rules',
  ]) {
    const [old, fresh] = [
      await stateOf(alice, roomId, `m.room.${type}`),
      await stateOf(alice, made, `m.room.${type}`),
    ];
    assert.notEqual(old, undefined, type);
    assert.deepEqual(fresh, old, type);
  }
  const create = await stateOf(alice, made, 'm.room.create');
  assert.deepEqual(
    [create.type, create['m.federate'], create['org.example.more']],
    ['org.example.kind', false, 1],
  );
  const ban = await stateOf(alice, made, 'm.room.member', carol.userId);
  assert.deepEqual(ban, { membership: 'ban', reason: 'noise' });
  // "Servers should not transfer state events which are sensitive to who sent them, such as events outside of the
  // Matrix namespace".
  assert.equal(await stateOf(alice, made, 'org.example.other'), undefined);
});

test('a restricted join rule goes along; who may join may come into the new room', async () => {
  const space = await alice.createRoom({ creation_content: { type: 'm.space' } });
  const rules = { join_rule: 'restricted', allow: [{ type: 'm.room_membership', room_id: space }] };
  const roomId = await alice.createRoom({ room_version: '10' });
  await setState(alice, roomId, 'm.room.join_rules', rules);
  const made = await upgrade(alice, roomId);
  assert.deepEqual(await stateOf(alice, made, 'm.room.join_rules'), rules);
  await bob.join(space);
  await bob.join(made);
});

test('the rooms of a space go along, but for those that were taken out', async () => {
  const [one, two] = [await alice.createRoom(), await alice.createRoom()];
  const space = await alice.createRoom({ creation_content: { type: 'm.space' } });
  await setState(alice, space, 'm.space.child', { via: ['kurir.test'], order: 'a' }, one);
  await setState(alice, space, 'm.space.child', {}, two);
  const made = await upgrade(alice, space);
  assert.deepEqual(await stateOf(alice, made, 'm.space.child', one), { via: ['kurir.test'], order: 'a' });
  assert.equal(await stateOf(alice, made, 'm.space.child', two), undefined);
  assert.equal((await stateOf(alice, made, 'm.room.create')).type, 'm.space');
});

test('aliases of this server, the canonical alias and the entry in the directory move to the new room', async () => {
  const roomId = await alice.createRoom({
    room_alias_name: 'moving',
    visibility: 'public',
    room_version: '11',
  });
  await alice.put(`/directory/room/${encodeURIComponent('#second:kurir.test')}`, { room_id: roomId });
  const content = { alias: '#moving:kurir.test', alt_aliases: ['#second:kurir.test'] };
  await setState(alice, roomId, 'm.room.canonical_alias', content);
  const made = await upgrade(alice, roomId);
  for (const alias of ['#moving:kurir.test', '#second:kurir.test']) {
    assert.equal((await bob.get(`/directory/room/${encodeURIComponent(alias)}`)).room_id, made);
  }
  assert.deepEqual(await stateOf(alice, made, 'm.room.canonical_alias'), content);
  assert.deepEqual(await stateOf(alice, roomId, 'm.room.canonical_alias'), {});
  const list = await bob.get('/publicRooms');
  const ids = list.chunk.map((room: Body) => room.room_id);
  assert.deepEqual([ids.includes(made), ids.includes(roomId)], [true, false]);
});

test('in the old room ordinary users neither send nor invite any more', async () => {
  const roomId = await alice.createRoom({ room_version: '11' });
  await bob.join(roomId);
  await bob.send(roomId, 'before');
  const levels = await stateOf(alice, roomId, 'm.room.power_levels');
  await upgrade(alice, roomId);
  const refused = await bob.try('PUT', `${inRoom(roomId)}/send/m.room.message/t`, { body: 'after' });
  assert.equal(refused.body.errcode, 'M_FORBIDDEN');
  const closed = await stateOf(alice, roomId, 'm.room.power_levels');
  assert.deepEqual(closed, { ...levels, events_default: 50, invite: 50 });
});

test('levels that are higher than those of a closed room stay; the users default counts', async () => {
  const roomId = await alice.createRoom({
    room_version: '11',
    power_level_content_override: {
      users_default: 60,
      events_default: 10,
      invite: 90,
      users: { [alice.userId]: 100 },
    },
  });
  await upgrade(alice, roomId);
  const { events_default: send, invite } = await stateOf(alice, roomId, 'm.room.power_levels');
  assert.deepEqual([send, invite], [61, 90]);
});

test('v12: creators are not in the power levels, and only they may replace the room by default', async () => {
  const cases = [
    // From, levels of the old room, who upgrades, additional creators: levels and creators of the new one.
    { from: '11', users: { [bob.userId]: 100, [carol.userId]: 100 }, by: bob, more: [] },
    {
      from: '11',
      users: { [alice.userId]: 100, [bob.userId]: 100, [carol.userId]: 50 },
      by: alice,
      more: [bob],
    },
    { from: '12', users: { [bob.userId]: 150, [carol.userId]: 50 }, by: bob, more: [carol] },
  ];
  for (const { from, users, by, more } of cases) {
    const roomId = await alice.createRoom({ room_version: from });
    await bob.join(roomId);
    await carol.join(roomId);
    await setState(alice, roomId, 'm.room.power_levels', { users });
    const named = more.map(({ userId }) => userId);
    const made = await upgrade(by, roomId, '12', { additional_creators: named });
    const create = await stateOf(by, made, 'm.room.create');
    assert.deepEqual(create.additional_creators, named.length === 0 ? undefined : named);
    const levels = await stateOf(by, made, 'm.room.power_levels');
    const creators = new Set([by.userId, ...named]);
    assert.deepEqual(
      levels.users,
      Object.fromEntries(Object.entries(users).filter(([userId]) => !creators.has(userId))),
    );
    assert.equal(levels.events['m.room.tombstone'], 150);
  }
});

test('back from v12, who stood above all levels stands at the top of those that there are', async () => {
  const roomId = await alice.createRoom({ room_version: '12' });
  const made = await upgrade(alice, roomId, '11', { additional_creators: [bob.userId] });
  const levels = await stateOf(alice, made, 'm.room.power_levels');
  assert.deepEqual(levels.users, { [alice.userId]: 100 });
  const create = await stateOf(alice, made, 'm.room.create');
  assert.equal(create.additional_creators, undefined, 'the field has no effect in versions without it');
});

test('who has little power in the old room makes the whole new room, and has no more power in it', async () => {
  const roomId = await alice.createRoom({
    room_version: '10',
    initial_state: [{ type: 'm.room.server_acl', content: { allow: ['*'] } }],
  });
  await bob.join(roomId);
  const levels = await stateOf(alice, roomId, 'm.room.power_levels');
  const users = { [alice.userId]: 100, [bob.userId]: 10 };
  const events = { ...levels.events, 'm.room.tombstone': 10 };
  await setState(alice, roomId, 'm.room.power_levels', { ...levels, users, events });
  await alice.post(`${inRoom(roomId)}/ban`, { user_id: carol.userId });
  const made = await upgrade(bob, roomId, '11');
  assert.deepEqual(await stateOf(bob, made, 'm.room.power_levels'), { ...levels, users, events });
  assert.deepEqual(await stateOf(bob, made, 'm.room.server_acl'), { allow: ['*'] });
  assert.equal((await stateOf(bob, made, 'm.room.member', carol.userId)).membership, 'ban');
  // "If possible": he may not change the power levels.
  assert.deepEqual(await stateOf(alice, roomId, 'm.room.power_levels'), { ...levels, users, events });
});

test('what cannot be upgraded is refused, and nothing is left of it', async () => {
  const roomId = await alice.createRoom();
  await bob.join(roomId);
  const rooms = await bob.get('/joined_rooms');
  const cases: [TestClient, object, number, string][] = [
    [alice, { new_version: 'nope' }, 400, 'M_UNSUPPORTED_ROOM_VERSION'],
    [alice, {}, 400, 'M_MISSING_PARAM'],
    [alice, { new_version: '12', additional_creators: ['nobody'] }, 400, 'M_INVALID_PARAM'],
    [bob, { new_version: '12' }, 403, 'M_FORBIDDEN'],
    [bob, { new_version: '11' }, 403, 'M_FORBIDDEN'],
    [carol, { new_version: '12' }, 403, 'M_FORBIDDEN'],
  ];
  for (const [user, body, status, errcode] of cases) {
    const answer = await user.try('POST', `${inRoom(roomId)}/upgrade`, body);
    assert.deepEqual([answer.status, answer.body.errcode], [status, errcode]);
  }
  assert.equal(await stateOf(alice, roomId, 'm.room.tombstone'), undefined);
  assert.deepEqual(await bob.get('/joined_rooms'), rooms);
  const unknown = await alice.try('POST', `${inRoom('!nowhere:kurir.test')}/upgrade`, { new_version: '12' });
  assert.equal(unknown.status, 403);
});

test('the same request again, also at the same time, answers with the room that was made', async () => {
  const roomId = await alice.createRoom({ room_version: '11' });
  const made = await Promise.all([1, 2, 3].map(() => upgrade(alice, roomId)));
  assert.equal(new Set(made).size, 1);
  assert.equal(await upgrade(alice, roomId), made[0]);
  const other = await upgrade(alice, roomId, '12', { additional_creators: [bob.userId] });
  assert.notEqual(other, made[0], 'with other creators it is another room');
  assert.equal((await stateOf(alice, roomId, 'm.room.tombstone')).replacement_room, other);
});

test('tags and direct conversations come along, for who upgrades at once, for others when they join', async () => {
  const roomId = await alice.createRoom({ room_version: '11', preset: 'private_chat', invite: [bob.userId] });
  await bob.join(roomId);
  for (const user of [alice, bob]) {
    await user.put(`/user/${user.userId}${inRoom(roomId)}/tags/m.favourite`, { order: 0.5 });
    const direct = { '@them:kurir.test': [roomId], '@others:kurir.test': ['!x:kurir.test'] };
    await user.put(`/user/${user.userId}/account_data/m.direct`, direct);
  }
  const { next_batch: since } = await alice.sync();
  const made = await upgrade(alice, roomId);
  const told = await alice.sync({ since });
  const expected = { '@them:kurir.test': [roomId, made], '@others:kurir.test': ['!x:kurir.test'] };
  const direct = told.account_data.events.find((event: Body) => event.type === 'm.direct');
  assert.deepEqual(direct.content, expected);
  const tags = (user: TestClient) => user.get(`/user/${user.userId}${inRoom(made)}/tags`);
  assert.deepEqual(await tags(alice), { tags: { 'm.favourite': { order: 0.5 } } });
  assert.deepEqual(await tags(bob), { tags: {} });
  await alice.post(`${inRoom(made)}/invite`, { user_id: bob.userId });
  await bob.join(made);
  assert.deepEqual(await tags(bob), { tags: { 'm.favourite': { order: 0.5 } } });
  assert.deepEqual(await bob.get(`/user/${bob.userId}/account_data/m.direct`), expected);
  await bob.delete(`/user/${bob.userId}${inRoom(made)}/tags/m.favourite`);
  await bob.join(made);
  assert.deepEqual(await tags(bob), { tags: {} }, 'what the user took off stays off');
});

// Complement: TestPushRuleRoomUpgrade
test('push rules of a room come along, also where a room is replaced by hand', async () => {
  const rule = (roomId: string) => `/pushrules/global/room/${encodeURIComponent(roomId)}`;
  const actions = ['dont_notify'];
  for (const isByHand of [true, false]) {
    const roomId = await alice.createRoom({ room_version: '10' });
    await bob.join(roomId);
    for (const user of [alice, bob]) await user.put(rule(roomId), { actions });
    const since = new Map([
      [alice, (await alice.sync()).next_batch],
      [bob, (await bob.sync()).next_batch],
    ]);
    let made: string;
    if (isByHand) {
      const creation = { predecessor: { room_id: roomId } };
      made = await alice.createRoom({ room_version: '11', creation_content: creation });
      await setState(alice, roomId, 'm.room.tombstone', { body: 'x', replacement_room: made });
    } else {
      made = await upgrade(alice, roomId, '11');
    }
    await bob.join(made);
    for (const user of [alice, bob]) {
      const told = await user.sync({ since: since.get(user) });
      const rules = told.account_data.events.find(({ type }: Body) => type === 'm.push_rules');
      const ids = rules.content.global.room.map(({ rule_id: id }: Body) => id);
      assert.ok(ids.includes(made) && ids.includes(roomId), `${user.userId}, by hand: ${isByHand}`);
      assert.deepEqual((await user.get(rule(made))).actions, actions);
    }
  }
});

test('a room that only claims to replace another one gets nothing of what is set there', async () => {
  const roomId = await alice.createRoom();
  await bob.join(roomId);
  await bob.put(`/user/${bob.userId}${inRoom(roomId)}/tags/m.favourite`, {});
  const claims = await carol.createRoom({ creation_content: { predecessor: { room_id: roomId } } });
  await bob.join(claims);
  assert.deepEqual(await bob.get(`/user/${bob.userId}${inRoom(claims)}/tags`), { tags: {} });
});

test('users of another server see the upgrade, follow it, and take their tags along', async () => {
  await using fleet = await startFleet(2);
  const host = await register(fleet.at(0));
  const guest = await register(fleet.at(1));
  for (const version of ['11', '12']) {
    const roomId = await host.createRoom({ room_version: '11' });
    await guest.join(roomId, [fleet.at(0).serverName]);
    await untilMember(host, roomId, guest.userId, 'join');
    await guest.put(`/user/${guest.userId}${inRoom(roomId)}/tags/m.favourite`, {});
    await guest.put(`/pushrules/global/room/${encodeURIComponent(roomId)}`, { actions: [] });
    const made = await upgrade(host, roomId, version);
    await guest.syncUntil(({ rooms }: Body) =>
      rooms?.join?.[roomId]?.timeline.events.some(
        (event: Body) => event.type === 'm.room.tombstone' && event.content.replacement_room === made,
      ),
    );
    await guest.join(made, [fleet.at(0).serverName]);
    assert.equal((await stateOf(guest, made, 'm.room.create')).predecessor.room_id, roomId);
    assert.deepEqual(await guest.get(`/user/${guest.userId}${inRoom(made)}/tags`), {
      tags: { 'm.favourite': {} },
    });
    await guest.get(`/pushrules/global/room/${encodeURIComponent(made)}`);
    await guest.send(made, 'here too');
    // A moderator of the other server replaces the room in turn.
    const levels = await stateOf(host, made, 'm.room.power_levels');
    await setState(host, made, 'm.room.power_levels', {
      ...levels,
      users: { ...levels.users, [guest.userId]: version === '12' ? 150 : 100 },
    });
    await guest.syncUntil(({ rooms }: Body) =>
      rooms?.join?.[made]?.timeline.events.some(
        (event: Body) => event.type === 'm.room.power_levels' && event.content.users[guest.userId] >= 100,
      ),
    );
    const again = await upgrade(guest, made, '12');
    await host.syncUntil(({ rooms }: Body) =>
      rooms?.join?.[made]?.timeline.events.some((event: Body) => event.content.replacement_room === again),
    );
    await host.join(again, [fleet.at(1).serverName]);
    await untilMember(guest, again, host.userId, 'join');
  }
});
