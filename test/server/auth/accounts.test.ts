import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as threepids from '#storage/threepids.ts';
import { type Answer, login, register, request, type TestClient } from '#test/harness/client.ts';
import { startServer, type TestServer } from '#test/harness/server.ts';

const LOGIN = '/_matrix/client/v3/login';
const WHOAMI = '/account/whoami';

function assertError(answer: Answer, status: number, errcode: string): void {
  assert.deepEqual([answer.status, answer.body.errcode], [status, errcode], JSON.stringify(answer.body));
}

function signIn(server: TestServer, body: object): Promise<Answer> {
  return request(server, 'POST', LOGIN, { body: { type: 'm.login.password', ...body } });
}

function confirmation(user: TestClient, password = user.password): object {
  return { type: 'm.login.password', identifier: { type: 'm.id.user', user: user.userId }, password };
}

test('a token names its user and device until it is ended', async () => {
  await using server = await startServer();
  const alice = await register(server, 'alice');
  const expected = { user_id: '@alice:kurir.test', device_id: alice.deviceId, is_guest: false };
  assert.deepEqual(await alice.get(WHOAMI), expected);
  const second = await login(server, 'alice', alice.password);
  assert.notEqual(second.deviceId, alice.deviceId);
  await second.post('/logout');
  assertError(await second.try('GET', WHOAMI), 401, 'M_UNKNOWN_TOKEN');
  await alice.get(WHOAMI);
  assertError(await request(server, 'GET', '/_matrix/client/v3/account/whoami'), 401, 'M_MISSING_TOKEN');
  const legacy = `/_matrix/client/v3/account/whoami?access_token=${alice.accessToken}`;
  assert.equal((await request(server, 'GET', legacy)).status, 200);
});

test('tokens outlive a restart', async () => {
  await using server = await startServer();
  const alice = await register(server);
  await server.restart();
  await alice.get(WHOAMI);
});

test('logout/all ends every device of the user and of nobody else', async () => {
  await using server = await startServer();
  const alice = await register(server, 'alice');
  const bob = await register(server, 'bob');
  const second = await login(server, 'alice', alice.password);
  await second.post('/logout/all');
  assertError(await alice.try('GET', WHOAMI), 401, 'M_UNKNOWN_TOKEN');
  assertError(await second.try('GET', WHOAMI), 401, 'M_UNKNOWN_TOKEN');
  await bob.get(WHOAMI);
});

test('passwords and login tokens are offered; a password goes with the identifier, the older user, a full id and any case', async () => {
  await using server = await startServer();
  const { userId, password } = await register(server, 'alice');
  const flows = await request(server, 'GET', LOGIN);
  assert.deepEqual(flows.body, {
    flows: [{ type: 'm.login.password' }, { type: 'm.login.token', get_login_token: true }],
  });
  for (const named of [
    { user: 'alice' },
    { user: userId },
    { identifier: { type: 'm.id.user', user: 'Alice' } },
  ]) {
    const answer = await signIn(server, { ...named, password });
    assert.deepEqual([answer.status, answer.body.user_id], [200, userId], JSON.stringify(named));
  }
});

test('row 1: a wrong password, an unknown user and another server look the same', async () => {
  await using server = await startServer();
  const { password } = await register(server, 'alice');
  const answers = [
    await signIn(server, { user: 'alice', password: 'wrong' }),
    await signIn(server, { user: 'nobody', password }),
    await signIn(server, { user: '@alice:elsewhere.test', password }),
    await signIn(server, { user: 'alice ', password }),
    await signIn(server, { user: 'al\u0131ce', password }),
    await signIn(server, { user: 'alice\0x', password }),
    await signIn(server, { user: 'alice', password: '' }),
  ];
  for (const answer of answers) assertError(answer, 403, 'M_FORBIDDEN');
  assert.equal(new Set(answers.map((answer) => JSON.stringify(answer.body))).size, 1);
});

