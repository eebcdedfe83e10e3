import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { test } from 'node:test';
import { firstAccount } from '#server/auth/first-account.ts';
import { type Answer, login, register, request, TestClient } from '#test/harness/client.ts';
import { startServer, type TestServer } from '#test/harness/server.ts';

const REGISTER = '/_matrix/client/v3/register';
const SHARED_SECRET = '/_synapse/admin/v1/register';
const DUMMY = { type: 'm.login.dummy' };

function post(server: TestServer, path: string, body: object): Promise<Answer> {
  return request(server, 'POST', path, { body });
}

function assertError(answer: Answer, status: number, errcode: string): void {
  assert.deepEqual([answer.status, answer.body.errcode], [status, errcode], JSON.stringify(answer.body));
}

async function newToken(server: TestServer): Promise<string> {
  const first = await firstAccount(server.ctx);
  if (first.kind !== 'by_link') throw new Error('there is an account already');
  return new URL(first.path, server.clientUrl).searchParams.get('token') ?? '';
}

function form(server: TestServer, fields: Record<string, string>): Promise<Answer> {
  return request(server, 'POST', '/_kurir/register', {
    body: new URLSearchParams(fields).toString(),
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
  });
}

test('the first request is told the flows, without an errcode, and the session can be continued', async () => {
  await using server = await startServer();
  const first = await post(server, REGISTER, { username: 'alice', password: 'secret' });
  assert.equal(first.status, 401);
  assert.deepEqual(first.body.flows, [{ stages: ['m.login.dummy'] }]);
  assert.equal('errcode' in first.body, false);
  const auth = { ...DUMMY, session: first.body.session };
  const second = await post(server, REGISTER, { username: 'alice', password: 'secret', auth });
  assert.equal(second.status, 200);
  assert.equal(second.body.user_id, '@alice:kurir.test');
  const again = await post(server, REGISTER, {
    username: 'bob',
    password: 'x',
    auth: { session: first.body.session },
  });
  assert.equal(again.status, 401, 'a session admits one account');
});

test('a user name must be of the grammar and free; its capitals become lower-case letters', async () => {
  await using server = await startServer();
  await register(server, 'taken');
  for (const username of ['a b', 'ä', '', '@a:kurir.test', 'a'.repeat(250), 'a\0b', '__proto__:']) {
    assertError(
      await post(server, REGISTER, { username, password: 'x', auth: DUMMY }),
      400,
      'M_INVALID_USERNAME',
    );
  }
  assertError(
    await post(server, REGISTER, { username: 'taken', password: 'x', auth: DUMMY }),
    400,
    'M_USER_IN_USE',
  );
  const available = (name: string) => request(server, 'GET', `${REGISTER}/available?username=${name}`);
  assert.deepEqual((await available('free')).body, { available: true });
  assertError(await available('taken'), 400, 'M_USER_IN_USE');
  assertError(await available('Taken'), 400, 'M_USER_IN_USE');
  const made = await post(server, REGISTER, { username: 'user-UPPER', password: 'x', auth: DUMMY });
  assert.equal(made.body.user_id, '@user-upper:kurir.test');
});

test('inhibit_login makes no session, and without a user name one is made up', async () => {
  await using server = await startServer();
  const { status, body } = await post(server, REGISTER, { password: 'x', inhibit_login: true, auth: DUMMY });
  assert.equal(status, 200);
  assert.match(body.user_id, /^@[a-z0-9]+:kurir\.test$/);
  assert.equal('access_token' in body, false);
});

test('an empty, missing or wrongly typed password makes no account', async () => {
  await using server = await startServer();
  const attempt = (password: unknown) => post(server, REGISTER, { username: 'a', password, auth: DUMMY });
  assertError(await attempt(''), 400, 'M_INVALID_PARAM');
  assertError(await attempt(undefined), 400, 'M_MISSING_PARAM');
  assertError(await attempt(['x']), 400, 'M_BAD_JSON');
  assertError(await attempt('x'.repeat(1_000)), 400, 'M_INVALID_PARAM');
  const available = await request(server, 'GET', `${REGISTER}/available?username=a`);
  assert.equal(available.status, 200);
});

test('row 84: of requests for the same name, in any case, at the same time one gets it', async () => {
  await using server = await startServer();
  const answers = await Promise.all(
    Array.from({ length: 8 }, (_, index) => {
      const username = index % 2 === 0 ? 'same' : 'SAME';
      return post(server, REGISTER, { username, password: `password ${index}`, auth: DUMMY });
    }),
  );
  const first = answers.findIndex(({ status }) => status === 200);
  await login(server, 'same', `password ${first}`);
  assert.equal(answers.filter((answer) => answer.status === 200).length, 1);
  assert.ok(answers.every(({ status, body: { errcode } }) => status === 200 || errcode === 'M_USER_IN_USE'));
});

