import assert from 'node:assert/strict';
import { test } from 'node:test';
import { login, register, request } from '#test/harness/client.ts';
import { startServer } from '#test/harness/server.ts';

test('register, sign in, whoami, sign out: a token names its user and device until it is ended', async () => {
  await using server = await startServer();
  const alice = await register(server, 'alice');
  assert.deepEqual(await alice.get('/account/whoami'), {
    user_id: '@alice:kurir.test',
    device_id: alice.deviceId,
    is_guest: false,
  });
  const second = await login(server, 'alice', alice.password);
  assert.notEqual(second.deviceId, alice.deviceId);
  await second.post('/logout');
  const ended = await second.try('GET', '/account/whoami');
  assert.equal(ended.status, 401);
  assert.equal(ended.body.errcode, 'M_UNKNOWN_TOKEN');
  await alice.get('/account/whoami');
  const missing = await request(server, 'GET', '/_matrix/client/v3/account/whoami');
  assert.equal(missing.body.errcode, 'M_MISSING_TOKEN');
});
