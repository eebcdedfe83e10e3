import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Body, login, register } from '#test/harness/client.ts';
import { startServer } from '#test/harness/server.ts';

test('long poll: answers with nothing when its time is over, and goes on from there', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const roomId = await alice.createRoom();
  const { next_batch: since } = await alice.sync();
  const empty = await alice.sync({ since, timeout: 50 });
  assert.equal(empty.rooms, undefined);
  const sent = await alice.send(roomId, 'later');
  const answer = await alice.sync({ since: empty.next_batch });
  assert.equal(answer.rooms.join[roomId].timeline.events[0].event_id, sent);
});

test('long poll: an event in a room of others wakes nobody', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const bob = await register(server);
  const [mine, theirs] = [await alice.createRoom(), await bob.createRoom()];
  const { next_batch: since } = await alice.sync();
  const waiting = alice.sync({ since, timeout: 10_000 });
  await bob.send(theirs, 'not for alice');
  await alice.send(mine, 'for alice');
  const { rooms } = await waiting;
  assert.deepEqual(Object.keys(rooms.join), [mine]);
});

test('long poll: of five requests of one device the oldest is answered at once', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const { next_batch: since } = await alice.sync();
  const polls = Array.from({ length: 4 }, () => alice.sync({ since, timeout: 30_000 }));
  const settled: number[] = [];
  for (const [index, poll] of polls.entries()) poll.then(() => settled.push(index));
  const fifth = alice.sync({ since, timeout: 30_000 });
  await Promise.race(polls);
  assert.equal(settled.length, 1);
  await alice.createRoom();
  await Promise.all([...polls, fifth]);
});

test('long poll: all that wait are answered when the server stops', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const bob = await register(server);
  // At once, on a connection each: the polls go out on these, before the request that opens a third one.
  const since = await Promise.all([alice, bob].map(async (user) => (await user.sync()).next_batch));
  const polls = [alice, bob].map((user, index) => user.sync({ since: since[index] ?? '', timeout: 60_000 }));
  await alice.get('/account/whoami');
  await server.stop();
  for (const answer of await Promise.all(polls)) assert.equal(typeof answer.next_batch, 'string');
});

test('tokens: what is no token is refused; one from the future begins again', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const roomId = await alice.createRoom();
  for (const since of ['s1', 's2_5', 's1_-4', 's1_5_', "s1_1'", 's1_1234567890123456']) {
    const answer = await alice.try('GET', `/sync?since=${encodeURIComponent(since)}`);
    assert.equal(answer.status, 400, since);
    assert.equal(answer.body.errcode, 'M_INVALID_PARAM');
  }
  const future = await alice.sync({ since: 's1_999999999' });
  assert.ok(future.rooms.join[roomId].state, 'as an initial sync');
  assert.ok(future.account_data.events.length > 0);
});

test('sync: wrong parameters are refused', async () => {
  await using server = await startServer();
  const alice = await register(server);
  for (const query of ['timeout=soon', 'filter=%7Bbroken', 'filter=99', 'timeout=-1']) {
    const { status, body } = await alice.try('GET', `/sync?${query}`);
    assert.equal(status, 400, query);
    assert.equal(body.errcode, 'M_INVALID_PARAM');
  }
  const answer = await fetch(`${server.clientUrl}/_matrix/client/v3/sync`);
  assert.equal(answer.status, 401);
});

test('long poll: a device that is signed out while it waits is told nothing more', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const phone = await login(server, alice.userId, alice.password);
  const { next_batch: since } = await phone.sync();
  const waiting = phone.try('GET', `/sync?timeout=10000&since=${since}`);
  await phone.post('/logout');
  await alice.createRoom();
  const { status, body } = await waiting;
  assert.equal(status, 401);
  assert.equal(body.errcode, 'M_UNKNOWN_TOKEN');
});

test('state_after: with use_state_after the state is that of the end of the timeline', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const roomId = await alice.createRoom({ name: 'old' });
  const { next_batch: since } = await alice.sync();
  await alice.put(`/rooms/${encodeURIComponent(roomId)}/state/m.room.name`, { name: 'new' });
  for (const [query, member] of [
    ['use_state_after', 'state_after'],
    ['org.matrix.msc4222.use_state_after', 'org.matrix.msc4222.state_after'],
  ] as const) {
    const section = (await alice.get(`/sync?since=${since}&${query}=true`)).rooms.join[roomId];
    assert.equal(section.state, undefined);
    assert.deepEqual(
      section[member].events.map((event: Body) => event.content.name),
      ['new'],
    );
    assert.equal(section.timeline.events.length, 1);
  }
});
