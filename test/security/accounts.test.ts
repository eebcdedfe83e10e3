/** Published attacks on accounts: what is secret, who gets one, and who says where a request comes from. */

import assert from 'node:assert/strict';
import { createHook } from 'node:async_hooks';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { newToken } from '#keys/tokens.ts';
import { defaultConfig, loadConfig, warningsFor } from '#server/config.ts';
import * as users from '#storage/users.ts';
import { type Answer, login, register, request, type TestClient } from '#test/harness/client.ts';
import { mailOptions, startMailServer } from '#test/harness/mail-server.ts';
import { startServer, type TestServer } from '#test/harness/server.ts';

const root = path.resolve(import.meta.dirname, '../..');
const LOGIN = '/_matrix/client/v3/login';
const BYTES_OF_128_BITS = 16;

const REGISTER = '/_matrix/client/v3/register';

test('row 9: no secret follows from what is configured, and one that can be guessed stops the start', async () => {
  await using one = await startServer();
  await using two = await startServer();
  assert.equal(one.serverName, two.serverName);
  assert.notEqual(keyFileOf(one), keyFileOf(two));
  // The second server knows nothing that the first one has given out.
  const alice = await register(one, 'alice');
  await register(two, 'alice');
  const answer = await request(two, 'GET', '/_matrix/client/v3/account/whoami', { token: alice.accessToken });
  assert.deepEqual([answer.status, answer.body.errcode], [401, 'M_UNKNOWN_TOKEN']);
  assert.equal(defaultConfig().registrationSecret, undefined);
  for (const secret of ['guess me', 'x'.repeat(15), ' '.repeat(20)]) {
    await assert.rejects(loadConfig([], { KURIR_REGISTRATION_SECRET: secret }), (error: Error) => {
      assert.match(error.message, /KURIR_REGISTRATION_SECRET.*16 characters or more/);
      return !error.message.includes(secret);
    });
  }
  const config = await loadConfig([], { KURIR_REGISTRATION_SECRET: 'x'.repeat(16) });
  assert.equal(config.registrationSecret, 'x'.repeat(16));
});

test('row 74: the first start makes a signing key by chance, for its owner alone, and later starts keep it', async () => {
  const keys = new Set<string>();
  for (let round = 0; round < 3; round += 1) {
    await using server = await startServer();
    const file = path.join(server.ctx.config.dataDir, 'signing.key');
    assert.equal(statSync(file).mode & 0o777, 0o600);
    const first = readFileSync(file, 'utf8');
    await server.restart();
    assert.equal(readFileSync(file, 'utf8'), first);
    keys.add(first.split(' ')[2] ?? '');
  }
  assert.equal(keys.size, 3);
});

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
  assert.deepEqual(careless, [
    'storage/postgres.ts',
    'federation/backoff.ts',
    'federation/network/resolve.ts',
    'server/push/retries.ts',
  ]);
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

test('row 78: a token that has ended is refused by the very next request', async () => {
  await using server = await startServer();
  const alice = await register(server, 'alice');
  const identifier = { type: 'm.id.user', user: alice.userId };
  const auth = { type: 'm.login.password', identifier, password: alice.password };
  const isGood = async (token: string) => {
    const answer = await request(server, 'GET', '/_matrix/client/v3/account/whoami', { token });
    assert.ok(answer.status === 200 || answer.body.errcode === 'M_UNKNOWN_TOKEN');
    return answer.status === 200;
  };
  const endings: Record<string, (device: TestClient) => Promise<unknown>> = {
    'it signs out': (device) => device.post('/logout'),
    'its device is deleted': ({ deviceId }) => alice.try('DELETE', `/devices/${deviceId}`, { auth }),
    'devices are deleted': ({ deviceId }) => alice.post('/delete_devices', { devices: [deviceId], auth }),
    'the device signs in again': ({ deviceId }) =>
      request(server, 'POST', LOGIN, { body: { ...auth, device_id: deviceId } }),
    'the password is changed': () =>
      alice.post('/account/password', { auth, new_password: alice.password, logout_devices: true }),
    'all sign out': (device) => device.post('/logout/all'),
  };
  for (const [name, end] of Object.entries(endings)) {
    const device = await login(server, alice.userId, alice.password);
    // Known to whatever remembers tokens.
    assert.ok(await isGood(device.accessToken), name);
    await end(device);
    assert.equal(await isGood(device.accessToken), false, name);
  }
  const { body: session } = await request(server, 'POST', LOGIN, { body: { ...auth, refresh_token: true } });
  assert.ok(await isGood(session.access_token));
  const { body: next } = await request(server, 'POST', '/_matrix/client/v3/refresh', {
    body: { refresh_token: session.refresh_token },
  });
  assert.ok(await isGood(next.access_token));
  assert.equal(await isGood(session.access_token), false, 'it was refreshed');

  const bob = await register(server, 'bob');
  const roomId = await bob.createRoom();
  const last = await login(server, alice.userId, alice.password);
  await last.join(roomId);
  const find = async () => (await bob.post('/user_directory/search', { search_term: 'alice' })).results;
  assert.equal((await find()).length, 1);
  await last.post('/account/deactivate', { auth, erase: true });
  assert.equal(await isGood(last.accessToken), false);
  assert.equal(await isGood(next.access_token), false);
  assert.deepEqual(await find(), []);
});

