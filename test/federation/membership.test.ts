import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { SUPPORTED_VERSIONS } from '#rooms/versions.ts';
import { type Body, register } from '#test/harness/client.ts';
import { bringIn, inRoom, membershipOf, untilInvited, untilMember } from '#test/harness/conversation.ts';
import { startFleet } from '#test/harness/fleet.ts';
import { until } from '#test/harness/until.ts';

const fleet = await startFleet(3);
after(() => fleet[Symbol.asyncDispose]());
const alice = await register(fleet.at(0), 'alice');
const bob = await register(fleet.at(1), 'bob');
const carol = await register(fleet.at(2), 'carol');

for (const version of SUPPORTED_VERSIONS) {
  for (const [host, guest] of [
    [alice, bob],
    [bob, alice],
  ] as const) {
    test(`v${version}: ${host.userId} invites, kicks, bans and unbans ${guest.userId}`, async () => {
      const roomId = await host.createRoom({
        ...{ preset: 'private_chat', name: 'Plans', room_version: version },
      });
      await host.post(`${inRoom(roomId)}/invite`, { user_id: guest.userId, reason: 'come' });
      const state = await untilInvited(guest, roomId);
      assert.equal(state.find((event) => event.type === 'm.room.name')?.content.name, 'Plans');
      assert.equal(state.find((event) => event.state_key === guest.userId)?.content.reason, 'come');
      await guest.join(roomId);
      assert.equal(await membershipOf(guest, roomId, host.userId), 'join');
      await untilMember(host, roomId, guest.userId, 'join');

      const { next_batch: since } = await guest.sync();
      await host.post(`${inRoom(roomId)}/kick`, { user_id: guest.userId });
      await guest.syncUntil(({ rooms }: Body) => rooms?.leave?.[roomId] !== undefined, { since });
      const refused = await guest.try('POST', `/join/${encodeURIComponent(roomId)}`);
      assert.equal(refused.status, 403);

      await bringIn(host, guest, roomId);
      await untilMember(host, roomId, guest.userId, 'join');
      await guest.post(`${inRoom(roomId)}/leave`);
      await untilMember(host, roomId, guest.userId, 'leave');

      await host.post(`${inRoom(roomId)}/ban`, { user_id: guest.userId });
      await host.post(`${inRoom(roomId)}/unban`, { user_id: guest.userId });
      await bringIn(host, guest, roomId);
      await untilMember(host, roomId, guest.userId, 'join');
    });
  }
}

test('who joins a room of another server is told the invitation that the join replaces', async () => {
  const roomId = await alice.createRoom({
    ...{ preset: 'private_chat', invite: [bob.userId], is_direct: true },
  });
  await untilInvited(bob, roomId);
  await bob.join(roomId);
  const { rooms } = await bob.syncUntil(({ rooms }: Body) => rooms?.join?.[roomId] !== undefined);
  const { timeline, state } = rooms.join[roomId];
  const ofBob = (event: Body) => event.state_key === bob.userId;
  const join = timeline.events.find(ofBob);
  assert.equal(join?.content.membership, 'join');
  assert.deepEqual(join?.unsigned.prev_content, { membership: 'invite', is_direct: true });
  // The state is that before the timeline.
  const memberships = state.events.filter(ofBob).map((event: Body) => event.content.membership);
  assert.deepEqual(memberships, ['invite']);
});

test('an invitation is declined', async () => {
  const roomId = await alice.createRoom({ preset: 'private_chat' });
  await alice.post(`${inRoom(roomId)}/invite`, { user_id: bob.userId });
  await untilInvited(bob, roomId);
  await bob.post(`${inRoom(roomId)}/leave`);
  await untilMember(alice, roomId, bob.userId, 'leave');
  const { rooms } = await bob.sync();
  assert.equal(rooms?.invite?.[roomId], undefined);
});

test('an invitation is declined although no server of the room answers', async () => {
  const roomId = await carol.createRoom({ preset: 'private_chat' });
  await carol.post(`${inRoom(roomId)}/invite`, { user_id: bob.userId });
  await untilInvited(bob, roomId);
  await fleet.at(2).stop();
  await bob.post(`${inRoom(roomId)}/leave`);
  const { rooms } = await bob.sync();
  assert.equal(rooms?.invite?.[roomId], undefined);
  await fleet.at(2).start();
});

test('an invitation is withdrawn', async () => {
  const roomId = await alice.createRoom({ preset: 'private_chat' });
  await alice.post(`${inRoom(roomId)}/invite`, { user_id: bob.userId });
  await untilInvited(bob, roomId);
  await alice.post(`${inRoom(roomId)}/kick`, { user_id: bob.userId });
  await until(async () => (await bob.sync()).rooms?.invite?.[roomId] === undefined, 'the withdrawal');
});

test('an unknown user of another server cannot be invited', async () => {
  const roomId = await alice.createRoom({ preset: 'private_chat' });
  const nobody = `@nobody:${fleet.at(1).serverName}`;
  const answer = await alice.try('POST', `${inRoom(roomId)}/invite`, { user_id: nobody });
  assert.equal(answer.status, 404);
  assert.equal(await membershipOf(alice, roomId, nobody), undefined);
});

test('a public room is joined by its alias, and its servers are found by it', async () => {
  const roomId = await alice.createRoom({ room_alias_name: 'square', name: 'Square' });
  const alias = `#square:${fleet.at(0).serverName}`;
  const resolved = await bob.get(`/directory/room/${encodeURIComponent(alias)}`);
  assert.equal(resolved.room_id, roomId);
  assert.ok(resolved.servers.includes(fleet.at(0).serverName));
  assert.equal((await bob.join(alias)).room_id, roomId);
  await untilMember(alice, roomId, bob.userId, 'join');
});

test('a third server joins through the second, and all three see each other', async () => {
  const roomId = await alice.createRoom();
  await bob.join(roomId, [fleet.at(0).serverName]);
  await carol.join(roomId, [fleet.at(1).serverName]);
  for (const viewer of [alice, bob, carol]) {
    for (const { userId } of [alice, bob, carol]) await untilMember(viewer, roomId, userId, 'join');
  }
});

test('a join goes on to the next server where the first does not answer', async () => {
  const roomId = await alice.createRoom();
  await bob.join(roomId, ['localhost:9', fleet.at(0).serverName]);
  await untilMember(alice, roomId, bob.userId, 'join');
});

test('a room that nobody knows cannot be joined', async () => {
  const roomId = `!nothing:${fleet.at(0).serverName}`;
  const answer = await bob.try('POST', `/join/${encodeURIComponent(roomId)}`);
  assert.equal(answer.status, 404);
});

for (const version of ['10', '12']) {
  test(`v${version}: who is in the one room may join the restricted other, and nobody else`, async () => {
    const club = await alice.createRoom();
    const allow = [{ type: 'm.room_membership', room_id: club }];
    const roomId = await alice.createRoom({
      room_version: version,
      preset: 'private_chat',
      initial_state: [{ type: 'm.room.join_rules', content: { join_rule: 'restricted', allow } }],
    });
    const via = [fleet.at(0).serverName];
    const path = `/join/${encodeURIComponent(roomId)}?via=${encodeURIComponent(via[0] ?? '')}`;
    assert.equal((await bob.try('POST', path)).status, 403);
    await bob.join(club, via);
    await bob.join(roomId, via);
    await untilMember(alice, roomId, bob.userId, 'join');
    const member = `${inRoom(roomId)}/state/m.room.member/${encodeURIComponent(bob.userId)}`;
    assert.equal((await alice.get(member)).join_authorised_via_users_server, alice.userId);
  });
}
