/** Published attacks that need one write to fail: nothing else may fail after it. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { register, type TestClient } from '#test/harness/client.ts';
import { startServer, type TestServer } from '#test/harness/server.ts';

const inRoom = (roomId: string) => `/rooms/${encodeURIComponent(roomId)}`;

async function run(server: TestServer, text: string): Promise<void> {
  await server.ctx.db.write('test', (tx) => tx.run({ name: '', text }));
}

/** What is written to a table fails while `body` runs. */
async function whileBroken<T>(server: TestServer, table: string, body: () => Promise<T>): Promise<T> {
  await run(
    server,
    `CREATE TRIGGER test_broken BEFORE INSERT ON ${table} BEGIN SELECT RAISE(FAIL, 'the disk is broken'); END`,
  );
  try {
    return await body();
  } finally {
    await run(server, 'DROP TRIGGER test_broken');
  }
}

test('row 110: a write that fails is 500, and every other request, before and after it, succeeds', async () => {
  await using server = await startServer();
  const alice = await register(server, 'alice');
  const bob = await register(server, 'bob');
  const roomId = await alice.createRoom();
  await bob.join(roomId);
  const eventId = await alice.send(roomId, 'first');
  const own = `/user/${alice.userId}`;
  const writes: readonly [table: string, method: string, path: string, body: object][] = [
    ['events', 'PUT', `${inRoom(roomId)}/send/m.room.message/broken`, { msgtype: 'm.text', body: 'broken' }],
    ['events', 'PUT', `${inRoom(roomId)}/state/m.room.topic`, { topic: 'broken' }],
    ['state_deltas', 'PUT', `${inRoom(roomId)}/state/m.room.name`, { name: 'broken' }],
    ['account_data', 'PUT', `${own}/account_data/test.broken`, { a: 1 }],
    ['receipts', 'POST', `${inRoom(roomId)}/receipt/m.read/${encodeURIComponent(eventId)}`, {}],
    ['filters', 'POST', `${own}/filter`, { room: { rooms: [] } }],
    ['to_device', 'PUT', '/sendToDevice/m.test/broken', messageTo(bob)],
  ];
  for (const [table, method, path, body] of writes) {
    const since = { alice: (await alice.sync()).next_batch, bob: (await bob.sync()).next_batch };
    // One who waits meanwhile is not woken by what never happened, and hears of what comes after it.
    const waiting = bob.syncUntil(({ rooms }) => textsIn(rooms, roomId).includes(`after ${table}`), {
      since: since.bob,
    });
    waiting.catch(() => undefined);
    const failed = await whileBroken(server, table, () => alice.try(method, path, body));
    assert.deepEqual([failed.status, failed.body.errcode], [500, 'M_UNKNOWN'], table);
    assert.equal(failed.body.error, 'Internal server error');
    await alice.send(roomId, `after ${table}`);
    await waiting;
    const seen = await alice.sync({ since: since.alice });
    assert.deepEqual(textsIn(seen.rooms, roomId), [`after ${table}`]);
    const again = await alice.try(method, path, body);
    assert.equal(again.status, 200, `${table}: ${JSON.stringify(again.body)}`);
  }
  await bob.sync();
  await server.restart();
  assert.ok(textsIn((await bob.sync()).rooms, roomId).length > 0);
});

function messageTo(user: TestClient): object {
  return { messages: { [user.userId]: { [user.deviceId]: { a: 1 } } } };
}

function textsIn(rooms: { join?: Record<string, Joined> } | undefined, roomId: string): unknown[] {
  const events = rooms?.join?.[roomId]?.timeline.events ?? [];
  return events.filter(({ type }) => type === 'm.room.message').map(({ content }) => content.body);
}

interface Joined {
  readonly timeline: { readonly events: { readonly type: string; readonly content: { body?: string } }[] };
}
