import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RoomId, UserId } from '#keys/ids.ts';
import { type Sent, sendEvent } from '#rooms/send.ts';
import * as users from '#storage/users.ts';
import { type Answer, register } from '#test/harness/client.ts';
import { startServer } from '#test/harness/server.ts';
import { until } from '#test/harness/until.ts';

const member = (roomId: string, userId: string) =>
  `/rooms/${encodeURIComponent(roomId)}/state/m.room.member/${encodeURIComponent(userId)}`;

test('a change of name or avatar goes into the member events of all joined rooms, and of no other', async () => {
  await using server = await startServer();
  const alice = await register(server, 'alice');
  const bob = await register(server, 'bob');
  const joined = [await alice.createRoom(), await alice.createRoom(), await bob.createRoom()];
  await alice.join(joined[2] ?? '');
  const left = await alice.createRoom();
  await bob.join(left);
  await alice.post(`/rooms/${encodeURIComponent(left)}/leave`);

  await alice.put(`/profile/${alice.userId}/displayname`, { displayname: 'Alice' });
  await alice.put(`/profile/${alice.userId}/avatar_url`, { avatar_url: 'mxc://kurir.test/alice' });
  for (const roomId of joined) {
    const content = await alice.get(member(roomId, alice.userId));
    assert.deepEqual(
      [content.membership, content.displayname, content.avatar_url],
      ['join', 'Alice', 'mxc://kurir.test/alice'],
    );
  }
  assert.equal((await bob.get(member(left, alice.userId))).membership, 'leave');
  await alice.delete(`/profile/${alice.userId}/displayname`);
  const content = await alice.get(member(joined[0] ?? '', alice.userId));
  assert.equal('displayname' in content, false);
  assert.equal(content.avatar_url, 'mxc://kurir.test/alice');
});

test('who leaves a room while a new name goes to all rooms is not brought back by it', async () => {
  await using server = await startServer();
  const { ctx } = server;
  const alice = await register(server, 'alice');
  const bob = await register(server, 'bob');
  const [left, other] = [await bob.createRoom(), await bob.createRoom()];
  for (const roomId of [left, other]) await alice.join(roomId);
  const sender = alice.userId as UserId;
  let leaving: Promise<Sent> | undefined;
  let naming: Promise<unknown> | undefined;
  await ctx.roomLocks.run(left, async () => {
    // Both wait until the room is free, the name behind the leave.
    const draft = { sender, type: 'm.room.member', stateKey: sender, content: { membership: 'leave' } };
    leaving = sendEvent(ctx, { roomId: left as RoomId, ...draft });
    naming = alice.put(`/profile/${alice.userId}/displayname`, { displayname: 'Alice' });
    const isNamed = async () => (await bob.get(member(other, alice.userId))).displayname === 'Alice';
    await until(isNamed, 'that the other room has the name');
  });
  assert.equal((await leaving)?.kind, 'sent');
  await naming;
  assert.equal((await bob.get(member(left, alice.userId))).membership, 'leave');
});

test('the same name again makes no new event', async () => {
  await using server = await startServer();
  const alice = await register(server, 'alice');
  const roomId = await alice.createRoom();
  await alice.put(`/profile/${alice.userId}/displayname`, { displayname: 'Alice' });
  const { next_batch: since } = await alice.sync();
  await alice.put(`/profile/${alice.userId}/displayname`, { displayname: 'Alice' });
  const { rooms } = await alice.sync({ since });
  assert.equal(rooms?.join?.[roomId], undefined);
});

test('who is deactivated while they join a room does not stay in it', async () => {
  await using server = await startServer();
  const { ctx } = server;
  const alice = await register(server, 'alice');
  const bob = await register(server, 'bob');
  const roomId = await bob.createRoom();
  let joining: Promise<Answer> | undefined;
  await ctx.roomLocks.run(roomId, async () => {
    joining = alice.try('POST', `/join/${encodeURIComponent(roomId)}`, {});
    await alice.post('/account/deactivate', {
      auth: { type: 'm.login.password', user: 'alice', password: alice.password },
    });
    await until(async () => (await users.leavingRooms(ctx.db)).length === 0, 'that all rooms are left');
  });
  assert.equal((await joining)?.status, 403);
  assert.equal((await bob.get(member(roomId, alice.userId))).membership, 'leave');
});

test('a deactivated user leaves the rooms', async () => {
  await using server = await startServer();
  const alice = await register(server, 'alice');
  const bob = await register(server, 'bob');
  const roomId = await bob.createRoom();
  await alice.join(roomId);
  const { next_batch: since } = await bob.sync();
  const auth = { type: 'm.login.password', user: 'alice', password: alice.password };
  await alice.post('/account/deactivate', { auth });
  await bob.syncUntil(
    ({ rooms }) =>
      rooms?.join?.[roomId]?.timeline.events.some(
        (event: { state_key?: string; content: { membership?: string } }) =>
          event.state_key === alice.userId && event.content.membership === 'leave',
      ) ?? false,
    { since },
  );
});
