/** What an operator may forbid a service: docs/bridges.md */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Answer, register } from '#test/harness/client.ts';
import { startFleet } from '#test/harness/fleet.ts';
import { startService } from '#test/harness/service.ts';
import { addService, startWithService } from '#test/harness/service-server.ts';
import { until } from '#test/harness/until.ts';

test('rooms of a service without federation are closed to other servers, and cannot be asked to be open', async () => {
  await using both = await startWithService({ policy: { federation: false } });
  const { server, service } = both;
  const { room_id: roomId } = await service.do(server, 'POST', '/createRoom', {
    body: { preset: 'public_chat' },
  });
  const path = `/rooms/${encodeURIComponent(roomId)}/state/m.room.create`;
  assert.equal((await service.do(server, 'GET', path))['m.federate'], false);
  const body = { creation_content: { 'm.federate': true } };
  const refused = await service.try(server, 'POST', '/createRoom', { body });
  assert.deepEqual([refused.status, refused.body.errcode], [403, 'M_FORBIDDEN']);
  const alice = await register(server, 'alice');
  const own = await alice.createRoom();
  const create = await alice.get(`/rooms/${encodeURIComponent(own)}/state/m.room.create`);
  assert.equal(create['m.federate'], undefined);
});

test('a service that may make no public rooms cannot, by whatever way', async () => {
  await using both = await startWithService({ registration: { kurir: { public_rooms: false } } });
  const { server, service } = both;
  const publicly: object[] = [
    { preset: 'public_chat' },
    { visibility: 'public' },
    { initial_state: [{ type: 'm.room.join_rules', content: { join_rule: 'public' } }] },
    {
      initial_state: [
        { type: 'm.room.history_visibility', content: { history_visibility: 'world_readable' } },
      ],
    },
    {
      initial_state: [{ type: 'm.room.guest_access', content: { guest_access: 'can_join' } }],
      preset: 'private_chat',
    },
  ];
  for (const body of publicly) {
    const answer = await service.try(server, 'POST', '/createRoom', { body });
    assert.deepEqual([answer.status, answer.body.errcode], [403, 'M_FORBIDDEN'], JSON.stringify(body));
    assert.match(answer.body.error, /policy/);
  }
  const { room_id: roomId } = await service.do(server, 'POST', '/createRoom', { body: {} });
  const room = `/rooms/${encodeURIComponent(roomId)}`;
  const puts: [path: string, body: object][] = [
    [`${room}/state/m.room.join_rules`, { join_rule: 'public' }],
    [`${room}/state/m.room.history_visibility`, { history_visibility: 'world_readable' }],
    [`/directory/list/room/${encodeURIComponent(roomId)}`, { visibility: 'public' }],
    [`/directory/list/appservice/net/${encodeURIComponent(roomId)}`, { visibility: 'public' }],
  ];
  for (const [path, body] of puts) {
    assert.equal((await service.try(server, 'PUT', path, { body })).body.errcode, 'M_FORBIDDEN', path);
  }
  await service.do(server, 'PUT', `${room}/state/m.room.join_rules`, { body: { join_rule: 'knock' } });
});

test('rooms of a service hold as many members as it may have, whoever invites or joins', async () => {
  await using both = await startWithService({ policy: { maxMembers: 3 } });
  const { server, service } = both;
  const people = [];
  for (const name of ['alice', 'bob', 'carol', 'dave']) people.push(await register(server, name));
  const [alice, bob, carol, dave] = people;
  if (alice === undefined || bob === undefined || carol === undefined || dave === undefined) assert.fail();
  const body = { preset: 'public_chat', invite: [alice.userId] };
  const { room_id: roomId } = await service.do(server, 'POST', '/createRoom', { body });
  const room = `/rooms/${encodeURIComponent(roomId)}`;
  await alice.join(roomId);
  await service.do(server, 'POST', `${room}/invite`, { body: { user_id: bob.userId } });
  const refused = await carol.try('POST', `/join/${encodeURIComponent(roomId)}`, {});
  assert.deepEqual([refused.status, refused.body.errcode], [403, 'M_FORBIDDEN']);
  const invited = await service.try(server, 'POST', `${room}/invite`, { body: { user_id: dave.userId } });
  assert.equal(invited.body.errcode, 'M_FORBIDDEN');
  // Who was invited has a place, and who is there may say so again.
  await bob.join(roomId);
  await alice.join(roomId);
  const crowd = { invite: people.map(({ userId }) => userId) };
  assert.equal(
    (await service.try(server, 'POST', '/createRoom', { body: crowd })).body.errcode,
    'M_FORBIDDEN',
  );
  const full = await alice.createRoom();
  for (const person of [bob, carol]) await person.join(full);
  const into = await service.try(server, 'POST', `/join/${encodeURIComponent(full)}`, { body: {} });
  assert.equal(into.body.errcode, 'M_FORBIDDEN');
  await dave.join(full);
});

