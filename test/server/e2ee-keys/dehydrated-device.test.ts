/** https://github.com/matrix-org/matrix-spec-proposals/pull/3814 */

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { type Answer, type Body, login, register, type TestClient } from '#test/harness/client.ts';
import { deviceKeysOf, queryKeys, untilChanged } from '#test/harness/encryption.ts';
import { startServer } from '#test/harness/server.ts';

const server = await startServer();
after(() => server[Symbol.asyncDispose]());

const PATH = '/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device';
const SIGNATURES = { '@user:kurir.test': { 'ed25519:DRY': 'c2lnbmF0dXJl' } };
const DATA = { algorithm: 'm.dehydration.v1.olm', device_pickle: 'encrypted' };

function deviceOf(userId: string, deviceId: string): Record<string, unknown> {
  return {
    device_id: deviceId,
    device_data: DATA,
    initial_device_display_name: 'Dehydrated',
    device_keys: deviceKeysOf({ userId, deviceId }),
    one_time_keys: { 'signed_curve25519:AAAA': { key: 'b25lLXRpbWU', signatures: SIGNATURES } },
    fallback_keys: {
      'signed_curve25519:BBBB': { key: 'ZmFsbGJhY2s', fallback: true, signatures: SIGNATURES },
    },
  };
}

function refusal({ status, body }: Answer): [number, string] {
  return [status, body.errcode];
}

let transactions = 0;

async function send(from: TestClient, userId: string, deviceId: string, count: number): Promise<void> {
  for (let number = 0; number < count; number += 1) {
    transactions += 1;
    const messages = { [userId]: { [deviceId]: { number } } };
    await from.put(`/sendToDevice/test.message/t${transactions}`, { messages });
  }
}

const numbers = (answer: Body): number[] => answer.events.map(({ content }: Body) => content.number);

test('there is none at first, which is told by M_NOT_FOUND: clients see by it that the server knows of them', async () => {
  const alice = await register(server);
  assert.deepEqual(refusal(await alice.try('GET', PATH)), [404, 'M_NOT_FOUND']);
  assert.deepEqual(refusal(await alice.try('DELETE', PATH)), [404, 'M_NOT_FOUND']);
  assert.deepEqual(refusal(await alice.try('POST', `${PATH}/NONE/events`, {})), [403, 'M_FORBIDDEN']);
});

test('a dehydrated device comes with its keys, which others find and claim', async () => {
  const [alice, bob] = [await register(server), await register(server)];
  await bob.join(await alice.createRoom());
  const { next_batch: since } = await bob.sync();
  const device = deviceOf(alice.userId, 'DRY');
  assert.deepEqual(await alice.put(PATH, device), { device_id: 'DRY' });
  assert.deepEqual(await alice.get(PATH), { device_id: 'DRY', device_data: DATA });
  await untilChanged(bob, alice.userId, since);
  const seen = (await queryKeys(bob, [alice.userId])).device_keys[alice.userId].DRY;
  assert.deepEqual(
    { ...seen, unsigned: undefined },
    { ...(device.device_keys as object), unsigned: undefined },
  );
  const claim = async () =>
    (await bob.post('/keys/claim', { one_time_keys: { [alice.userId]: { DRY: 'signed_curve25519' } } }))
      .one_time_keys[alice.userId].DRY;
  assert.deepEqual(await claim(), {
    'signed_curve25519:AAAA': { key: 'b25lLXRpbWU', signatures: SIGNATURES },
  });
  assert.deepEqual(await claim(), {
    'signed_curve25519:BBBB': { key: 'ZmFsbGJhY2s', fallback: true, signatures: SIGNATURES },
  });
});

test('its messages are read in pages, by both forms of the proposal, and stay for another client to begin anew', async () => {
  const [alice, bob] = [await register(server), await register(server)];
  await alice.put(PATH, deviceOf(alice.userId, 'DRY'));
  await send(bob, alice.userId, 'DRY', 150);
  const all = Array.from({ length: 150 }, (_, number) => number);
  for (let attempt = 0; attempt < 2; attempt += 1) {
    const told: number[] = [];
    let answer = await alice.post(`${PATH}/DRY/events`);
    while (answer.events.length > 0) {
      told.push(...numbers(answer));
      answer = await alice.post(`${PATH}/DRY/events`, { next_batch: answer.next_batch });
    }
    assert.deepEqual(told, all);
  }
  const first = await alice.get(`${PATH}/DRY/events?limit=75`);
  const second = await alice.get(`${PATH}/DRY/events?limit=75&from=${first.next_batch}`);
  assert.deepEqual([...numbers(first), ...numbers(second)], all);
  assert.equal(second.next_batch, undefined, 'there are exactly two pages');
  assert.deepEqual(refusal(await alice.try('POST', `${PATH}/DRY/events`, { next_batch: 'x' })), [
    400,
    'M_INVALID_PARAM',
  ]);
  for (const client of [bob, alice]) {
    const id = client === bob ? 'DRY' : alice.deviceId;
    assert.deepEqual(refusal(await client.try('GET', `${PATH}/${id}/events`)), [403, 'M_FORBIDDEN']);
  }
});

