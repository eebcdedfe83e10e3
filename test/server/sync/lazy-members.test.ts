import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Body, register, type TestClient } from '#test/harness/client.ts';
import { startServer } from '#test/harness/server.ts';

const lazy = (limit: number, more: object = {}) => ({
  room: { timeline: { limit }, state: { lazy_load_members: true, ...more } },
});

const membersIn = (section: Body): string[] =>
  section.state.events
    .filter((event: Body) => event.type === 'm.room.member')
    .map((event: Body) => event.state_key)
    .sort();

async function populated(): Promise<{
  server: Awaited<ReturnType<typeof startServer>>;
  alice: TestClient;
  bob: TestClient;
  carol: TestClient;
  roomId: string;
}> {
  const server = await startServer();
  const alice = await register(server);
  const bob = await register(server);
  const carol = await register(server);
  const roomId = await alice.createRoom({ name: 'Room' });
  await bob.join(roomId);
  await carol.join(roomId);
  return { server, alice, bob, carol, roomId };
}

test('lazy loading: the first answer has the members of the timeline and oneself', async () => {
  const { server, alice, bob, carol, roomId } = await populated();
  await using _ = server;
  await bob.send(roomId, 'hello');
  const answer = await alice.sync({ filter: lazy(1) });
  assert.deepEqual(membersIn(answer.rooms.join[roomId]), [alice.userId, bob.userId].sort());
  const full = await carol.sync({ filter: { room: { timeline: { limit: 1 } } } });
  assert.equal(membersIn(full.rooms.join[roomId]).length, 3, 'without lazy loading all are told');
});

test('lazy loading: a member is told once, when they first speak, and again only if the answer was lost', async () => {
  const { server, alice, bob, carol, roomId } = await populated();
  await using _ = server;
  const filter = lazy(10);
  await alice.send(roomId, 'enough');
  for (let number = 0; number < 10; number++) await alice.send(roomId, `${number}`);
  const first = await alice.sync({ filter });
  assert.deepEqual(membersIn(first.rooms.join[roomId]), [alice.userId]);

  await bob.send(roomId, 'one');
  const since = first.next_batch;
  const told = await alice.sync({ since, filter });
  assert.deepEqual(membersIn(told.rooms.join[roomId]), [bob.userId]);
  const again = await alice.sync({ since, filter });
  assert.deepEqual(membersIn(again.rooms.join[roomId]), [bob.userId], 'the first answer may have been lost');

  await bob.send(roomId, 'two');
  await carol.send(roomId, 'three');
  const next = await alice.sync({ since: again.next_batch, filter });
  assert.deepEqual(membersIn(next.rooms.join[roomId]), [carol.userId]);
  await bob.send(roomId, 'four');
  const redundant = lazy(10, { include_redundant_members: true });
  const last = await alice.sync({ since: next.next_batch, filter: redundant });
  assert.deepEqual(membersIn(last.rooms.join[roomId]), [bob.userId]);
});

test('lazy loading: changes of members within a gap are told', async () => {
  const { server, alice, bob, carol, roomId } = await populated();
  await using _ = server;
  const filter = lazy(2);
  const { next_batch: since } = await alice.sync({ filter });
  await bob.put(`/profile/${encodeURIComponent(bob.userId)}/displayname`, { displayname: 'Robert' });
  await carol.post(`/rooms/${encodeURIComponent(roomId)}/leave`);
  for (let number = 0; number < 4; number++) await alice.send(roomId, `${number}`);
  const section = (await alice.sync({ since, filter })).rooms.join[roomId];
  assert.equal(section.timeline.limited, true);
  assert.deepEqual(membersIn(section), [bob.userId, carol.userId].sort());
  assert.equal(section.summary['m.joined_member_count'], 2);
});

test('lazy loading: heroes name a room without a name, and their members are told', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const bob = await register(server);
  const roomId = await alice.createRoom({ preset: 'private_chat', invite: [bob.userId] });
  for (let number = 0; number < 3; number++) await alice.send(roomId, `${number}`);
  const section = (await alice.sync({ filter: lazy(1) })).rooms.join[roomId];
  assert.deepEqual(section.summary['m.heroes'], [bob.userId]);
  assert.equal(section.summary['m.invited_member_count'], 1);
  assert.deepEqual(membersIn(section), [alice.userId, bob.userId].sort());
});

test('lazy loading: /messages tells the members of those who speak in it', async () => {
  const { server, alice, bob, roomId } = await populated();
  await using _ = server;
  await bob.send(roomId, 'hello');
  const filter = encodeURIComponent(JSON.stringify({ lazy_load_members: true, types: ['m.room.message'] }));
  const page = await alice.get(
    `/rooms/${encodeURIComponent(roomId)}/messages?dir=b&limit=10&filter=${filter}`,
  );
  assert.deepEqual(
    page.state.map((event: Body) => event.state_key),
    [bob.userId],
  );
});

test('lazy loading: a client that begins again is told anew who speaks', async () => {
  const { server, alice, bob, roomId } = await populated();
  await using _ = server;
  const filter = lazy(2);
  await bob.send(roomId, 'one');
  const { next_batch: first } = await alice.sync({ filter });
  assert.ok(first);
  for (let number = 0; number < 2; number++) await alice.send(roomId, `${number}`);
  const again = await alice.sync({ filter });
  assert.deepEqual(membersIn(again.rooms.join[roomId]), [alice.userId]);
  await bob.send(roomId, 'two');
  const told = await alice.sync({ since: again.next_batch, filter });
  assert.deepEqual(membersIn(told.rooms.join[roomId]), [bob.userId]);
});

test('lazy loading: /messages back to the beginning tells who created the room', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const roomId = await alice.createRoom();
  const { next_batch: from } = await alice.sync();
  const query = `dir=b&limit=100&from=${from}&filter=${encodeURIComponent('{"lazy_load_members":true}')}`;
  const { chunk, state } = await alice.get(`/rooms/${encodeURIComponent(roomId)}/messages?${query}`);
  assert.equal(chunk.at(-1).type, 'm.room.create');
  assert.deepEqual(
    state.map((event: Body) => [event.state_key, event.content.membership]),
    [[alice.userId, 'join']],
  );
});