test('a full room of a service is full by its alias, for members of its space, and for users of other servers', async () => {
  await using fleet = await startFleet(2);
  const [server, far] = [fleet.at(0), fleet.at(1)];
  await using service = await startService({
    namespaces: {
      users: [{ regex: '@_bridge_.*', exclusive: true }],
      aliases: [{ regex: '#_bridge_.*', exclusive: true }],
    },
  });
  await addService(server, service, { maxMembers: 2 });
  const [alice, bob] = [await register(server, 'alice'), await register(server, 'bob')];
  const [carol, dan] = [await register(far, 'carol'), await register(far, 'dan')];
  const open = { preset: 'public_chat', room_alias_name: '_bridge_open' };
  const { room_id: roomId } = await service.do(server, 'POST', '/createRoom', { body: open });
  const alias = encodeURIComponent(`#_bridge_open:${server.serverName}`);
  await carol.join(roomId, [server.serverName]);
  const refusals = [
    await alice.try('POST', `/join/${alias}`, {}),
    await alice.try('POST', `/join/${encodeURIComponent(roomId)}`, {}),
    await alice.try('PUT', `/rooms/${encodeURIComponent(roomId)}/state/m.room.member/${alice.userId}`, {
      membership: 'join',
    }),
  ];
  for (const { status, body } of refusals) {
    assert.deepEqual([status, body.errcode], [403, 'M_FORBIDDEN']);
    assert.match(body.error, /policy/);
  }
  // Who has left makes room, who is invited has a place, and nobody else.
  await carol.post(`/rooms/${encodeURIComponent(roomId)}/leave`, {});
  await until(async () => {
    const path = `/rooms/${encodeURIComponent(roomId)}/members?membership=join`;
    return (await service.do(server, 'GET', path)).chunk.length === 1;
  }, 'that carol is gone');
  const room = `/rooms/${encodeURIComponent(roomId)}`;
  await service.do(server, 'POST', `${room}/invite`, { body: { user_id: dan.userId } });
  const via = `?server_name=${encodeURIComponent(server.serverName)}`;
  const late = await carol.try('POST', `/join/${encodeURIComponent(roomId)}${via}`, {});
  assert.deepEqual([late.status, late.body.errcode], [403, 'M_FORBIDDEN']);
  await dan.join(roomId, [server.serverName]);
  // Who is kept out takes no place.
  await service.do(server, 'POST', `${room}/ban`, { body: { user_id: carol.userId } });

  const space = await alice.createRoom({ preset: 'public_chat', creation_content: { type: 'm.space' } });
  await bob.join(space);
  const rules = { join_rule: 'restricted', allow: [{ type: 'm.room_membership', room_id: space }] };
  const inSpace = await service.do(server, 'POST', '/createRoom', {
    body: { initial_state: [{ type: 'm.room.join_rules', content: rules }] },
  });
  await alice.join(inSpace.room_id);
  const third = await bob.try('POST', `/join/${encodeURIComponent(inSpace.room_id)}`, {});
  assert.deepEqual([third.status, third.body.errcode], [403, 'M_FORBIDDEN']);
});

