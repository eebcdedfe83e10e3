/** The push rules of MSC4306: of threads that a user follows everything notifies, of others only mentions. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Body, register, type TestClient } from '#test/harness/client.ts';
import { startGateway } from '#test/harness/push-gateway.ts';
import { startServer } from '#test/harness/server.ts';

const RULES = ['unsubscribed_thread', 'subscribed_thread'].map(
  (name) => `/pushrules/global/postcontent/.io.element.msc4306.rule.${name}`,
);

const subscriptionOf = (roomId: string, rootId: string): string =>
  `/_matrix/client/unstable/io.element.msc4306/rooms/${encodeURIComponent(roomId)}/thread/${rootId}/subscription`;

const answerIn = (rootId: string, more: object = {}): object => ({
  msgtype: 'm.text',
  body: 'answer',
  'm.relates_to': { rel_type: 'm.thread', event_id: rootId },
  ...more,
});

async function unreadOf(user: TestClient, roomId: string, since?: string): Promise<number> {
  const { rooms } = await user.sync({ ...(since !== undefined && { since }) });
  return rooms?.join?.[roomId]?.unread_notifications?.notification_count;
}

test('with followed_threads a thread that nobody follows is silent but for mentions, one that is followed notifies', async () => {
  await using gateway = await startGateway();
  await using server = await startServer({ ...gateway.options, followedThreads: true });
  const [alice, bob] = [await register(server, 'alice'), await register(server, 'bob')];
  const roomId = await alice.createRoom();
  await bob.join(roomId);
  const rootId = await alice.send(roomId, 'root');
  await gateway.pusherOf(bob);
  const say = (more: object = {}) => alice.sendEvent(roomId, 'm.room.message', answerIn(rootId, more));
  await say();
  const mention = await say({ 'm.mentions': { user_ids: [bob.userId] } });
  await gateway.untilTold(mention);
  assert.deepEqual(gateway.events, [mention]);
  assert.equal(await unreadOf(bob, roomId), 2);

  // Also where the room is silent else.
  await bob.put(`/pushrules/global/room/${encodeURIComponent(roomId)}`, { actions: [] });
  await bob.put(subscriptionOf(roomId, rootId), {});
  const followed = await say();
  await alice.send(roomId, 'not in the thread');
  const told = await gateway.untilTold(followed);
  assert.deepEqual(told.devices[0].tweaks, { sound: 'default' });
  await bob.delete(subscriptionOf(roomId, rootId));
  await say();
  const last = await say({ 'm.mentions': { user_ids: [bob.userId] } });
  await gateway.untilTold(last);
  assert.deepEqual(gateway.events, [mention, followed, last]);
  assert.ok(
    (await bob.get('/notifications')).notifications.some(({ event }: Body) => event.event_id === last),
  );
});

test('what is unread is counted anew when a user begins or ceases to follow a thread', async () => {
  await using server = await startServer({ followedThreads: true });
  const [alice, bob] = [await register(server, 'alice'), await register(server, 'bob')];
  const roomId = await alice.createRoom();
  await bob.join(roomId);
  const rootId = await alice.send(roomId, 'root');
  for (let count = 0; count < 3; count++) await alice.sendEvent(roomId, 'm.room.message', answerIn(rootId));
  assert.equal(await unreadOf(bob, roomId), 1);
  const { next_batch: since } = await bob.sync();
  await bob.put(subscriptionOf(roomId, rootId), {});
  assert.equal(await unreadOf(bob, roomId, since), 4);
  await server.restart();
  assert.equal(await unreadOf(bob, roomId), 4);
  await bob.delete(subscriptionOf(roomId, rootId));
  assert.equal(await unreadOf(bob, roomId), 1);
});

test('without followed_threads the rules are there, disabled, and whoever wants enables them', async () => {
  await using server = await startServer();
  const [alice, bob] = [await register(server, 'alice'), await register(server, 'bob')];
  const roomId = await alice.createRoom();
  await bob.join(roomId);
  const rootId = await alice.send(roomId, 'root');
  await alice.sendEvent(roomId, 'm.room.message', answerIn(rootId));
  assert.equal(await unreadOf(bob, roomId), 2);
  for (const rule of RULES) {
    assert.deepEqual(await bob.get(`${rule}/enabled`), { enabled: false });
    await bob.put(`${rule}/enabled`, { enabled: true });
    assert.equal((await bob.get(rule)).enabled, true);
  }
  assert.equal(await unreadOf(bob, roomId), 1);
  assert.deepEqual(await alice.get(`${RULES[0]}/enabled`), { enabled: false });
  await server.restart();
  assert.equal(await unreadOf(bob, roomId), 1);
});
