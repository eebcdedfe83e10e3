import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { type Answer, login, register, request, type TestClient } from '#test/harness/client.ts';
import { devicesSeen, oneTimeKey, queryKeys, uploadDeviceKeys } from '#test/harness/encryption.ts';
import { startServer } from '#test/harness/server.ts';

const server = await startServer();
after(() => server[Symbol.asyncDispose]());

function authOf({ userId, password }: TestClient, session: string): object {
  return { type: 'm.login.password', identifier: { type: 'm.id.user', user: userId }, password, session };
}

async function confirmed(
  client: TestClient,
  method: string,
  path: string,
  body: object = {},
): Promise<Answer> {
  const first = await client.try(method, path, body);
  assert.equal(first.status, 401);
  return client.try(method, path, { ...body, auth: authOf(client, first.body.session) });
}

test('a user sees the devices, and each by its id; those of others are not found', async () => {
  const alice = await register(server);
  const phone = await login(server, alice.userId, alice.password);
  const bob = await register(server);
  const { devices } = await alice.get('/devices');
  const ids = devices.map((device: { device_id: string }) => device.device_id);
  assert.deepEqual(ids, [alice.deviceId, phone.deviceId].sort());
  const path = `/devices/${encodeURIComponent(phone.deviceId)}`;
  assert.equal((await alice.get(path)).device_id, phone.deviceId);
  for (const [method, body] of [['GET'], ['PUT', { display_name: 'x' }]] as const) {
    const { status, body: answer } = await bob.try(method, path, body);
    assert.deepEqual([status, answer.errcode], [404, 'M_NOT_FOUND']);
  }
});

test('a device is renamed, and those who share a room are told; without a name it stays as it is', async () => {
  const alice = await register(server);
  const bob = await register(server);
  const keys = await uploadDeviceKeys(alice);
  await bob.join(await alice.createRoom());
  const { next_batch: since } = await bob.sync();
  const path = `/devices/${alice.deviceId}`;
  await alice.put(path, { display_name: 'Laptop\0' });
  await alice.put(path, {});
  assert.equal((await alice.get(path)).display_name, 'Laptop');
  assert.deepEqual((await bob.sync({ since })).device_lists.changed, [alice.userId]);
  const { device_keys: seen } = await queryKeys(bob, [alice.userId]);
  const unsigned = { device_display_name: 'Laptop' };
  assert.deepEqual(seen[alice.userId][alice.deviceId], { ...keys, unsigned });
  assert.equal((await alice.try('PUT', path, { display_name: 7 })).status, 400);
});

test('a device is deleted with the password: its token ends, its keys are gone, and others are told', async () => {
  const alice = await register(server);
  const bob = await register(server);
  const phone = await login(server, alice.userId, alice.password);
  await uploadDeviceKeys(alice);
  await uploadDeviceKeys(phone);
  await phone.post('/keys/upload', { one_time_keys: { 'signed_curve25519:A': oneTimeKey('a') } });
  await bob.join(await alice.createRoom());
  const { next_batch: since } = await bob.sync();
  const path = `/devices/${phone.deviceId}`;
  assert.equal((await alice.try('DELETE', path)).status, 401, 'without a body');
  assert.equal((await confirmed(alice, 'DELETE', path)).status, 200);
  assert.equal((await phone.try('GET', '/account/whoami')).status, 401);
  assert.deepEqual((await bob.sync({ since })).device_lists.changed, [alice.userId]);
  assert.deepEqual(await devicesSeen(bob, alice.userId), [alice.deviceId]);
  const claim = { one_time_keys: { [alice.userId]: { [phone.deviceId]: 'signed_curve25519' } } };
  assert.deepEqual((await bob.post('/keys/claim', claim)).one_time_keys, {});
  assert.equal((await confirmed(alice, 'DELETE', path)).status, 200, 'had been removed previously');
});

test('several devices are deleted at once; what was confirmed for one is not confirmed for others', async () => {
  const alice = await register(server);
  const [a, b, c] = await Promise.all([1, 2, 3].map(() => login(server, alice.userId, alice.password)));
  assert.ok(a && b && c);
  const first = await alice.try('POST', '/delete_devices', { devices: [a.deviceId] });
  const auth = authOf(alice, first.body.session);
  const one = await alice.try('POST', '/delete_devices', { devices: [a.deviceId], auth });
  assert.equal(one.status, 200);
  const session = { session: first.body.session };
  const other = await alice.try('POST', '/delete_devices', {
    devices: [b.deviceId, c.deviceId],
    auth: session,
  });
  assert.equal(other.status, 401);
  const two = await confirmed(alice, 'POST', '/delete_devices', {
    devices: [b.deviceId, c.deviceId, 'NONE'],
  });
  assert.equal(two.status, 200);
  const { devices } = await alice.get('/devices');
  assert.deepEqual(
    devices.map((device: { device_id: string }) => device.device_id),
    [alice.deviceId],
  );
  for (const wrong of [{}, { devices: 'all' }, { devices: [1] }]) {
    assert.equal((await alice.try('POST', '/delete_devices', wrong)).status, 400);
  }
});

test('what is to be confirmed by its user is not confirmed by another', async () => {
  const alice = await register(server);
  const bob = await register(server);
  const phone = await login(server, alice.userId, alice.password);
  const path = `/devices/${phone.deviceId}`;
  const auth = authOf(bob, '');
  const { status, body } = await alice.try('DELETE', path, { auth });
  assert.deepEqual([status, body.errcode], [403, 'M_FORBIDDEN']);
  assert.equal((await phone.try('GET', '/account/whoami')).status, 200);
});

test('the device of another user cannot be deleted', async () => {
  const alice = await register(server);
  const bob = await register(server);
  assert.equal((await confirmed(alice, 'DELETE', `/devices/${bob.deviceId}`)).status, 200);
  assert.equal((await bob.try('GET', '/account/whoami')).status, 200);
  const without = await request(server, 'GET', '/_matrix/client/v3/devices');
  assert.equal(without.status, 401);
});
