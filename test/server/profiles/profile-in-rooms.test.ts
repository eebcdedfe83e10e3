import assert from 'node:assert/strict';
import { test } from 'node:test';
import { register } from '#test/harness/client.ts';
import { startServer } from '#test/harness/server.ts';

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