test('closed registration and guests are 403', async () => {
  await using server = await startServer({ registration: 'closed' });
  assertError(
    await post(server, REGISTER, { username: 'a', password: 'x', auth: DUMMY }),
    403,
    'M_FORBIDDEN',
  );
  assertError(await post(server, `${REGISTER}?kind=guest`, {}), 403, 'M_GUEST_ACCESS_FORBIDDEN');
  assertError(await request(server, 'GET', `${REGISTER}/available?username=a`), 403, 'M_FORBIDDEN');
});

test('a registration token admits one account, in the API as on the page, and not after a day', async () => {
  let now = Date.now();
  await using server = await startServer({ registration: 'token', clock: { now: () => now } });
  const token = await newToken(server);
  const auth = { type: 'm.login.registration_token', token };
  const attempt = (username: string, stage: object) =>
    post(server, REGISTER, { username, password: 'x', auth: stage });
  assert.equal((await attempt('alice', DUMMY)).status, 401);
  assertError(await attempt('alice', { ...auth, token: 'krt_wrong' }), 401, 'M_FORBIDDEN');
  const validity = `/_matrix/client/v1/register/m.login.registration_token/validity?token=${token}`;
  assert.deepEqual((await request(server, 'GET', validity)).body, { valid: true });

  const both = await Promise.all([attempt('alice', auth), attempt('bob', auth)]);
  assert.equal(both.filter((answer) => answer.status === 200).length, 1, 'the token admits one');
  assert.deepEqual((await request(server, 'GET', validity)).body, { valid: false });
  assert.equal((await request(server, 'GET', `/_kurir/register?token=${token}`)).status, 403);
  assert.deepEqual(await firstAccount(server.ctx), { kind: 'exists' });

  await using other = await startServer({ registration: 'token', clock: { now: () => now } });
  const late = await newToken(other);
  now += 24 * 3_600_000 + 1;
  assert.equal((await request(other, 'GET', `/_kurir/register?token=${late}`)).status, 403);
});

test('the page behind the link makes the account by a form, says what is wrong, and escapes what it repeats', async () => {
  await using server = await startServer({ registration: 'token' });
  const token = await newToken(server);
  const page = await request(server, 'GET', `/_kurir/register?token=${token}`);
  assert.equal(page.status, 200);
  assert.match(
    page.headers.get('content-security-policy') ?? '',
    /default-src 'none'.*frame-ancestors 'none'/,
  );
  assert.equal(page.headers.get('x-frame-options'), 'DENY');
  assert.match(page.body, /<form method="post"/);
  assert.equal(page.body.includes('<script'), false);

  const passwords = { password: 'pw', repeated: 'pw' };
  const bad = await form(server, { token, username: '"><script>alert(1)</script>', ...passwords });
  assert.equal(bad.status, 400);
  assert.equal(bad.body.includes('<script'), false);
  assert.match((await form(server, { token, username: 'a', password: 'x', repeated: 'y' })).body, /differ/);
  const made = await form(server, { token, username: 'alice', ...passwords });
  assert.equal(made.status, 200);
  assert.match(made.body, /@alice:kurir\.test/);
  assert.equal((await form(server, { token, username: 'bob', ...passwords })).status, 403);
});

test('row 169: shared-secret registration: a nonce is good once, the mac must be right', async () => {
  const secret = 'a secret that scripts know';
  await using server = await startServer({ registration: 'closed', registrationSecret: secret });
  const nonceOf = async () => (await request(server, 'GET', SHARED_SECRET)).body.nonce as string;
  const bodyOf = (nonce: string, username: string, admin: boolean, key = secret) => {
    const text = [nonce, username, 'pass', admin ? 'admin' : 'notadmin'].join('\0');
    const mac = createHmac('sha1', key).update(text).digest('hex');
    return { nonce, username, password: 'pass', admin, mac };
  };
  const nonce = await nonceOf();
  const made = await post(server, SHARED_SECRET, bodyOf(nonce, 'root', true));
  assert.equal(made.status, 200);
  assert.equal(made.body.user_id, '@root:kurir.test');
  const whoami = await request(server, 'GET', '/_matrix/client/v3/account/whoami', {
    token: made.body.access_token,
  });
  assert.equal(whoami.body.user_id, '@root:kurir.test');
  const root = new TestClient(server, { ...made.body, password: 'pass' });
  await root.get('/admin/whois/@root:kurir.test');

  assertError(await post(server, SHARED_SECRET, bodyOf(nonce, 'again', false)), 400, 'M_UNKNOWN');
  assertError(await post(server, SHARED_SECRET, bodyOf('made up', 'again', false)), 400, 'M_UNKNOWN');
  assertError(
    await post(server, SHARED_SECRET, bodyOf(await nonceOf(), 'evil', true, 'guess')),
    403,
    'M_FORBIDDEN',
  );
  const raised = { ...bodyOf(await nonceOf(), 'evil', false), admin: true };
  assertError(await post(server, SHARED_SECRET, raised), 403, 'M_FORBIDDEN');
  assertError(
    await post(server, SHARED_SECRET, bodyOf(await nonceOf(), 'root', false)),
    400,
    'M_USER_IN_USE',
  );
});

