/** Answers that are put together from memory are those that are made by asking the database. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Body, login, register, type TestClient } from '#test/harness/client.ts';
import { startServer } from '#test/harness/server.ts';

type Deed = (world: World) => Promise<unknown>;

interface World {
  readonly alice: TestClient;
  readonly bob: TestClient;
  readonly carol: TestClient;
  readonly roomId: string;
  readonly otherId: string;
}

const LAZY = { lazy_load_members: true };
const room = ({ roomId }: World) => `/rooms/${encodeURIComponent(roomId)}`;
const message = (body: string, more: object = {}) => ({ msgtype: 'm.text', body, ...more });

const DEEDS: Readonly<Record<string, Deed>> = {
  'a message': ({ bob, roomId }) => bob.send(roomId, 'hello'),
  'a message of somebody who has not spoken before': ({ carol, roomId }) => carol.send(roomId, 'hello'),
  'a message of the device itself': ({ alice, roomId }) => alice.send(roomId, 'mine'),
  'a message of another device': async ({ alice, roomId }) => {
    const other = await login(alice.server, alice.userId, alice.password);
    await other.send(roomId, 'mine, too');
  },
  'messages in two rooms': async ({ bob, roomId, otherId }) => {
    await bob.send(roomId, 'here');
    await bob.send(otherId, 'there');
  },
  'a mention': ({ alice, bob, roomId }) =>
    bob.sendEvent(roomId, 'm.room.message', message('you', { 'm.mentions': { user_ids: [alice.userId] } })),
  'a mention of all': ({ bob, roomId }) =>
    bob.sendEvent(roomId, 'm.room.message', message('all', { 'm.mentions': { room: true } })),
  'a thread': async ({ bob, roomId }) => {
    const root = await bob.send(roomId, 'root');
    const relation = { rel_type: 'm.thread', event_id: root };
    await bob.sendEvent(roomId, 'm.room.message', message('in it', { 'm.relates_to': relation }));
  },
  'a redaction': async (world) => {
    const eventId = await world.bob.send(world.roomId, 'regretted');
    await world.bob.put(`${room(world)}/redact/${encodeURIComponent(eventId)}/t${Date.now()}`);
  },
  'a topic': (world) => world.alice.put(`${room(world)}/state/m.room.topic`, { topic: `${Math.random()}` }),
  'a receipt of another': async (world) => {
    const eventId = await world.bob.send(world.roomId, 'read by carol');
    await world.carol.post(`${room(world)}/receipt/m.read/${encodeURIComponent(eventId)}`);
  },
  'a receipt of the user': async (world) => {
    const eventId = await world.bob.send(world.roomId, 'read by alice');
    await world.alice.post(`${room(world)}/receipt/m.read/${encodeURIComponent(eventId)}`);
    await world.bob.send(world.roomId, 'unread');
  },
  'typing, and a message': async (world) => {
    const path = `${room(world)}/typing/${encodeURIComponent(world.bob.userId)}`;
    await world.bob.put(path, { typing: true, timeout: 30_000 });
    await world.bob.send(world.roomId, 'typed');
  },
  'account data, and a message': async ({ alice, bob, roomId }) => {
    const path = `/user/${encodeURIComponent(alice.userId)}/account_data/org.example`;
    await alice.put(path, { n: Math.random() });
    await bob.send(roomId, 'besides');
  },
  'thirty messages': async ({ bob, roomId }) => {
    for (let count = 0; count < 30; count++) await bob.send(roomId, `number ${count}`);
  },
};

test('an answer from memory is the one that is made by asking the database', async () => {
  await using server = await startServer({ presence: 'off' });
  const [alice, bob, carol] = [await register(server), await register(server), await register(server)];
  const [roomId, otherId] = [await alice.createRoom(), await alice.createRoom()];
  for (const user of [bob, carol]) for (const id of [roomId, otherId]) await user.join(id);
  const world = { alice, bob, carol, roomId, otherId };
  for (const state of [{}, LAZY]) {
    const quick = { room: { timeline: { limit: 20 }, state } };
    // That names the rooms whose state is wanted: the same here, but found in another way.
    const slow = { room: { timeline: { limit: 20 }, state: { ...state, rooms: [roomId, otherId] } } };
    for (const [name, deed] of Object.entries(DEEDS)) {
      const { next_batch: since } = await alice.sync({ filter: slow });
      const waiting = alice.sync({ filter: quick, since, timeout: 10_000 });
      await deed(world);
      await waiting;
      const expected = withoutAge(await alice.sync({ filter: slow, since }));
      for (let time = 0; time < 2; time++) {
        const answer = withoutAge(await alice.sync({ filter: quick, since }));
        assert.deepEqual(answer, expected, name);
      }
    }
  }
});

test('what is told from memory is no more than the filter lets through, nor of whom the user ignores', async () => {
  await using server = await startServer({ presence: 'off' });
  const [alice, bob] = [await register(server), await register(server)];
  const [roomId, otherId] = [await alice.createRoom(), await alice.createRoom()];
  for (const id of [roomId, otherId]) await bob.join(id);
  const { next_batch: since } = await alice.sync();
  await bob.send(roomId, 'here');
  await bob.send(otherId, 'there');
  for (let time = 0; time < 2; time++) {
    const filter = { room: { rooms: [otherId] } };
    assert.deepEqual(Object.keys((await alice.sync({ since, filter })).rooms.join), [otherId]);
    const none = await alice.sync({ since, filter: { room: { timeline: { not_senders: [bob.userId] } } } });
    assert.deepEqual(none.rooms?.join[roomId]?.timeline.events ?? [], []);
  }
  await alice.put(`/user/${encodeURIComponent(alice.userId)}/account_data/m.ignored_user_list`, {
    ignored_users: { [bob.userId]: {} },
  });
  const { next_batch: ignoring } = await alice.sync();
  await bob.send(roomId, 'unheard');
  const { rooms } = await alice.sync({ since: ignoring });
  assert.deepEqual(rooms?.join[roomId]?.timeline.events ?? [], []);
});

function withoutAge(answer: Body): Body {
  return JSON.parse(JSON.stringify(answer, (key, value) => (key === 'age' ? undefined : value)));
}
