import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Body, register } from '#test/harness/client.ts';
import { startServer } from '#test/harness/server.ts';

const path = (roomId: string, rest: string) => `/rooms/${encodeURIComponent(roomId)}/${rest}`;
const ephemeral = (answer: Body, roomId: string, type: string): Body =>
  answer.rooms?.join?.[roomId]?.ephemeral.events.find((event: Body) => event.type === type)?.content;

async function twoInARoom() {
  const server = await startServer();
  const alice = await register(server);
  const bob = await register(server);
  const roomId = await alice.createRoom();
  await bob.join(roomId);
  return { server, alice, bob, roomId };
}

test('typing: wakes those in the room, and its end is told too', async () => {
  const { server, alice, bob, roomId } = await twoInARoom();
  await using _ = server;
  const typingPath = path(roomId, `typing/${encodeURIComponent(alice.userId)}`);
  const { next_batch: since } = await bob.sync();
  const waiting = bob.sync({ since, timeout: 10_000 });
  await alice.put(typingPath, { typing: true, timeout: 30_000 });
  const started = await waiting;
  assert.deepEqual(ephemeral(started, roomId, 'm.typing').user_ids, [alice.userId]);
  await alice.put(typingPath, { typing: false });
  const ended = await bob.sync({ since: started.next_batch });
  assert.deepEqual(ephemeral(ended, roomId, 'm.typing').user_ids, []);
  const quiet = await bob.sync({ since: ended.next_batch });
  assert.equal(quiet.rooms, undefined);
});

test('receipts: a public one is told to all, by event, type and user', async () => {
  const { server, alice, bob, roomId } = await twoInARoom();
  await using _ = server;
  const eventId = await alice.send(roomId, 'read me');
  const { next_batch: since } = await alice.sync();
  await bob.post(path(roomId, `receipt/m.read/${encodeURIComponent(eventId)}`), { thread_id: 'main' });
  const answer = await alice.sync({ since });
  const receipt = ephemeral(answer, roomId, 'm.receipt')[eventId]['m.read'][bob.userId];
  assert.equal(receipt.thread_id, 'main');
  assert.equal(typeof receipt.ts, 'number');
  assert.ok(ephemeral(await alice.sync(), roomId, 'm.receipt')[eventId], 'an initial sync has it as well');
});

test('receipts: a private one is told to its owner alone', async () => {
  const { server, alice, bob, roomId } = await twoInARoom();
  await using _ = server;
  const eventId = await alice.send(roomId, 'read me');
  const since = { alice: (await alice.sync()).next_batch, bob: (await bob.sync()).next_batch };
  await bob.post(path(roomId, `receipt/m.read.private/${encodeURIComponent(eventId)}`));
  const own = await bob.sync({ since: since.bob });
  assert.ok(ephemeral(own, roomId, 'm.receipt')[eventId]['m.read.private'][bob.userId]);
  assert.equal((await alice.sync({ since: since.alice })).rooms, undefined);
  assert.equal(ephemeral(await alice.sync(), roomId, 'm.receipt'), undefined);
});

test('receipts: none moves back', async () => {
  const { server, alice, bob, roomId } = await twoInARoom();
  await using _ = server;
  const [older, newer] = [await alice.send(roomId, 'one'), await alice.send(roomId, 'two')];
  const read = (eventId: string) => bob.post(path(roomId, `receipt/m.read/${encodeURIComponent(eventId)}`));
  await read(newer);
  const { next_batch: since } = await alice.sync();
  await read(older);
  assert.equal((await alice.sync({ since })).rooms, undefined);
});

test('receipts and markers: none moves back where two are set in one moment', async () => {
  const { server, alice, bob, roomId } = await twoInARoom();
  await using _ = server;
  const set = (eventId: string) =>
    Promise.all([
      bob.post(path(roomId, `receipt/m.read/${encodeURIComponent(eventId)}`)),
      bob.post(path(roomId, 'read_markers'), { 'm.fully_read': eventId }),
    ]);
  for (let round = 0; round < 5; round++) {
    const [earlier, later] = [await alice.send(roomId, 'one'), await alice.send(roomId, 'two')];
    await Promise.all([set(later), set(earlier)]);
    const answer = await bob.sync();
    assert.ok(ephemeral(answer, roomId, 'm.receipt')[later]?.['m.read'][bob.userId], `round ${round}`);
    const { events } = answer.rooms.join[roomId].account_data;
    const marker = events.find(({ type }: Body) => type === 'm.fully_read');
    assert.equal(marker.content.event_id, later, `round ${round}`);
  }
});

test('account data: of a room and of the account, told to the user alone; push rules come first', async () => {
  const { server, alice, bob, roomId } = await twoInARoom();
  await using _ = server;
  const first = await alice.sync();
  assert.equal(first.account_data.events[0].type, 'm.push_rules');
  const since = { alice: first.next_batch, bob: (await bob.sync()).next_batch };
  const user = encodeURIComponent(alice.userId);
  await alice.put(`/user/${user}/account_data/test.global`, { a: 1 });
  await alice.put(`/user/${user}/rooms/${encodeURIComponent(roomId)}/tags/m.favourite`, { order: 0.5 });
  const answer = await alice.sync({ since: since.alice });
  assert.deepEqual(answer.account_data.events, [{ type: 'test.global', content: { a: 1 } }]);
  assert.deepEqual(answer.rooms.join[roomId].account_data.events, [
    { type: 'm.tag', content: { tags: { 'm.favourite': { order: 0.5 } } } },
  ]);
  const other = await bob.sync({ since: since.bob });
  assert.equal(other.account_data, undefined);
  assert.equal(other.rooms, undefined);
});

test('receipts: of two for one event the one without a thread comes first, and the other is not lost', async () => {
  const { server, alice, bob, roomId } = await twoInARoom();
  await using _ = server;
  const root = await alice.send(roomId, 'root');
  const relates = { 'm.relates_to': { rel_type: 'm.thread', event_id: root } };
  const eventId = await alice.sendEvent(roomId, 'm.room.message', {
    msgtype: 'm.text',
    body: 'x',
    ...relates,
  });
  const { next_batch: since } = await bob.sync();
  const receipt = path(roomId, `receipt/m.read/${encodeURIComponent(eventId)}`);
  await alice.post(receipt);
  await alice.post(receipt, { thread_id: root });
  for (const answer of [await bob.sync({ since }), await bob.sync()]) {
    const told = answer.rooms.join[roomId].ephemeral.events.filter(({ type }: Body) => type === 'm.receipt');
    const threads = told.map(({ content }: Body) => content[eventId]['m.read'][alice.userId].thread_id);
    assert.deepEqual(threads, [undefined, root]);
  }
});

test('typing: who typed when the server stopped is not shown as typing for ever', async () => {
  const { server, alice, bob, roomId } = await twoInARoom();
  await using _ = server;
  await alice.put(path(roomId, `typing/${encodeURIComponent(alice.userId)}`), {
    typing: true,
    timeout: 60_000,
  });
  const { next_batch: since, ...answer } = await bob.sync();
  assert.deepEqual(ephemeral(answer, roomId, 'm.typing').user_ids, [alice.userId]);
  await server.restart();
  await alice.send(roomId, 'what I typed');
  const told = await bob.sync({ since });
  assert.deepEqual(ephemeral(told, roomId, 'm.typing').user_ids, []);
  await alice.send(roomId, 'more');
  assert.equal(ephemeral(await bob.sync({ since: told.next_batch }), roomId, 'm.typing'), undefined);
});