test('row 2: no other password signs anybody in, also not to an account that has none', async () => {
  await using server = await startServer({ guestAccess: true });
  await register(server, 'alice');
  const path = '/_matrix/client/v3/register?kind=guest';
  const guest = await request(server, 'POST', path, { body: {} });
  for (const user of ['alice', guest.body.user_id]) {
    for (const password of [
      '',
      undefined,
      null,
      [],
      {},
      0,
      'x'.repeat(200_000),
      '\0',
      'password of alice\0',
    ]) {
      const { status } = await signIn(server, { user, password });
      assert.ok(status === 400 || status === 403, `${JSON.stringify(password)?.slice(0, 20)}: ${status}`);
    }
  }
});

test('a user signs in, and confirms, by an address of the account, in any spelling', async () => {
  await using server = await startServer();
  const alice = await register(server, 'alice');
  const mail = { medium: 'email', address: 'alice@example.org', validatedTs: 1, addedTs: 1 } as const;
  await server.ctx.db.write('test', (tx) => threepids.add(tx, '@alice:kurir.test', mail));
  const written = { medium: 'email', address: 'Alice@Example.ORG' };
  for (const named of [
    { identifier: { type: 'm.id.thirdparty', ...written } },
    { identifier: written },
    written,
  ]) {
    const answer = await signIn(server, { ...named, password: alice.password });
    assert.deepEqual([answer.status, answer.body.user_id], [200, alice.userId]);
    assertError(await signIn(server, { ...named, password: 'wrong' }), 403, 'M_FORBIDDEN');
  }
  const identifier = { type: 'm.id.thirdparty', ...written };
  const auth = { type: 'm.login.password', identifier, password: alice.password };
  await alice.post('/_matrix/client/v1/login/get_token', { auth });
});

test('row 54: nothing that was given out before signs a deactivated user in', async () => {
  await using server = await startServer();
  const alice = await register(server, 'alice');
  const auth = confirmation(alice);
  const { login_token: token } = await alice.post('/_matrix/client/v1/login/get_token', { auth });
  const session = await signIn(server, { user: 'alice', password: alice.password, refresh_token: true });
  await alice.post('/account/deactivate', { auth });
  assertError(await signIn(server, { user: 'alice', password: alice.password }), 403, 'M_USER_DEACTIVATED');
  assertError(await signIn(server, { user: 'alice', password: '' }), 403, 'M_USER_DEACTIVATED');
  const byToken = { type: 'm.login.token', token };
  assertError(await request(server, 'POST', LOGIN, { body: byToken }), 403, 'M_FORBIDDEN');
  const refreshing = { refresh_token: session.body.refresh_token };
  const refreshed = await request(server, 'POST', '/_matrix/client/v3/refresh', { body: refreshing });
  assertError(refreshed, 401, 'M_UNKNOWN_TOKEN');
  assertError(await alice.try('GET', WHOAMI), 401, 'M_UNKNOWN_TOKEN');
  const headers = { authorization: 'Bearer ' };
  const empty = await request(server, 'GET', `/_matrix/client/v3${WHOAMI}`, { headers });
  assertError(empty, 401, 'M_MISSING_TOKEN');
});

test('a login of another type, or of a wrong shape, is 400', async () => {
  await using server = await startServer();
  assertError(await request(server, 'POST', LOGIN, { body: { type: 'm.login.sso' } }), 400, 'M_UNKNOWN');
  assertError(await request(server, 'POST', LOGIN, { body: {} }), 400, 'M_MISSING_PARAM');
  assertError(await signIn(server, { user: 'alice' }), 400, 'M_MISSING_PARAM');
  assertError(await signIn(server, { password: 'x' }), 400, 'M_MISSING_PARAM');
  assertError(await signIn(server, { user: 'alice', password: null }), 400, 'M_MISSING_PARAM');
  assertError(await signIn(server, { user: 'alice', password: [] }), 400, 'M_BAD_JSON');
  assertError(
    await signIn(server, { user: 'a', password: 'x', device_id: 'x'.repeat(300) }),
    400,
    'M_INVALID_PARAM',
  );
});

