import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { test } from 'node:test';
import { register, request } from '#test/harness/client.ts';
import { startServer } from '#test/harness/server.ts';

const PATH = '/_matrix/client/v3/voip/turnServer';

test('row 116: credentials for TURN are made for a user and a time, by the secret of the TURN server', async () => {
  const turnUris = ['turn:turn.test:3478?transport=udp', 'turns:turn.test'];
  const now = 1_750_000_000_500;
  const clock = { now: () => now };
  const options = { turnUris, turnSecret: 'secret', turnLifetime: 3_600_000, clock };
  await using server = await startServer(options);
  const alice = await register(server, 'alice');
  const { username, password, ...rest } = await alice.get('/voip/turnServer');
  assert.deepEqual(rest, { uris: turnUris, ttl: 3_600 });
  assert.equal(username, `${1_750_000_000 + 3_600}:${alice.userId}`);
  assert.equal(password, createHmac('sha1', 'secret').update(username).digest('base64'));
  const nobody = await request(server, 'GET', PATH);
  assert.deepEqual([nobody.status, nobody.body.errcode], [401, 'M_MISSING_TOKEN']);
});

test('without a TURN server the answer names none', async () => {
  await using server = await startServer();
  const alice = await register(server);
  assert.deepEqual(await alice.get('/voip/turnServer'), {});
});
