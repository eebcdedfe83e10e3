/** Published attacks on accounts: what is secret, and who says where a request comes from. */

import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { newToken } from '#keys/tokens.ts';
import { register, request } from '#test/harness/client.ts';
import { startServer } from '#test/harness/server.ts';

const root = path.resolve(import.meta.dirname, '../..');
const LOGIN = '/_matrix/client/v3/login';
const BYTES_OF_128_BITS = 16;

test('row 10: tokens do not repeat, have 128 bits and more, and no other chance makes secrets', () => {
  const tokens = Array.from({ length: 10_000 }, () => newToken('k'));
  assert.equal(new Set(tokens).size, tokens.length);
  for (const token of tokens) {
    assert.ok(Buffer.from(token.slice(2), 'base64url').length >= BYTES_OF_128_BITS);
  }
  const files = ['keys', 'storage', 'rooms', 'federation', 'server'].flatMap((folder) =>
    readdirSync(path.join(root, folder), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.ts'))
      .map((name) => path.join(folder, name)),
  );
  assert.ok(files.length > 300);
  const careless = files.filter((file) =>
    readFileSync(path.join(root, file), 'utf8').includes('Math.random'),
  );
  // How long to wait, and which of several addresses comes first, is no secret.
  assert.deepEqual(careless, ['storage/postgres.ts', 'federation/backoff.ts', 'federation/resolve.ts']);
});

test('row 51: neither tokens nor passwords stand in the log, also at its most talkative', async () => {
  const lines: string[] = [];
  await using server = await startServer({
    logTo: (line) => {
      lines.push(line);
    },
  });
  const alice = await register(server, 'alice');
  const identifier = { type: 'm.id.user', user: alice.userId };
  const auth = { type: 'm.login.password', identifier, password: alice.password };
  const body = { ...auth, refresh_token: true };
  const session = await request(server, 'POST', LOGIN, { body });
  const wrong = 'a wrong password of alice';
  await request(server, 'POST', LOGIN, { body: { ...auth, password: wrong } });
  const { login_token: loginToken } = await alice.post('/_matrix/client/v1/login/get_token', { auth });
  await request(server, 'POST', LOGIN, { body: { type: 'm.login.token', token: loginToken } });
  const refreshing = { refresh_token: session.body.refresh_token };
  const refreshed = await request(server, 'POST', '/_matrix/client/v3/refresh', { body: refreshing });
  const queried = `/_matrix/client/v3/account/whoami?access_token=${alice.accessToken}`;
  await request(server, 'GET', queried);
  await request(server, 'GET', `/_matrix/client/v3/nothing?access_token=${alice.accessToken}`);
  const secrets = [
    alice.accessToken,
    alice.password,
    wrong,
    loginToken,
    session.body.access_token,
    session.body.refresh_token,
    refreshed.body.access_token,
    refreshed.body.refresh_token,
  ];
  const text = lines.join('\n');
  assert.ok(text.includes('/account/whoami'), 'requests are logged');
  for (const secret of secrets) assert.equal(text.includes(secret), false, secret);
});

test('row 118: who is no trusted proxy does not say where a request comes from', async () => {
  const now = Date.now();
  await using server = await startServer({ rateLimits: true, trustedProxies: [], clock: { now: () => now } });
  const statuses: number[] = [];
  for (let n = 0; n < 8; n += 1) {
    const headers = { 'x-forwarded-for': `192.0.2.${n}` };
    const body = { type: 'm.login.password', user: `user${n}`, password: 'guess' };
    statuses.push((await request(server, 'POST', LOGIN, { body, headers })).status);
  }
  assert.deepEqual(statuses, [403, 403, 403, 403, 403, 429, 429, 429]);
});