test('an e-mail address that nobody has is 403, and so is a phone number; other identifiers are 400', async () => {
  await using server = await startServer();
  const { password } = await register(server, 'alice');
  const mail = { medium: 'email', address: 'alice@example.org' };
  for (const named of [{ identifier: { type: 'm.id.thirdparty', ...mail } }, { identifier: mail }, mail]) {
    assertError(await signIn(server, { ...named, password }), 403, 'M_FORBIDDEN');
  }
  const phone = { type: 'm.id.phone', country: 'DE', phone: '030 1' };
  assertError(await signIn(server, { identifier: phone, password }), 403, 'M_FORBIDDEN');
  assertError(await signIn(server, { identifier: { type: 'm.id.user' }, password }), 400, 'M_MISSING_PARAM');
  const half = { type: 'm.id.thirdparty', medium: 'email' };
  assertError(await signIn(server, { identifier: half, password }), 400, 'M_MISSING_PARAM');
  assertError(await signIn(server, { identifier: { type: 'org.x' }, password }), 400, 'M_UNKNOWN');
  assertError(await signIn(server, { identifier: 'alice', password }), 400, 'M_BAD_JSON');
});

test('a device id that is given is used, and taken over from its earlier session', async () => {
  await using server = await startServer();
  const { password } = await register(server, 'alice');
  const first = await signIn(server, { user: 'alice', password, device_id: 'PHONE' });
  const second = await signIn(server, { user: 'alice', password, device_id: 'PHONE' });
  assert.equal(second.body.device_id, 'PHONE');
  const whoami = (token: string) => request(server, 'GET', `/_matrix/client/v3${WHOAMI}`, { token });
  assertError(await whoami(first.body.access_token), 401, 'M_UNKNOWN_TOKEN');
  assert.equal((await whoami(second.body.access_token)).status, 200);
});

test('a password is changed after it was confirmed, and the other devices are signed out', async () => {
  await using server = await startServer();
  const alice = await register(server, 'alice');
  const bob = await register(server, 'bob');
  const other = await login(server, 'alice', alice.password);
  const path = '/account/password';
  const first = await alice.try('POST', path, { new_password: 'new' });
  assert.deepEqual([first.status, first.body.flows], [401, [{ stages: ['m.login.password'] }]]);
  const wrong = await alice.try('POST', path, { new_password: 'new', auth: confirmation(alice, 'wrong') });
  assertError(wrong, 401, 'M_FORBIDDEN');
  const others = await alice.try('POST', path, { new_password: 'new', auth: confirmation(bob) });
  assertError(others, 403, 'M_FORBIDDEN');
  await alice.post(path, {
    new_password: 'new',
    auth: { ...confirmation(alice), session: first.body.session },
  });
  await alice.get(WHOAMI);
  assertError(await other.try('GET', WHOAMI), 401, 'M_UNKNOWN_TOKEN');
  assertError(await signIn(server, { user: 'alice', password: alice.password }), 403, 'M_FORBIDDEN');
  await login(server, 'alice', 'new');
});

test('a session of interactive authentication is good for its own endpoint and user only', async () => {
  await using server = await startServer();
  const alice = await register(server, 'alice');
  const started = await alice.try('POST', '/account/password', { auth: confirmation(alice) });
  assertError(started, 400, 'M_MISSING_PARAM');
  const open = await alice.try('POST', '/account/password', {});
  const session = open.body.session as string;
  const auth = { ...confirmation(alice), session };
  await alice.try('POST', '/account/password', { auth });
  const elsewhere = await alice.try('POST', '/account/deactivate', { auth: { session } });
  assert.equal(elsewhere.status, 401);
  assert.notEqual(elsewhere.body.session, session);
});

test('a deactivated account is signed out, cannot sign in, and its name stays taken', async () => {
  await using server = await startServer();
  const alice = await register(server, 'alice');
  assert.equal((await alice.try('POST', '/account/deactivate', {})).status, 401);
  await alice.post('/account/deactivate', { auth: confirmation(alice) });
  assertError(await alice.try('GET', WHOAMI), 401, 'M_UNKNOWN_TOKEN');
  assertError(await signIn(server, { user: 'alice', password: alice.password }), 403, 'M_USER_DEACTIVATED');
  const path = '/_matrix/client/v3/register/available?username=alice';
  assertError(await request(server, 'GET', path), 400, 'M_USER_IN_USE');
  const profile = await request(server, 'GET', `/_matrix/client/v3/profile/${alice.userId}`);
  assertError(profile, 404, 'M_NOT_FOUND');
});