test('row 102: nothing confirms for an account without a password, whatever is said of one', async () => {
  await using server = await startServer();
  const mallory = await register(server, 'mallory');
  const owner = await register(server, 'owner');
  const other = await login(server, owner.userId, owner.password);
  const text = 'UPDATE users SET password_hash = NULL WHERE user_id = ?';
  await server.ctx.db.write('test', (tx) => tx.run({ name: '', text }, owner.userId));
  const identifier = { type: 'm.id.user', user: owner.userId };
  const type = 'm.login.password';
  const attempts: readonly object[] = [
    ...[owner.password, '', null, undefined, [], {}, 0, false].map((password) => ({
      type,
      identifier,
      password,
    })),
    { type, identifier: { type: 'm.id.user', user: mallory.userId }, password: mallory.password },
    { type, user: owner.userId, password: owner.password },
    { type, password: owner.password },
    { type },
    { type: 'm.login.dummy' },
    { type: 'm.login.token', token: owner.accessToken },
    {},
  ];
  const requests: readonly (readonly [string, string, object])[] = [
    ['DELETE', `/devices/${other.deviceId}`, {}],
    ['POST', '/delete_devices', { devices: [other.deviceId] }],
    ['POST', '/account/password', { new_password: 'another password' }],
    ['POST', '/account/deactivate', {}],
    ['POST', '/_matrix/client/v1/login/get_token', {}],
  ];
  for (const [method, where, body] of requests) {
    const asked = await owner.try(method, where, body);
    assert.equal(asked.status, 401, where);
    for (const auth of attempts) {
      for (const session of [undefined, asked.body.session]) {
        const answer = await owner.try(method, where, { ...body, auth: { ...auth, session } });
        const isRefused = [400, 401, 403].includes(answer.status);
        assert.ok(isRefused, `${where} ${JSON.stringify(auth)}: ${answer.status}`);
      }
    }
  }
  await other.get('/account/whoami');
  assert.equal((await users.of(server.ctx.db, owner.userId as `@${string}`))?.passwordHash, undefined);
});

test('row 157: a name that nobody has costs as much as a wrong password, and looks the same', async () => {
  await using server = await startServer();
  await register(server, 'alice');
  let hashes = 0;
  const hook = createHook({
    init: (_id, type) => {
      if (type === 'ARGON2REQUEST') hashes += 1;
    },
  }).enable();
  try {
    const outcomes: unknown[] = [];
    for (const user of ['alice', 'nobody', '@nobody:kurir.test', '@alice:elsewhere.test']) {
      hashes = 0;
      const body = { type: 'm.login.password', identifier: { type: 'm.id.user', user }, password: 'wrong' };
      const { status, body: told } = await request(server, 'POST', LOGIN, { body });
      outcomes.push({ status, told, hashes });
    }
    const [first, ...rest] = outcomes;
    assert.equal((first as { hashes: number }).hashes, 1);
    for (const outcome of rest) assert.deepEqual(outcome, first);
  } finally {
    hook.disable();
  }
});

test('row 157: who tries names is stopped soon, wherever they ask', async () => {
  await using mail = await startMailServer();
  const now = Date.now();
  await using server = await startServer({
    ...mailOptions(mail),
    ...{ rateLimits: true, clock: { now: () => now } },
  });
  const email = (number: number) => ({
    body: { email: `user${number}@example.org`, client_secret: 'secret', send_attempt: 1 },
  });
  const asking: Record<string, (number: number) => Promise<Answer>> = {
    available: (number) => request(server, 'GET', `${REGISTER}/available?username=user${number}`),
    login: (number) => {
      const body = { type: 'm.login.password', user: `user${number}`, password: 'guess' };
      return request(server, 'POST', LOGIN, { body });
    },
    profile: (number) => request(server, 'GET', `/_matrix/client/v3/profile/@user${number}:kurir.test`),
    email: (number) =>
      request(server, 'POST', '/_matrix/client/v3/account/password/email/requestToken', email(number)),
  };
  for (const [name, ask] of Object.entries(asking)) {
    let number = 0;
    let status = 0;
    while (status !== 429 && number < 300) {
      number += 1;
      // One after the other, until one is refused.
      status = (await ask(number)).status;
    }
    assert.equal(status, 429, `${name} after ${number}`);
  }
});

test('row 179: by default nobody makes an account without a token, by any way', async () => {
  const { registration, guestAccess } = defaultConfig();
  assert.notEqual(registration, 'open');
  await using server = await startServer({ registration, guestAccess });
  const dummy = { type: 'm.login.dummy' };
  const token = { type: 'm.login.registration_token', token: 'guess' };
  for (const auth of [undefined, dummy, token, { ...token, token: '' }, { ...dummy, token: 'guess' }]) {
    for (const query of ['', '?kind=user', '?kind=guest']) {
      const body = { username: 'mallory', password: 'a password of mallory', auth };
      const begun = await request(server, 'POST', `${REGISTER}${query}`, { body });
      assert.ok([401, 403].includes(begun.status), `${query} ${JSON.stringify(auth)}: ${begun.status}`);
      if (begun.body.session === undefined) continue;
      const again = { ...body, auth: { ...dummy, session: begun.body.session } };
      const answer = await request(server, 'POST', REGISTER, { body: again });
      assert.ok([401, 403].includes(answer.status), `${answer.status}`);
    }
  }
  const form = new URLSearchParams({ username: 'mallory', password: 'a password', repeated: 'a password' });
  const headers = { 'content-type': 'application/x-www-form-urlencoded' };
  for (const given of ['', 'guess']) {
    form.set('token', given);
    const page = await request(server, 'POST', '/_kurir/register', { body: form.toString(), headers });
    assert.equal(page.status, 403);
  }
  assert.equal(await users.of(server.ctx.db, '@mallory:kurir.test'), undefined);
  assert.match(warningsFor({ ...defaultConfig(), registration: 'open' }).join(), /Registration is open/);
});

function keyFileOf({ ctx }: Pick<TestServer, 'ctx'>): string {
  return readFileSync(path.join(ctx.config.dataDir, 'signing.key'), 'utf8');
}
