import assert from 'node:assert/strict';
import { test } from 'node:test';
import { register } from '#test/harness/client.ts';
import { startFleet } from '#test/harness/fleet.ts';
import { startServer } from '#test/harness/server.ts';

const path = (roomId: string, rest: string) => `/rooms/${encodeURIComponent(roomId)}/${rest}`;

test('createRoom: each preset makes the room that it says, and what cannot be is refused with its error', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const rule = async (options: object) =>
    (await alice.get(path(await alice.createRoom(options), 'state/m.room.join_rules'))).join_rule;
  assert.equal(await rule({ preset: 'private_chat' }), 'invite');
  assert.equal(await rule({ preset: 'public_chat' }), 'public');
  assert.equal(await rule({ preset: undefined, visibility: 'public' }), 'public');
  for (const version of ['10', '11', '12']) {
    const create = await alice.get(
      path(await alice.createRoom({ room_version: version }), 'state/m.room.create'),
    );
    assert.equal(create.room_version, version);
  }
  const refused = async (options: unknown) => (await alice.try('POST', '/createRoom', options)).body.errcode;
  assert.equal(await refused({ room_version: '99' }), 'M_UNSUPPORTED_ROOM_VERSION');
  assert.equal(await refused({ preset: 'nonsense' }), 'M_INVALID_PARAM');
  assert.equal(await refused({ invite: ['nobody'] }), 'M_INVALID_PARAM');
  assert.equal(await refused({ invite: 'nobody' }), 'M_BAD_JSON');
  assert.equal(await refused({ initial_state: 3 }), 'M_BAD_JSON');
  await alice.createRoom({ room_alias_name: 'one' });
  assert.equal(await refused({ room_alias_name: 'one' }), 'M_ROOM_IN_USE');
});

test('createRoom: where no version is asked for the configured one is taken, and capabilities name it', async () => {
  await using server = await startServer({ defaultRoomVersion: '11' });
  const alice = await register(server);
  const versionOf = async (options: object) =>
    (await alice.get(path(await alice.createRoom(options), 'state/m.room.create'))).room_version;
  assert.equal(await versionOf({}), '11');
  assert.equal(await versionOf({ room_version: '12' }), '12');
  const { capabilities } = await alice.get('/capabilities');
  assert.equal(capabilities['m.room_versions'].default, '11');
});

test('join: by id, by alias and again; not where one may not', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const bob = await register(server);
  const roomId = await alice.createRoom({ room_alias_name: 'lobby' });
  const alias = `#lobby:${server.serverName}`;
  assert.deepEqual(await bob.join(alias), { room_id: roomId });
  assert.deepEqual(await bob.post(path(roomId, 'join')), { room_id: roomId });
  assert.deepEqual((await bob.get('/joined_rooms')).joined_rooms, [roomId]);

  const closed = await alice.createRoom({ preset: 'private_chat' });
  assert.equal((await bob.try('POST', path(closed, 'join'))).body.errcode, 'M_FORBIDDEN');
  const unknown = await bob.try('POST', `/join/${encodeURIComponent(`#absent:${server.serverName}`)}`);
  assert.equal(unknown.status, 404);
  assert.equal((await bob.try('POST', '/join/nonsense')).body.errcode, 'M_INVALID_PARAM');
  await alice.post(path(closed, 'invite'), { user_id: bob.userId });
  await bob.join(closed);
});

test('join: keys of the client go into the member event; what the server says there stays its own', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const bob = await register(server);
  const roomId = await alice.createRoom({ room_alias_name: 'custom' });
  const body = {
    foo: 'bar',
    reason: 'why not',
    membership: 'ban',
    join_authorised_via_users_server: alice.userId,
  };
  await bob.post(`/join/${encodeURIComponent(`#custom:${server.serverName}`)}`, body);
  const state = `/rooms/${encodeURIComponent(roomId)}/state/m.room.member/${encodeURIComponent(bob.userId)}`;
  assert.deepEqual(await alice.get(state), { foo: 'bar', reason: 'why not', membership: 'join' });
  const carol = await register(server);
  const large = await carol.try('POST', `/join/${encodeURIComponent(roomId)}`, { foo: 'x'.repeat(60_000) });
  assert.equal(large.status, 400);
});

test('join: the display name goes into the room', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const bob = await register(server);
  await bob.put(`/profile/${encodeURIComponent(bob.userId)}/displayname`, { displayname: 'Bob' });
  const roomId = await alice.createRoom();
  await bob.join(roomId);
  const { joined } = await alice.get(path(roomId, 'joined_members'));
  assert.equal(joined[bob.userId].display_name, 'Bob');
});

test('ban: keeps a user out until it is lifted', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const bob = await register(server);
  const roomId = await alice.createRoom();
  await bob.join(roomId);
  assert.equal((await bob.try('POST', path(roomId, 'kick'), { user_id: alice.userId })).status, 403);
  await alice.post(path(roomId, 'ban'), { user_id: bob.userId });
  assert.equal((await bob.try('POST', path(roomId, 'join'))).status, 403);
  await alice.post(path(roomId, 'unban'), { user_id: bob.userId });
  await bob.join(roomId);
});

