/** MSC4306 and MSC4308: threads that a user follows. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Answer, type Body, register, type TestClient } from '#test/harness/client.ts';
import { startFleet } from '#test/harness/fleet.ts';
import { startServer } from '#test/harness/server.ts';
import { until } from '#test/harness/until.ts';
import { FACES, SlidingClient } from '#test/server/sliding-sync/face.ts';

const MSC4306 = '/_matrix/client/unstable/io.element.msc4306';
const CHANGES = '/_matrix/client/unstable/io.element.msc4308/thread_subscriptions';
const EXTENSION = 'io.element.msc4308.thread_subscriptions';

function pathOf(roomId: string, rootId: string): string {
  return `${MSC4306}/rooms/${encodeURIComponent(roomId)}/thread/${encodeURIComponent(rootId)}/subscription`;
}

function reply(client: TestClient, roomId: string, rootId: string): Promise<string> {
  const relation = { 'm.relates_to': { rel_type: 'm.thread', event_id: rootId } };
  return client.sendEvent(roomId, 'm.room.message', { msgtype: 'm.text', body: 'reply', ...relation });
}

function refused(answer: Answer, status: number, errcode: string): void {
  assert.deepEqual([answer.status, answer.body.errcode], [status, errcode], JSON.stringify(answer.body));
}

test('a user subscribes to a thread and unsubscribes, as often as they like', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const roomId = await alice.createRoom();
  const path = pathOf(roomId, await alice.send(roomId, 'root'));
  refused(await alice.try('GET', path), 404, 'M_NOT_FOUND');
  assert.deepEqual(await alice.delete(path), {});
  assert.deepEqual(await alice.put(path, {}), {});
  assert.deepEqual(await alice.put(path, {}), {});
  assert.deepEqual(await alice.get(path), { automatic: false });
  assert.deepEqual(await alice.delete(path), {});
  refused(await alice.try('GET', path), 404, 'M_NOT_FOUND');
});

test('a client subscribes by itself only by an event of the thread, and not by one from before the user unsubscribed', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const roomId = await alice.createRoom();
  const rootId = await alice.send(roomId, 'root');
  const otherId = await alice.send(roomId, 'other root');
  const path = pathOf(roomId, rootId);
  const by = (automatic: unknown) => alice.try('PUT', path, { automatic });
  const notInThread = 'IO.ELEMENT.MSC4306.M_NOT_IN_THREAD';
  for (const cause of [rootId, await reply(alice, roomId, otherId), '$none', 'nonsense'])
    refused(await by(cause), 400, notInThread);
  refused(await by(5), 400, 'M_BAD_JSON');
  const first = await reply(alice, roomId, rootId);
  assert.equal((await by(first)).status, 200);
  assert.deepEqual(await alice.get(path), { automatic: true });
  await alice.put(path, {});
  assert.equal((await by(first)).status, 200);
  assert.deepEqual(await alice.get(path), { automatic: false }, 'what the user said comes first');
  const second = await reply(alice, roomId, rootId);
  await alice.delete(path);
  const third = await reply(alice, roomId, rootId);
  for (const cause of [first, second])
    refused(await by(cause), 409, 'IO.ELEMENT.MSC4306.M_CONFLICTING_UNSUBSCRIPTION');
  refused(await alice.try('GET', path), 404, 'M_NOT_FOUND');
  assert.equal((await by(third)).status, 200);
});

test('a client subscribes by itself by an event from before the server came into the room', async () => {
  await using fleet = await startFleet(2);
  const [alice, bob] = [await register(fleet.at(0), 'alice'), await register(fleet.at(1), 'bob')];
  const roomId = await alice.createRoom();
  const rootId = await alice.send(roomId, 'root');
  const cause = await reply(alice, roomId, rootId);
  await bob.join(roomId, [fleet.at(0).serverName]);
  const seen = async () => {
    const { chunk } = await bob.get(`/rooms/${encodeURIComponent(roomId)}/messages?dir=b&limit=50`);
    return chunk.some(({ event_id: eventId }: Body) => eventId === rootId);
  };
  await until(seen, 'that the history is there');
  const path = pathOf(roomId, rootId);
  assert.equal((await bob.try('PUT', path, { automatic: cause })).status, 200);
  await bob.delete(path);
  const conflict = 'IO.ELEMENT.MSC4306.M_CONFLICTING_UNSUBSCRIPTION';
  refused(await bob.try('PUT', path, { automatic: cause }), 409, conflict);
});

test('a thread that is not there, or in a room that the user does not see, is not found', async () => {
  await using server = await startServer();
  const [alice, bob] = [await register(server), await register(server)];
  const roomId = await alice.createRoom({ preset: 'private_chat' });
  const rootId = await alice.send(roomId, 'root');
  const elsewhere = await alice.createRoom();
  const cases: [TestClient, string][] = [
    [bob, pathOf(roomId, rootId)],
    [alice, pathOf(roomId, '$none:kurir.test')],
    [alice, pathOf('!none:kurir.test', rootId)],
    [alice, pathOf(elsewhere, rootId)],
  ];
  for (const [client, path] of cases)
    for (const method of ['GET', 'PUT', 'DELETE'])
      refused(await client.try(method, path, method === 'GET' ? undefined : {}), 404, 'M_NOT_FOUND');
});

for (const face of FACES) {
  test(`${face}: changes of subscriptions are told, the newest first, and the others by pages`, async () => {
    await using server = await startServer();
    const alice = await register(server);
    const roomId = await alice.createRoom();
    const roots: string[] = [];
    for (let number = 0; number < 5; number++) roots.push(await alice.send(roomId, `root ${number}`));
    const [a = '', b = ''] = roots;
    for (const rootId of roots) await alice.put(pathOf(roomId, rootId), {});
    const sliding = new SlidingClient(alice, face);
    const asked = { extensions: { [EXTENSION]: { enabled: true, limit: 2 } } };
    const first = (await sliding.next(asked)).extensions[EXTENSION];
    assert.deepEqual(Object.keys(first.subscribed[roomId]).sort(), roots.slice(-2).sort());
    assert.equal(first.subscribed[roomId][roots[4] ?? ''].automatic, false);
    const found: string[] = [];
    for (let from: string | undefined = first.prev_batch; from !== undefined; ) {
      const page: Body = await alice.get(`${CHANGES}?dir=b&limit=2&from=${from}`);
      found.push(...Object.keys(page.subscribed[roomId]));
      from = page.end;
    }
    assert.deepEqual(found.sort(), roots.slice(0, 3).sort());
    assert.equal((await sliding.next(asked)).extensions[EXTENSION], undefined);
    const before = sliding.pos;
    const waiting = sliding.next({ ...asked, timeout: 20_000 });
    await alice.delete(pathOf(roomId, a));
    const changed = (await waiting).extensions[EXTENSION];
    assert.equal(changed.subscribed, undefined);
    assert.deepEqual(Object.keys(changed.unsubscribed[roomId]), [a]);
    assert.ok(
      changed.unsubscribed[roomId][a].bump_stamp > first.subscribed[roomId][roots[4] ?? ''].bump_stamp,
    );
    await alice.delete(pathOf(roomId, b));
    const since = await alice.get(`${CHANGES}?dir=b&to=${before}`);
    assert.deepEqual(Object.keys(since.unsubscribed[roomId]).sort(), [a, b].sort());
  });
}

test('what is wrong in a page of subscriptions is told', async () => {
  await using server = await startServer();
  const alice = await register(server);
  for (const query of ['', '?dir=f', '?dir=b&limit=0', '?dir=b&limit=x', '?dir=b&from=x', '?dir=b&to=x'])
    refused(await alice.try('GET', `${CHANGES}${query}`), 400, 'M_INVALID_PARAM');
  assert.deepEqual(await alice.get(`${CHANGES}?dir=b`), {});
});
