import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { type Body, login, register, type TestClient } from '#test/harness/client.ts';
import { startFleet } from '#test/harness/fleet.ts';
import { until } from '#test/harness/until.ts';

const fleet = await startFleet(2);
after(() => fleet[Symbol.asyncDispose]());
const [here, there] = [fleet.at(0), fleet.at(1)];
let transactions = 0;

function sendToDevice(from: TestClient, messages: object, type = 'test.message'): Promise<Body> {
  transactions += 1;
  return from.put(`/sendToDevice/${type}/t${transactions}`, { messages });
}

/** Syncs until so many messages have come; answers their numbers, in order. */
async function received(client: TestClient, count: number): Promise<number[]> {
  const numbers: number[] = [];
  let since: string | undefined;
  while (numbers.length < count) {
    // One after the other: each acknowledges the one before.
    const answer = await client.syncUntil(({ to_device: inbox }) => inbox?.events.length > 0, {
      ...(since !== undefined && { since }),
    });
    numbers.push(...answer.to_device.events.map((event: Body) => event.content.number));
    since = answer.next_batch;
  }
  const { to_device: rest } = await client.sync({ ...(since !== undefined && { since }) });
  assert.equal(rest, undefined, 'no more than that');
  return numbers;
}

test('messages reach the device of another server, or all of its user, each once and in order', async () => {
  const alice = await register(here);
  const bob = await register(there);
  const phone = await login(there, bob.userId, bob.password);
  const all = Array.from({ length: 30 }, (_, index) => index);
  for (const number of all) {
    await sendToDevice(alice, { [bob.userId]: { [number % 3 === 0 ? '*' : bob.deviceId]: { number } } });
  }
  assert.deepEqual(await received(bob, all.length), all);
  const toAll = all.filter((number) => number % 3 === 0);
  assert.deepEqual(await received(phone, toAll.length), toAll);
});

test('messages wait for a server that is away, though both are restarted', async () => {
  const alice = await register(here);
  const bob = await register(there);
  await there.stop();
  for (const number of [1, 2, 3]) await sendToDevice(alice, { [bob.userId]: { [bob.deviceId]: { number } } });
  await here.restart();
  await there.start();
  assert.deepEqual(await received(bob, 3), [1, 2, 3]);
});

test('a request that is repeated is sent once', async () => {
  const alice = await register(here);
  const bob = await register(there);
  const messages = { [bob.userId]: { [bob.deviceId]: { number: 1 } } };
  await alice.put('/sendToDevice/test.message/again', { messages });
  await alice.put('/sendToDevice/test.message/again', { messages });
  await sendToDevice(alice, { [bob.userId]: { [bob.deviceId]: { number: 2 } } });
  assert.deepEqual(await received(bob, 2), [1, 2]);
});

test('row 76: one message to many devices that are large together arrives whole', async () => {
  const alice = await register(here);
  const bobs = await Promise.all(Array.from({ length: 12 }, () => register(there)));
  const padding = 'x'.repeat(60_000);
  const messages = bobs.map((bob, number) => [bob.userId, { [bob.deviceId]: { number, padding } }]);
  await sendToDevice(alice, Object.fromEntries(messages));
  for (const [number, bob] of bobs.entries()) assert.deepEqual(await received(bob, 1), [number]);
});

test('a message over 64 KiB, or that other servers cannot read, is refused', async () => {
  const alice = await register(here);
  const bob = await register(there);
  const send = (content: object, type = 'test.message') =>
    alice.try('PUT', `/sendToDevice/${type}/bad`, { messages: { [bob.userId]: { '*': content } } });
  const large = await send({ padding: '€'.repeat(22_000) });
  assert.deepEqual([large.status, large.body.errcode], [413, 'M_TOO_LARGE'], 'bytes are counted');
  const fraction = await send({ number: 1.5 });
  assert.deepEqual([fraction.status, fraction.body.errcode], [400, 'M_BAD_JSON']);
  const longType = await send({}, 'x'.repeat(256));
  assert.deepEqual([longType.status, longType.body.errcode], [400, 'M_INVALID_PARAM']);
  await sendToDevice(alice, { [bob.userId]: { '*': { number: 1 } } });
  assert.deepEqual(await received(bob, 1), [1], 'nothing of these is left');
});

test('a device that is signed out gets nothing any more', async () => {
  const alice = await register(here);
  const bob = await register(there);
  const phone = await login(there, bob.userId, bob.password);
  await phone.post('/logout');
  await sendToDevice(alice, { [bob.userId]: { [phone.deviceId]: { number: 1 }, '*': { number: 2 } } });
  assert.deepEqual(await received(bob, 1), [2]);
  const left = { name: '', text: 'SELECT position FROM to_device WHERE device_id = ?' };
  await until(async () => (await there.ctx.db.all(left, phone.deviceId)).length === 0, 'that none is stored');
});