test('invite: refused for users that do not exist, and by those who are not in the room', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const bob = await register(server);
  const roomId = await alice.createRoom();
  const invite = async (userId: string, client = alice) =>
    (await client.try('POST', path(roomId, 'invite'), { user_id: userId })).body.errcode;
  assert.equal(await invite(`@absent:${server.serverName}`), 'M_NOT_FOUND');
  assert.equal(await invite('nonsense'), 'M_INVALID_PARAM');
  assert.equal(await invite(alice.userId, bob), 'M_FORBIDDEN');
  assert.equal((await alice.try('POST', path(roomId, 'invite'), {})).body.errcode, 'M_MISSING_PARAM');
});

test('leave: once more is no error', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const roomId = await alice.createRoom();
  await alice.post(path(roomId, 'leave'));
  await alice.post(path(roomId, 'leave'));
  assert.deepEqual((await alice.get('/joined_rooms')).joined_rooms, []);
});

test('state: an invitation of another server is declined, and accepted, by setting the membership', async () => {
  await using fleet = await startFleet(2);
  const host = await register(fleet.at(0));
  const guest = await register(fleet.at(1));
  for (const membership of ['leave', 'join']) {
    const roomId = await host.createRoom({ preset: 'private_chat', invite: [guest.userId] });
    await guest.syncUntil(({ rooms }) => rooms?.invite?.[roomId] !== undefined);
    const member = path(roomId, `state/m.room.member/${encodeURIComponent(guest.userId)}`);
    const { event_id: eventId } = await guest.put(member, { membership });
    assert.match(eventId, /^\$/);
    await host.syncUntil(({ rooms }) =>
      rooms?.join?.[roomId]?.timeline.events.some(({ event_id: id }: { event_id: string }) => id === eventId),
    );
    const { chunk } = await host.get(path(roomId, `members?membership=${membership}`));
    assert.ok(
      chunk.some(({ state_key: key }: { state_key: string }) => key === guest.userId),
      membership,
    );
  }
  const elsewhere = await host.createRoom({ preset: 'private_chat' });
  const member = path(elsewhere, `state/m.room.member/${encodeURIComponent(guest.userId)}`);
  assert.equal((await guest.try('PUT', member, { membership: 'leave' })).status, 403);
});

test('knock: not by who is invited, in the room or banned; taken back by leaving, and answered by an invitation', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const bob = await register(server);
  const knockable = { type: 'm.room.join_rules', content: { join_rule: 'knock' } };
  const roomId = await alice.createRoom({ preset: 'private_chat', initial_state: [knockable] });
  const knock = () => bob.try('POST', `/knock/${encodeURIComponent(roomId)}`, { reason: 'please' });
  assert.equal((await knock()).status, 200);
  await bob.post(path(roomId, 'leave'));
  assert.equal((await knock()).status, 200);
  const member = await alice.get(path(roomId, `state/m.room.member/${encodeURIComponent(bob.userId)}`));
  assert.deepEqual([member.membership, member.reason], ['knock', 'please']);
  await alice.post(path(roomId, 'invite'), { user_id: bob.userId });
  assert.equal((await knock()).status, 403);
  await bob.join(roomId);
  assert.equal((await knock()).status, 403);
  assert.equal((await alice.try('POST', path(roomId, 'invite'), { user_id: bob.userId })).status, 403);
  await alice.post(path(roomId, 'ban'), { user_id: bob.userId });
  assert.equal((await knock()).status, 403);
  assert.equal((await bob.try('POST', `/join/${encodeURIComponent(roomId)}`)).status, 403);
});

test('createRoom: parameters of the wrong kind are refused by name, third-party invitations with their error', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const refused = async (options: unknown) => {
    const { status, body } = await alice.try('POST', '/createRoom', options);
    return `${status} ${body.errcode}`;
  };
  const wrong: [object, string][] = [
    [{ name: 5 }, '400 M_BAD_JSON'],
    [{ topic: {} }, '400 M_BAD_JSON'],
    [{ is_direct: 'yes' }, '400 M_BAD_JSON'],
    [{ room_version: 11 }, '400 M_BAD_JSON'],
    [{ creation_content: [] }, '400 M_BAD_JSON'],
    [{ creation_content: { 'm.federate': 'no' } }, '400 M_BAD_JSON'],
    [{ power_level_content_override: 5 }, '400 M_BAD_JSON'],
    [{ visibility: 'nonsense' }, '400 M_INVALID_PARAM'],
    [{ room_alias_name: '' }, '400 M_INVALID_PARAM'],
    [{ room_alias_name: 'a:b' }, '400 M_INVALID_PARAM'],
    [{ initial_state: [{ type: 'test.thing' }] }, '400 M_BAD_JSON'],
    [{ initial_state: [{ type: 'm.room.create', content: {} }] }, '400 M_BAD_JSON'],
    [{ invite_3pid: [{ medium: 'email', address: 'a@b.test' }] }, '403 M_THREEPID_DENIED'],
  ];
  for (const [options, says] of wrong) assert.equal(await refused(options), says, JSON.stringify(options));
  assert.deepEqual((await alice.get('/joined_rooms')).joined_rooms, []);
  const extra = { type: 'm.space', 'test.more': 1, creator: '@mallory:kurir.test', room_version: '1' };
  const roomId = await alice.createRoom({ room_version: '10', creation_content: extra });
  assert.deepEqual(await alice.get(path(roomId, 'state/m.room.create')), {
    ...{ type: 'm.space', 'test.more': 1, creator: alice.userId, room_version: '10' },
  });
});
