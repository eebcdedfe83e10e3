/** What an operator may forbid a service: docs/bridges.md */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { register } from '#test/harness/client.ts';
import { startWithService } from '#test/harness/service-server.ts';

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
