import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Answer, type Body, register, type TestClient } from '#test/harness/client.ts';
import { startServer } from '#test/harness/server.ts';

function assertError(answer: Answer, status: number, errcode: string): void {
  assert.deepEqual([answer.status, answer.body.errcode], [status, errcode], JSON.stringify(answer.body));
}

const idsOf = (page: Body): string[] => page.notifications.map(({ event }: Body) => event.event_id);

function mentioning(user: TestClient): object {
  return { msgtype: 'm.text', body: 'x', 'm.mentions': { user_ids: [user.userId] } };
}

test('the events of all rooms that notified a user, newest first, page by page', async () => {
  await using server = await startServer();
  const alice = await register(server, 'alice');
  const bob = await register(server, 'bob');
  const rooms = [await alice.createRoom(), await alice.createRoom()];
  await alice.send(rooms[0] ?? '', 'before bob came');
  for (const roomId of rooms) await bob.join(roomId);
  const sent: string[] = [];
  for (let count = 0; count < 6; count++) {
    const roomId = rooms[count % 2] ?? '';
    sent.unshift(await alice.send(roomId, `${count}`));
    await bob.send(roomId, 'own');
    await alice.sendEvent(roomId, 'm.reaction', {});
  }
  const first = await bob.get('/notifications?limit=4');
  assert.deepEqual(idsOf(first), sent.slice(0, 4));
  const second = await bob.get(`/notifications?limit=4&from=${first.next_token}`);
  assert.deepEqual(idsOf(second), sent.slice(4));
  assert.equal(second.next_token, undefined);
  assert.deepEqual(idsOf(await bob.get('/notifications')), sent);
  assert.deepEqual(idsOf(await alice.get('/notifications')).length, 6);
});

test('a notification says what it is, which actions its rule has, where and when, and whether it is read', async () => {
  await using server = await startServer();
  const alice = await register(server, 'alice');
  const bob = await register(server, 'bob');
  const roomId = await alice.createRoom();
  await bob.join(roomId);
  const plain = await alice.send(roomId, 'plain');
  const loud = await alice.sendEvent(roomId, 'm.room.message', mentioning(bob));
  await bob.post(`/rooms/${encodeURIComponent(roomId)}/receipt/m.read/${encodeURIComponent(plain)}`);
  const [first, second] = (await bob.get('/notifications')).notifications;
  assert.equal(first.event.event_id, loud);
  assert.equal(first.event.room_id, undefined);
  assert.deepEqual(first.event.content, mentioning(bob));
  assert.deepEqual([first.room_id, first.read, second.read], [roomId, false, true]);
  assert.equal(typeof first.ts, 'number');
  const sound = { set_tweak: 'sound', value: 'default' };
  assert.deepEqual(first.actions, ['notify', sound, { set_tweak: 'highlight' }]);
  assert.deepEqual(second.actions, ['notify', sound]);
  assert.equal(JSON.stringify(first).includes('transaction_id'), false);
  assert.deepEqual(idsOf(await bob.get('/notifications?only=highlight')), [loud]);
});

test('what is redacted, ignored, muted or in a room that was left is not in the list', async () => {
  await using server = await startServer();
  const alice = await register(server, 'alice');
  const bob = await register(server, 'bob');
  const roomId = await alice.createRoom();
  await bob.join(roomId);
  const gone = await alice.send(roomId, 'secret');
  const kept = await alice.send(roomId, 'kept');
  const room = `/rooms/${encodeURIComponent(roomId)}`;
  await alice.put(`${room}/redact/${encodeURIComponent(gone)}/t`, {});
  assert.deepEqual(idsOf(await bob.get('/notifications')), [kept]);
  assert.equal(JSON.stringify(await bob.get('/notifications')).includes('secret'), false);
  const mute = `/pushrules/global/room/${encodeURIComponent(roomId)}`;
  await bob.put(mute, { actions: [] });
  assert.deepEqual(idsOf(await bob.get('/notifications')), []);
  await bob.delete(mute);
  const list = `/user/${bob.userId}/account_data/m.ignored_user_list`;
  await bob.put(list, { ignored_users: { [alice.userId]: {} } });
  assert.deepEqual(idsOf(await bob.get('/notifications')), []);
  await bob.put(list, { ignored_users: {} });
  await bob.post(`${room}/leave`);
  assert.deepEqual(await bob.get('/notifications'), { notifications: [] });
});

test('whoever is seldom notified gets to the end in pages that may be empty', async () => {
  await using server = await startServer();
  const alice = await register(server, 'alice');
  const bob = await register(server, 'bob');
  const roomId = await alice.createRoom();
  await bob.join(roomId);
  const loud = await alice.sendEvent(roomId, 'm.room.message', mentioning(bob));
  for (let sent = 0; sent < 1_050; sent += 50)
    await Promise.all(Array.from({ length: 50 }, () => alice.send(roomId, 'x')));
  const first = await bob.get('/notifications?only=highlight');
  assert.deepEqual(idsOf(first), []);
  const second = await bob.get(`/notifications?only=highlight&from=${first.next_token}`);
  assert.deepEqual(idsOf(second), [loud]);
  assert.equal(second.next_token, undefined);
});

test('wrong parameters are refused', async () => {
  await using server = await startServer();
  const alice = await register(server, 'alice');
  for (const query of ['from=x', 'limit=x', 'limit=-1', 'limit=0', 'only=all'])
    assertError(await alice.try('GET', `/notifications?${query}`), 400, 'M_INVALID_PARAM');
  assert.deepEqual(await alice.get('/notifications?from=s1_999999999999'), { notifications: [] });
  assert.deepEqual(await alice.get('/notifications?from=s1_-5'), { notifications: [] });
});