test('another one takes its place: it, its keys and what waits for it are gone; so it is when it is deleted', async () => {
  const [alice, bob] = [await register(server), await register(server)];
  await alice.put(PATH, deviceOf(alice.userId, 'FIRST'));
  await send(bob, alice.userId, 'FIRST', 1);
  await alice.put(PATH, deviceOf(alice.userId, 'SECOND'));
  assert.deepEqual(Object.keys((await queryKeys(bob, [alice.userId])).device_keys[alice.userId]), ['SECOND']);
  assert.deepEqual(refusal(await alice.try('POST', `${PATH}/FIRST/events`, {})), [403, 'M_FORBIDDEN']);
  // The same ID again is another device.
  await send(bob, alice.userId, 'SECOND', 1);
  await alice.put(PATH, deviceOf(alice.userId, 'SECOND'));
  assert.deepEqual((await alice.post(`${PATH}/SECOND/events`)).events, []);
  assert.deepEqual(await alice.delete(PATH), { device_id: 'SECOND' });
  assert.deepEqual(refusal(await alice.try('GET', PATH)), [404, 'M_NOT_FOUND']);
  assert.deepEqual((await queryKeys(bob, [alice.userId])).device_keys[alice.userId], {});
});

test('row 78: it survives the sign-out of all devices, and nobody signs in as it', async () => {
  const alice = await register(server);
  await alice.put(PATH, deviceOf(alice.userId, 'DRY'));
  await alice.post('/logout/all');
  const again = await login(server, alice.userId, alice.password);
  assert.deepEqual(await again.get(PATH), { device_id: 'DRY', device_data: DATA });
  const body = {
    type: 'm.login.password',
    identifier: { type: 'm.id.user', user: alice.userId },
    password: alice.password,
    device_id: 'DRY',
  };
  assert.deepEqual(refusal(await again.try('POST', '/login', body)), [403, 'M_FORBIDDEN']);
  await again.put(PATH, deviceOf(alice.userId, 'OTHER'));
  const { devices } = await again.get('/devices');
  assert.deepEqual(devices.map((device: Body) => device.device_id).sort(), ['OTHER', again.deviceId].sort());
});

test('what is no device is refused, and the earlier one stays', async () => {
  const alice = await register(server);
  const good = deviceOf(alice.userId, 'DRY');
  await alice.put(PATH, good);
  const other = deviceOf(alice.userId, 'OTHER');
  const bad: [object, number, string][] = [
    [{ ...other, device_id: undefined }, 400, 'M_MISSING_PARAM'],
    [{ ...other, device_id: 5 }, 400, 'M_BAD_JSON'],
    [{ ...other, device_id: '' }, 400, 'M_INVALID_PARAM'],
    [{ ...other, device_id: 'x'.repeat(256) }, 400, 'M_INVALID_PARAM'],
    [{ ...other, device_data: undefined }, 400, 'M_MISSING_PARAM'],
    [{ ...other, device_data: {} }, 400, 'M_BAD_JSON'],
    [{ ...other, device_data: { ...DATA, device_pickle: 'x'.repeat(300_000) } }, 413, 'M_TOO_LARGE'],
    [{ ...other, device_keys: undefined }, 400, 'M_MISSING_PARAM'],
    [
      { ...other, device_keys: deviceKeysOf({ userId: alice.userId, deviceId: 'DRY' }) },
      400,
      'M_INVALID_PARAM',
    ],
    [{ ...other, device_keys: deviceKeysOf({ userId: '@b:x', deviceId: 'OTHER' }) }, 400, 'M_INVALID_PARAM'],
    [{ ...other, one_time_keys: [] }, 400, 'M_BAD_JSON'],
    [deviceOf(alice.userId, alice.deviceId), 403, 'M_FORBIDDEN'],
  ];
  for (const [body, ...expected] of bad) {
    assert.deepEqual(
      refusal(await alice.try('PUT', PATH, body)),
      expected,
      JSON.stringify(body).slice(0, 200),
    );
  }
  assert.deepEqual(await alice.get(PATH), { device_id: 'DRY', device_data: DATA });
  const { devices } = await alice.get('/devices');
  assert.equal(devices.length, 2);
});
