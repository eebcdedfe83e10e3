import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Body, register, type TestClient } from '#test/harness/client.ts';
import { startServer } from '#test/harness/server.ts';
import { historyOf, SyncView, stateOf } from '#test/harness/sync-view.ts';

const MESSAGES = 40;

/** Sends messages and now and then a state event, to all rooms in turn. */
async function write(client: TestClient, rooms: readonly string[], name: string): Promise<void> {
  for (let number = 0; number < MESSAGES; number++) {
    const roomId = rooms[number % rooms.length] ?? '';
    if (number % 5 === 4) {
      await client.put(`/rooms/${encodeURIComponent(roomId)}/state/test.state/${name}`, { number });
    } else {
      await client.send(roomId, `${name} ${number}`);
    }
  }
}

/** Syncs until told to stop; loses every third answer, and asks for it again. */
async function follow(view: SyncView, hasEnded: () => boolean): Promise<void> {
  for (let round = 0; ; round++) {
    const isLast = hasEnded();
    const answer = await view.ask(isLast ? 0 : 200);
    if (round % 3 === 2 && !isLast) continue;
    view.take(answer);
    if (isLast && answer.rooms === undefined) return;
  }
}

test('sync: increments have neither gaps nor overlaps, whoever writes and whatever answers are lost', async () => {
  await using server = await startServer();
  const writers = [await register(server), await register(server), await register(server)];
  const [alice] = writers as [TestClient];
  const open = { power_level_content_override: { events: { 'test.state': 0 } } };
  const rooms = [await alice.createRoom(open), await alice.createRoom(open)];
  for (const writer of writers.slice(1)) for (const roomId of rooms) await writer.join(roomId);
  const filters = [
    undefined,
    { room: { timeline: { limit: 1000 } } },
    { room: { timeline: { limit: 1000 }, state: { lazy_load_members: true } } },
  ];
  const readers = [...writers, await register(server)];
  for (const roomId of rooms) await readers.at(-1)?.join(roomId);
  const views = readers.map(
    (reader, index) =>
      new SyncView(reader, { filter: filters[index % 3] ?? { room: { timeline: { limit: 1000 } } } }),
  );
  for (const view of views) await view.next();

  let ended = false;
  const writing = Promise.all(writers.map((writer, index) => write(writer, rooms, `w${index}`)));
  const following = views.map((view) => follow(view, () => ended));
  const end = () => {
    ended = true;
  };
  await Promise.all([writing.finally(end), ...following]);

  for (const roomId of rooms) {
    const all = await historyOf(alice, roomId);
    for (const view of views) {
      const { timeline } = view.room(roomId);
      assert.deepEqual(timeline, all.slice(-timeline.length), 'the timeline is the end of the history');
      assert.ok(timeline.length >= (MESSAGES / rooms.length) * writers.length);
    }
    const state = await stateOf(alice, roomId);
    for (const view of views) {
      for (const [key, eventId] of state) {
        // Lazily loaded members may be missing; what is there must be right.
        const seen = view.room(roomId).state.get(key);
        if (seen !== undefined || !key.startsWith('m.room.member')) assert.equal(seen, eventId, key);
      }
    }
  }
});

test('sync: a small timeline is limited, and /messages from its prev_batch fills the gap exactly', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const roomId = await alice.createRoom();
  const view = new SyncView(alice, { filter: { room: { timeline: { limit: 3 } } } });
  await view.next();
  const before = view.room(roomId).timeline.at(-1);
  for (let number = 0; number < 12; number++) {
    if (number % 4 === 0) {
      await alice.put(`/rooms/${encodeURIComponent(roomId)}/state/test.state/${number}`, { number });
    } else await alice.send(roomId, `${number}`);
  }
  const answer = await view.next();
  const { timeline, state } = answer.rooms.join[roomId];
  assert.equal(timeline.limited, true);
  assert.equal(timeline.events.length, 3);
  const stateKeys = state.events.map((event: Body) => event.state_key);
  assert.deepEqual(stateKeys.sort(), ['0', '4', '8'], 'state that was set in the gap is told');

  const all = await historyOf(alice, roomId);
  const path = `/rooms/${encodeURIComponent(roomId)}/messages?dir=b&limit=100&from=${timeline.prev_batch}`;
  const { chunk } = await alice.get(path);
  const older = chunk.map((event: Body) => event.event_id).reverse();
  const newer = timeline.events.map((event: Body) => event.event_id);
  assert.deepEqual([...older, ...newer], all);
  assert.ok(older.includes(before));
  assert.deepEqual(view.room(roomId).state, await stateOf(alice, roomId));
});

test('sync: the same request gives the same events again, after a restart too', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const roomId = await alice.createRoom();
  const view = new SyncView(alice);
  await view.next();
  const sent = [await alice.send(roomId, 'one'), await alice.send(roomId, 'two')];
  const told = async () => {
    const answer = await view.ask();
    return answer.rooms.join[roomId].timeline.events.map((event: Body) => event.event_id);
  };
  assert.deepEqual(await told(), sent);
  assert.deepEqual(await told(), sent);
  await server.restart();
  assert.deepEqual(await told(), sent);
});

test('sync: timelines of any length, asked for in any order, are the end of the history', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const roomId = await alice.createRoom();
  for (let number = 0; number < 60; number++) await alice.send(roomId, `${number}`);
  const all = await historyOf(alice, roomId, 100);
  for (const limit of [5, 20, 45, 20, 49, 60, 1000, 21]) {
    const { timeline } = (await alice.sync({ filter: { room: { timeline: { limit } } } })).rooms.join[roomId];
    const ids = timeline.events.map((event: Body) => event.event_id);
    assert.deepEqual(ids, all.slice(-limit));
    assert.equal(timeline.limited, limit < all.length);
  }
});