test('whoever invites into a full room of a service is refused, and who is in it may be banned and let in again', async () => {
  await using both = await startWithService({ policy: { maxMembers: 2 } });
  const { server, service } = both;
  const [alice, bob] = [await register(server, 'alice'), await register(server, 'bob')];
  const body = { invite: [alice.userId], power_level_content_override: { users_default: 100 } };
  const { room_id: roomId } = await service.do(server, 'POST', '/createRoom', { body });
  const room = `/rooms/${encodeURIComponent(roomId)}`;
  await alice.join(roomId);
  for (const [method, path, content] of [
    ['POST', `${room}/invite`, { user_id: bob.userId }],
    ['PUT', `${room}/state/m.room.member/${bob.userId}`, { membership: 'invite' }],
  ] as const) {
    const answer = await alice.try(method, path, content);
    assert.deepEqual([answer.status, answer.body.errcode], [403, 'M_FORBIDDEN'], path);
  }
  const banning = `${room}/state/m.room.member/${bob.userId}?ts=1700000000000`;
  await service.do(server, 'PUT', banning, { body: { membership: 'ban' } });
  const inviting = `${room}/state/m.room.member/${bob.userId}?ts=1700000000001`;
  await service.do(server, 'POST', `${room}/unban`, { body: { user_id: bob.userId } });
  const full = await service.try(server, 'PUT', inviting, { body: { membership: 'invite' } });
  assert.equal(full.body.errcode, 'M_FORBIDDEN');
  await alice.post(`${room}/leave`, {});
  await service.do(server, 'PUT', inviting, { body: { membership: 'invite' } });
  await bob.join(roomId);
});

test('a service makes no room by replacing one that it could not make', async () => {
  await using both = await startWithService({ policy: { federation: false, publicRooms: false } });
  const { server, service } = both;
  const alice = await register(server, 'alice');
  const replaced = async (options: object): Promise<Answer> => {
    const roomId = await alice.createRoom({
      power_level_content_override: { users_default: 100 },
      ...options,
    });
    const room = `/rooms/${encodeURIComponent(roomId)}`;
    await alice.post(`${room}/invite`, { user_id: `@_bridge_bot:${server.serverName}` });
    await service.do(server, 'POST', `/join/${encodeURIComponent(roomId)}`, { body: {} });
    return service.try(server, 'POST', `${room}/upgrade`, { body: { new_version: '11' } });
  };
  const alone = { creation_content: { 'm.federate': false }, room_version: '10' };
  const state = (type: string, content: object) => ({ initial_state: [{ type, content }] });
  const forbidden: readonly object[] = [
    { room_version: '10' },
    { ...alone, preset: 'public_chat' },
    { ...alone, visibility: 'public', preset: 'private_chat' },
    { ...alone, ...state('m.room.history_visibility', { history_visibility: 'world_readable' }) },
  ];
  for (const options of forbidden) {
    const { status, body } = await replaced(options);
    assert.deepEqual([status, body.errcode], [403, 'M_FORBIDDEN'], JSON.stringify(options));
    assert.match(body.error, /policy/);
  }
  const { status, body } = await replaced({ ...alone, preset: 'private_chat' });
  assert.equal(status, 200, JSON.stringify(body));
});

test('without federation nobody of another server is invited into a room of a service, or joins it', async () => {
  await using fleet = await startFleet(2);
  const [server, far] = [fleet.at(0), fleet.at(1)];
  await using service = await startService();
  await addService(server, service, { federation: false });
  const bob = await register(far, 'bob');
  const { room_id: roomId } = await service.do(server, 'POST', '/createRoom', {
    body: { preset: 'public_chat' },
  });
  const invite = { body: { user_id: bob.userId } };
  const invited = await service.try(server, 'POST', `/rooms/${encodeURIComponent(roomId)}/invite`, invite);
  assert.deepEqual([invited.status, invited.body.errcode], [403, 'M_FORBIDDEN']);
  const made = await service.try(server, 'POST', '/createRoom', { body: { invite: [bob.userId] } });
  assert.deepEqual([made.status, made.body.errcode], [403, 'M_FORBIDDEN']);
  const via = `?server_name=${encodeURIComponent(server.serverName)}`;
  assert.equal((await bob.try('POST', `/join/${encodeURIComponent(roomId)}${via}`, {})).status, 403);
});