test('shared-secret registration is absent without a secret, and a nonce ends after a minute', async () => {
  await using server = await startServer();
  assertError(await request(server, 'GET', SHARED_SECRET), 404, 'M_UNRECOGNIZED');
  let now = Date.now();
  const options = { registrationSecret: 'another secret of some length', clock: { now: () => now } };
  await using other = await startServer(options);
  const { nonce } = (await request(other, 'GET', SHARED_SECRET)).body;
  now += 60_001;
  const mac = createHmac('sha1', options.registrationSecret)
    .update([nonce, 'a', 'b', 'notadmin'].join('\0'))
    .digest('hex');
  assertError(
    await post(other, SHARED_SECRET, { nonce, username: 'a', password: 'b', mac }),
    400,
    'M_UNKNOWN',
  );
});

test('shared-secret registration: capitals are lowered, and what is wrong makes no account', async () => {
  const secret = 'a secret that scripts know';
  await using server = await startServer({ registration: 'closed', registrationSecret: secret });
  const attempt = async (fields: { [key: string]: unknown }, signed: readonly string[] = []) => {
    const { nonce } = (await request(server, 'GET', SHARED_SECRET)).body;
    const { username = '', password = '' } = fields;
    const text = [nonce, username, password, 'notadmin', ...signed].join('\0');
    const mac = createHmac('sha1', secret).update(text).digest('hex');
    return post(server, SHARED_SECRET, { nonce, mac, ...fields });
  };
  const made = await attempt({ username: 'User-UPPER', password: 'p\u00e4ss' });
  assert.equal(made.body.user_id, '@user-upper:kurir.test');
  assertError(await attempt({ username: 'USER-upper', password: 'x' }), 400, 'M_USER_IN_USE');
  assert.equal((await attempt({ username: 'a', password: 'x', user_type: 'bot' }, ['bot'])).status, 200);
  assertError(await attempt({ username: 'b', password: 'x', user_type: 'bot' }), 403, 'M_FORBIDDEN');
  for (const username of ['us,er', '', '@a:kurir.test', 'a\0b', '\u00e4']) {
    assertError(await attempt({ username, password: 'x' }), 400, 'M_INVALID_USERNAME');
  }
  assertError(await attempt({ username: 'c', password: '' }), 400, 'M_INVALID_PARAM');
  assertError(await attempt({ username: 'c', password: 'x'.repeat(1_000) }), 400, 'M_INVALID_PARAM');
  assertError(await attempt({ username: 'c' }), 400, 'M_MISSING_PARAM');
  assertError(await attempt({ username: 'c', password: 5 }), 400, 'M_BAD_JSON');
  assertError(await attempt({ username: 'c', password: 'x', admin: 'yes' }), 400, 'M_BAD_JSON');
  assertError(await attempt({ username: 'c', password: 'x', mac: undefined }), 400, 'M_MISSING_PARAM');
  assertError(await attempt({ username: 'c', password: 'x', mac: '\u00e4' }), 403, 'M_FORBIDDEN');
  assertError(await attempt({ username: 'c', password: 'x', mac: '' }), 403, 'M_FORBIDDEN');
  assertError(await attempt({ username: 'c', password: 'x', nonce: undefined }), 400, 'M_MISSING_PARAM');
  assertError(await attempt({ username: 'c', password: 'x', nonce: 'constructor' }), 400, 'M_UNKNOWN');
  assertError(await post(server, SHARED_SECRET, []), 400, 'M_BAD_JSON');
});

test('what is wrong with an account is told before anybody is asked to authenticate', async () => {
  await using server = await startServer();
  await register(server, 'taken');
  assertError(await post(server, REGISTER, { username: 'taken', password: 'x' }), 400, 'M_USER_IN_USE');
  assertError(await post(server, REGISTER, { username: 'a b', password: 'x' }), 400, 'M_INVALID_USERNAME');
  assertError(await post(server, REGISTER, { username: 5 }), 400, 'M_BAD_JSON');
  assertError(await post(server, `${REGISTER}?kind=robot`, {}), 400, 'M_INVALID_PARAM');
  assertError(await request(server, 'GET', `${REGISTER}/available`), 400, 'M_MISSING_PARAM');
});

test('device_id and initial_device_display_name are those of the new device', async () => {
  await using server = await startServer();
  const device = { device_id: 'my_device_id', initial_device_display_name: 'Jungle Phone' };
  const { body } = await post(server, REGISTER, { username: 'a', password: 'x', auth: DUMMY, ...device });
  assert.equal(body.device_id, 'my_device_id');
  const list = await request(server, 'GET', '/_matrix/client/v3/devices', { token: body.access_token });
  assert.equal(list.body.devices[0].display_name, 'Jungle Phone');
});
