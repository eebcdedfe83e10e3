/** https://spec.matrix.org/v1.19/client-server-api/#invite-permission */

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { type Answer, register, type TestClient } from '#test/harness/client.ts';
import { inRoom, membershipOf, untilInvited } from '#test/harness/conversation.ts';
import { startFleet } from '#test/harness/fleet.ts';
import { RoomPeer } from '#test/harness/room-peer.ts';

const fleet = await startFleet(2);
after(() => fleet[Symbol.asyncDispose]());
const alice = await register(fleet.at(0), 'alice');
const neighbour = await register(fleet.at(0), 'neighbour');
const bob = await register(fleet.at(1), 'bob');
const encode = encodeURIComponent;

function setPermission(user: TestClient, content: object): Promise<unknown> {
  return user.put(`/user/${encode(user.userId)}/account_data/m.invite_permission_config`, content);
}

function assertBlocked({ status, body }: Answer): void {
  assert.deepEqual([status, body.errcode], [403, 'M_INVITE_BLOCKED']);
}

for (const [where, user] of [
  ['the same server', neighbour],
  ['another server', bob],
] as const) {
  test(`a user of ${where} who blocks invitations gets none, and who invites is told so`, async () => {
    const roomId = await alice.createRoom({ preset: 'private_chat' });
    const member = `${inRoom(roomId)}/state/m.room.member/${encode(user.userId)}`;
    await setPermission(user, { default_action: 'block' });
    assertBlocked(await alice.try('POST', `${inRoom(roomId)}/invite`, { user_id: user.userId }));
    assertBlocked(await alice.try('PUT', member, { membership: 'invite' }));
    assert.equal(await membershipOf(alice, roomId, user.userId), undefined);
    // "A missing, invalid or unsupported value means that the user wants to receive invites as normal."
    for (const content of [{}, { default_action: 'allow' }, { default_action: 7 }]) {
      await setPermission(user, content);
      const other = await alice.createRoom({ preset: 'private_chat' });
      await alice.post(`${inRoom(other)}/invite`, { user_id: user.userId });
      await untilInvited(user, other);
    }
  });

  test(`an invitation to a user of ${where} is not told while they block them, and is there afterwards`, async () => {
    await setPermission(user, {});
    const roomId = await alice.createRoom({ preset: 'private_chat' });
    await alice.post(`${inRoom(roomId)}/invite`, { user_id: user.userId });
    await untilInvited(user, roomId);
    await setPermission(user, { default_action: 'block' });
    assert.equal((await user.sync()).rooms?.invite, undefined);
    // Of other endpoints nothing is kept back.
    assert.equal(await membershipOf(alice, roomId, user.userId), 'invite');
    await setPermission(user, {});
    assert.ok((await user.sync()).rooms.invite[roomId]);
    await user.join(roomId);
  });
}

test('createRoom refuses to invite a user of ours who blocks it, and makes the room without one elsewhere', async () => {
  await setPermission(neighbour, { default_action: 'block' });
  await setPermission(bob, { default_action: 'block' });
  assertBlocked(await alice.try('POST', '/createRoom', { invite: [neighbour.userId] }));
  const roomId = await alice.createRoom({ invite: [bob.userId] });
  assert.equal(await membershipOf(alice, roomId, bob.userId), undefined);
  await setPermission(neighbour, {});
  await setPermission(bob, {});
});

test('both versions of the invite endpoint answer M_INVITE_BLOCKED', async () => {
  await using peer = await new RoomPeer(fleet.authority).start();
  const user = await register(fleet.at(0));
  await setPermission(user, { default_action: 'block' });
  for (const [version, api] of [
    ['1', 'v1'],
    ['12', 'v2'],
  ] as const) {
    const room = peer.makeRoom({ version });
    const options = { type: 'm.room.member', state_key: user.userId, content: { membership: 'invite' } };
    const event = room.draft(peer.user('mallory'), options);
    const whole = { room_version: version, event: event.pdu, invite_room_state: [room.create.pdu] };
    const answer = await peer.request(fleet.at(0), {
      method: 'PUT',
      path: `/_matrix/federation/${api}/invite/${encode(room.roomId)}/${encode(event.eventId)}`,
      body: api === 'v1' ? event.pdu : whole,
    });
    assert.deepEqual([answer.status, answer.body.errcode], [403, 'M_INVITE_BLOCKED'], api);
  }
});

/** Of a user of the second server, by MSC4155. */
function setFilter(user: TestClient, content: object): Promise<unknown> {
  const type = 'org.matrix.msc4155.invite_permission_config';
  return user.put(`/user/${encode(user.userId)}/account_data/${type}`, content);
}

test('MSC4155: invitations are blocked, ignored or allowed by user and server, the first list that fits counts', async () => {
  const wishes: readonly [filter: object, wish: 'allow' | 'ignore' | 'block'][] = [
    [{}, 'allow'],
    [{ blocked_users: [alice.userId] }, 'block'],
    [{ ignored_users: [alice.userId] }, 'ignore'],
    [{ blocked_servers: ['*'] }, 'block'],
    [{ ignored_servers: [fleet.at(0).serverName] }, 'ignore'],
    [{ blocked_users: ['@ali?e:*'] }, 'block'],
    [{ allowed_users: [alice.userId], blocked_servers: ['*'] }, 'allow'],
    [{ blocked_users: [alice.userId], allowed_servers: ['*'] }, 'block'],
    [{ allowed_users: ['*'], ignored_users: ['*'], blocked_users: ['*'] }, 'allow'],
    [{ enabled: false, blocked_users: ['*'] }, 'allow'],
    [{ blocked_users: null, ignored_users: 'x', blocked_servers: [5, null] }, 'allow'],
  ];
  for (const where of [0, 1]) {
    for (const [filter, wish] of wishes) {
      const user = await register(fleet.at(where));
      await setFilter(user, filter);
      const roomId = await alice.createRoom({ preset: 'private_chat' });
      const answer = await alice.try('POST', `${inRoom(roomId)}/invite`, { user_id: user.userId });
      const what = `${JSON.stringify(filter)} at ${where}`;
      if (wish === 'block') assertBlocked(answer);
      else assert.equal(answer.status, 200, what);
      if (wish === 'allow') await untilInvited(user, roomId);
      else assert.equal((await user.sync()).rooms?.invite, undefined, what);
    }
  }
});
