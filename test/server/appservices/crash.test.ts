/** A server that dies at any moment tells a service everything, in order, and twice only under the same id. */

import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { register, type TestClient } from '#test/harness/client.ts';
import { CrashingServer, OPEN } from '#test/harness/crashing-server.ts';
import { temporaryFolder } from '#test/harness/databases.ts';
import { diceOf } from '#test/harness/dice.ts';
import { serverEnvironment } from '#test/harness/process.ts';
import { casesOf, seed } from '#test/harness/rounds.ts';
import { startService, type TestService } from '#test/harness/service.ts';
import { historyOf } from '#test/harness/sync-view.ts';
import { until } from '#test/harness/until.ts';

const SENDS = 60;

test('kill -9 at any moment: a service misses nothing, gets it in order, and twice only under the same id', async (t) => {
  t.diagnostic(`seed ${seed}`);
  const dice = diceOf(seed);
  await using folder = await temporaryFolder();
  await using service = await startService({
    registration: { receive_ephemeral: true, 'org.matrix.msc3202': true },
  });
  // It loses its answer every now and then, too.
  service.answer = ({ url, body }) => {
    if (!url.includes('/transactions/') || dice(5) > 0) return undefined;
    const txnId = /\/transactions\/([^/?]+)/.exec(url)?.[1] ?? '';
    service.transactions.push({ txnId, body });
    return (response) => response.destroy();
  };
  const file = join(folder.path, 'bridge.yaml');
  await writeFile(file, service.yaml);
  const env = { ...serverEnvironment(folder.path), ...OPEN, KURIR_APP_SERVICE_CONFIG_FILES: file };
  await using server = new CrashingServer(env);
  await server.start();
  const alice = await register(server, 'alice');
  const ghost = await service.register(server, '_bridge_ghost');
  await service.do(server, 'PUT', '/devices/GHOST', { as: ghost, body: {} });
  const roomIds = await Promise.all(['one', 'two'].map((name) => alice.createRoom({ name })));
  for (const roomId of roomIds) {
    await service.do(server, 'POST', `/join/${encodeURIComponent(roomId)}`, { as: ghost, body: {} });
  }
  const acknowledged: string[] = [];
  const messages: number[] = [];
  for (let round = 0; round < casesOf({ usual: 4, inLongRun: 10 }); round++) {
    const from = acknowledged.length;
    const sends = sendAll(alice, { roomIds, ghost, round, acknowledged, messages });
    const atOnce = 1 + dice(SENDS - 1);
    await Promise.race([sends, until(() => acknowledged.length - from >= atOnce, 'some sends')]);
    await server.kill();
    await sends;
    await server.start();
  }
  const last = await Promise.all(roomIds.map((roomId) => alice.send(roomId, 'the last')));
  await alice.put('/sendToDevice/m.test/last', { messages: { [ghost]: { GHOST: { n: -1 } } } });
  for (const eventId of last) await service.untilTold(eventId);
  const inbox = () => told(service).flatMap((body) => body.to_device ?? []);
  await until(() => inbox().some(({ content }) => content.n === -1), 'the last message to a device');
  await checkTold(t, { service, alice, roomIds, acknowledged });
  const numbers = inbox().map(({ content }) => content.n);
  assert.equal(new Set(numbers).size, numbers.length, 'no message to a device comes in two transactions');
  for (const n of messages) assert.ok(numbers.includes(n), `message ${n} to a device`);
});

interface Sending {
  readonly roomIds: readonly string[];
  readonly ghost: string;
  readonly round: number;
  readonly acknowledged: string[];
  readonly messages: number[];
}

/** Sends until the server is gone, and notes what was acknowledged. */
async function sendAll(alice: TestClient, sending: Sending): Promise<void> {
  const { roomIds, ghost, round, acknowledged, messages } = sending;
  const sends = Array.from({ length: SENDS }, async (_, count) => {
    const roomId = encodeURIComponent(roomIds[count % roomIds.length] ?? '');
    const path = `/rooms/${roomId}/send/m.room.message/r${round}c${count}`;
    const answer = await alice.try('PUT', path, { msgtype: 'm.text', body: `${round} ${count}` });
    if (answer.status === 200) acknowledged.push(answer.body.event_id);
    if (count % 10 > 0) return;
    const n = round * SENDS + count;
    const body = { messages: { [ghost]: { GHOST: { n } } } };
    if ((await alice.try('PUT', `/sendToDevice/m.test/n${n}`, body)).status === 200) messages.push(n);
  });
  await Promise.allSettled(sends);
}

function told(service: TestService): TestService['transactions'][number]['body'][] {
  return [...new Map(service.transactions.map(({ txnId, body }) => [txnId, body])).values()];
}

async function checkTold(
  t: TestContext,
  given: {
    readonly service: TestService;
    readonly alice: TestClient;
    readonly roomIds: readonly string[];
    readonly acknowledged: readonly string[];
  },
): Promise<void> {
  const { service, alice, roomIds, acknowledged } = given;
  for (const [txnId, same] of Map.groupBy(service.transactions, (transaction) => transaction.txnId)) {
    for (const { body } of same)
      assert.deepEqual(body, same[0]?.body, `transaction ${txnId} is always the same`);
  }
  const again = service.transactions.length - told(service).length;
  assert.ok(acknowledged.length > 0);
  t.diagnostic(`${acknowledged.length} sends acknowledged, ${again} transactions came again`);
  const ids = service.events.map((event) => event.event_id);
  assert.equal(new Set(ids).size, ids.length, 'no event comes in two transactions');
  for (const eventId of acknowledged)
    assert.ok(ids.includes(eventId), `${eventId} was acknowledged and is told`);
  for (const roomId of roomIds) {
    const inRoom = service.events.filter((event) => event.room_id === roomId).map((event) => event.event_id);
    const history = await historyOf(alice, roomId, 2_000);
    assert.deepEqual(inRoom, history.slice(-inRoom.length), 'in the order of the room');
  }
}
