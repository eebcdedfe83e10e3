/** User-interactive authentication, its pages, and what people accept when they register. */

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { performOnTokens } from '#server/cli/token-operations.ts';
import * as acceptedPolicies from '#storage/accepted-policies.ts';
import { type Answer, login, register, request, type TestClient } from '#test/harness/client.ts';
import { mailOptions, startMailServer } from '#test/harness/mail-server.ts';
import { startServer, type TestServer } from '#test/harness/server.ts';

const REGISTER = '/_matrix/client/v3/register';
const FORM = { 'content-type': 'application/x-www-form-urlencoded' };
const DUMMY = { type: 'm.login.dummy' };
const TERMS = [
  {
    policyId: 'tos',
    version: '1.2',
    language: 'en',
    url: 'https://x.test/tos-en',
    name: 'Terms & Conditions',
  },
  { policyId: 'tos', version: '1.2', language: 'de', url: 'https://x.test/tos-de', name: 'Bedingungen' },
  { policyId: 'privacy', version: '3', language: 'en', url: 'https://x.test/p', name: 'Privacy' },
];

function assertError(answer: Answer, status: number, errcode: string): void {
  assert.deepEqual([answer.status, answer.body.errcode], [status, errcode], JSON.stringify(answer.body));
}

function post(server: TestServer, body: object): Promise<Answer> {
  return request(server, 'POST', REGISTER, { body });
}

function password(user: TestClient, session?: string): object {
  return {
    type: 'm.login.password',
    identifier: { type: 'm.id.user', user: user.userId },
    password: user.password,
    ...(session !== undefined && { session }),
  };
}

function pagePath(stage: string, session: string): string {
  return `/_matrix/client/v3/auth/${stage}/fallback/web?session=${encodeURIComponent(session)}`;
}

function submit(server: TestServer, path: string, fields: Record<string, string> = {}): Promise<Answer> {
  return request(server, 'POST', path, { body: new URLSearchParams(fields).toString(), headers: FORM });
}

function hiddenField(page: string, name: string): string {
  return new RegExp(`name="${name}" value="([^"]*)"`).exec(page)?.[1] ?? '';
}

/** Each inline script of a page is one that its policy names. */
function assertOnlyOwnScripts({ headers, body }: Answer): void {
  const policy = headers.get('content-security-policy') ?? '';
  for (const [, script = ''] of body.matchAll(/<script>([\s\S]*?)<\/script>/g)) {
    const hash = createHash('sha256').update(script).digest('base64');
    assert.ok(policy.includes(`script-src 'sha256-${hash}'`), policy);
  }
  assert.equal(/<script[^>]/.test(body), false);
}

test('row 12: row 159: a session is good for its user, its endpoint and its body; any other request begins anew', async () => {
  await using server = await startServer();
  const alice = await register(server, 'alice');
  const bob = await register(server, 'bob');
  const [one, two] = [
    await login(server, 'alice', alice.password),
    await login(server, 'alice', alice.password),
  ];
  const remove = (devices: string[], auth?: object, user = alice) =>
    user.try('POST', '/delete_devices', { devices, ...(auth !== undefined && { auth }) });
  const begun = await remove([one.deviceId]);
  assert.equal(begun.status, 401);
  const { session } = begun.body;

  const others = [
    await alice.try('POST', '/account/deactivate', { auth: { session } }),
    await alice.try('POST', '/account/password', { new_password: 'x', auth: { session } }),
    await alice.try('DELETE', `/devices/${two.deviceId}`, { auth: { session } }),
    await remove([one.deviceId], { session }, bob),
    await post(server, { username: 'carol', password: 'x', auth: { session } }),
    await remove([two.deviceId], { session }),
  ];
  for (const { status, body } of others) {
    assert.equal(status, 401);
    assert.notEqual(body.session, session, 'a fresh session');
    assert.deepEqual(body.completed, []);
  }
  const wrong = await remove([one.deviceId], { ...password(alice, session), password: 'wrong' });
  assertError(wrong, 401, 'M_FORBIDDEN');
  assert.equal(wrong.body.session, session);
  assertError(await remove([one.deviceId], { session, type: 'm.login.msisdn' }), 401, 'M_UNRECOGNIZED');
  assertError(await remove([one.deviceId], { session, type: 'm.login.dummy' }), 401, 'M_UNRECOGNIZED');
  assertError(await remove([one.deviceId], { session, type: ['x'] }), 401, 'M_UNRECOGNIZED');
  assertError(await alice.try('POST', '/delete_devices', { devices: [], auth: 'x' }), 400, 'M_BAD_JSON');

  assert.equal((await remove([one.deviceId], password(alice, session))).status, 200);
  assert.equal((await remove([one.deviceId], { session })).status, 401, 'a session is good once');
  await two.get('/account/whoami');
  await bob.get('/account/whoami');
});

test('a session in which something was confirmed is bound to the body, whatever the order of its members', async () => {
  await using server = await startServer({ terms: TERMS, registration: 'token' });
  const outcome = await performOnTokens(server.ctx, { operation: 'token.new', expires: '1h', uses: 5 });
  const token = outcome?.kind === 'done' ? outcome.lines[0]?.split(' ').at(-1) : '';
  const flows = await post(server, {});
  assert.deepEqual(flows.body.flows, [{ stages: ['m.login.registration_token', 'm.login.terms'] }]);
  const { session } = flows.body;
  const first = { type: 'm.login.registration_token', token, session };
  const terms = { type: 'm.login.terms', session };

  const early = await post(server, { username: 'alice', password: 'x', auth: terms });
  assertError(early, 401, 'M_FORBIDDEN');
  assert.deepEqual([early.body.session, early.body.completed], [session, []], 'stages come in their order');
  const half = await post(server, { username: 'alice', password: 'x', auth: first });
  assert.deepEqual([half.status, half.body.completed], [401, ['m.login.registration_token']]);
  assert.equal('errcode' in half.body, false);
  const again = await post(server, { password: 'x', username: 'alice', auth: { ...first, token: 'wrong' } });
  assert.deepEqual(
    again.body.completed,
    ['m.login.registration_token'],
    'a completed stage is not tried again',
  );
  const other = await post(server, { username: 'mallory', password: 'x', auth: terms });
  assert.equal(other.status, 401);
  assert.notEqual(other.body.session, session);
  assert.equal((await post(server, { username: 'alice', password: 'x', auth: terms })).status, 200);
});

test('a session ends after fifteen minutes', async () => {
  let now = Date.now();
  await using server = await startServer({ clock: { now: () => now } });
  const begun = await post(server, { username: 'alice', password: 'x' });
  now += 15 * 60_000;
  const page = await request(server, 'GET', pagePath('m.login.dummy', begun.body.session));
  assert.equal(page.status, 404);
  const late = await post(server, {
    username: 'alice',
    password: 'x',
    auth: { session: begun.body.session },
  });
  assert.equal(late.status, 401);
  assert.notEqual(late.body.session, begun.body.session);
});

test('an address that nobody is signed in from begins so many sessions, and no more', async () => {
  await using server = await startServer({ rateLimits: true });
  const answers = await Promise.all(Array.from({ length: 40 }, () => post(server, {})));
  const limited = answers.filter(({ status }) => status === 429);
  assert.ok(limited.length > 0 && limited.length <= 10, `${limited.length}`);
  assert.ok(answers.every(({ status }) => status === 401 || status === 429));
  const { session } = answers[0]?.body ?? {};
  const go = await post(server, { username: 'alice', password: 'password', auth: { ...DUMMY, session } });
  assert.equal(go.status, 200, 'those that are begun go on');
});

test('policies are told in all their languages, must be accepted, and their versions are kept', async () => {
  await using server = await startServer({ terms: TERMS });
  const asked = await post(server, { username: 'alice', password: 'x' });
  assert.deepEqual(asked.body.flows, [{ stages: ['m.login.terms'] }]);
  assert.deepEqual(asked.body.params, {
    'm.login.terms': {
      policies: {
        tos: {
          version: '1.2',
          en: { name: 'Terms & Conditions', url: 'https://x.test/tos-en' },
          de: { name: 'Bedingungen', url: 'https://x.test/tos-de' },
        },
        privacy: { version: '3', en: { name: 'Privacy', url: 'https://x.test/p' } },
      },
    },
  });
  assertError(await post(server, { username: 'alice', password: 'x', auth: DUMMY }), 401, 'M_UNRECOGNIZED');
  const auth = { type: 'm.login.terms', session: asked.body.session };
  assert.equal((await post(server, { username: 'alice', password: 'x', auth })).status, 200);
  const accepted = async (userId: '@alice:kurir.test' | '@bob:kurir.test') =>
    (await acceptedPolicies.ofUser(server.ctx.db, userId)).map(({ policyId, version }) => [
      policyId,
      version,
    ]);
  const both = [
    ['privacy', '3'],
    ['tos', '1.2'],
  ];
  assert.deepEqual(await accepted('@alice:kurir.test'), both);

  const fields = { token: '', username: 'bob', password: 'pw', repeated: 'pw' };
  assert.match((await request(server, 'GET', '/_kurir/register')).body, /Terms &amp; Conditions/);
  assert.match((await submit(server, '/_kurir/register', fields)).body, /Accept the policies/);
  assert.equal((await submit(server, '/_kurir/register', { ...fields, accepts: 'yes' })).status, 200);
  assert.deepEqual(await accepted('@bob:kurir.test'), both);
});

test('row 27: the page of every stage works without JavaScript, cannot be framed, and runs no script but its own', async () => {
  await using mail = await startMailServer();
  const options = { ...mailOptions(mail), terms: TERMS, registrationEmail: 'required' as const };
  await using server = await startServer({ ...options, registration: 'token' });
  const outcome = await performOnTokens(server.ctx, { operation: 'token.new', expires: '1h', uses: 1 });
  const token = (outcome?.kind === 'done' ? outcome.lines[0]?.split(' ').at(-1) : '') ?? '';
  const body = { username: 'alice', password: 'x' };
  const asked = await post(server, body);
  const { session } = asked.body;
  const stages = ['m.login.registration_token', 'm.login.terms', 'm.login.email.identity'] as const;
  assert.deepEqual(asked.body.flows, [{ stages }]);
  for (const stage of stages) {
    const page = await request(server, 'GET', pagePath(stage, session));
    assert.equal(page.status, 200, stage);
    assert.match(page.body, /<form method="post">/);
    assert.match(page.headers.get('content-type') ?? '', /^text\/html/);
    assert.equal(page.headers.get('x-frame-options'), 'DENY');
    assert.match(
      page.headers.get('content-security-policy') ?? '',
      /default-src 'none'.*frame-ancestors 'none'/,
    );
    assert.equal(page.body.includes('<script'), false);
    assert.equal(page.body.includes(session), false);
  }
  const wrong = await submit(server, pagePath(stages[0], session), { token: '"><script>' });
  assert.equal(wrong.status, 401);
  assert.match(wrong.body, /not valid/);
  const early = await submit(server, pagePath(stages[1], session), { accepts: 'yes' });
  assert.equal(early.status, 401, 'in their order here, too');

  const done = await submit(server, pagePath(stages[0], session), { token });
  assert.equal(done.status, 200);
  assert.match(done.body, /window\.onAuthDone\(\);[\s\S]*postMessage\("authDone", "\*"\)/);
  assertOnlyOwnScripts(done);
  const half = await post(server, { ...body, auth: { session } });
  assert.deepEqual([half.status, half.body.completed], [401, ['m.login.registration_token']]);
  assert.match((await submit(server, pagePath(stages[1], session))).body, /Accept the policies/);
  assert.equal((await submit(server, pagePath(stages[1], session), { accepts: 'yes' })).status, 200);

  const email = pagePath(stages[2], session);
  assert.match((await submit(server, email, { email: 'nobody' })).body, /not an e-mail address/);
  const sent = await submit(server, email, { email: 'alice@example.org' });
  assert.match(sent.body, /A letter is on its way/);
  const proof = {
    sid: hiddenField(sent.body, 'sid'),
    client_secret: hiddenField(sent.body, 'client_secret'),
  };
  const early2 = await submit(server, email, proof);
  assert.equal(early2.status, 401);
  assert.equal(hiddenField(early2.body, 'sid'), proof.sid, 'the page can go on');
  await submit(server, mail.last.link);
  assert.equal((await submit(server, email, proof)).status, 200);
  const made = await post(server, { ...body, auth: { session } });
  assert.equal(made.status, 200, JSON.stringify(made.body));
});

test('the password page confirms for the user of the session alone', async () => {
  await using server = await startServer();
  const alice = await register(server, 'alice');
  const bob = await register(server, 'bob');
  const device = await login(server, 'alice', alice.password);
  const path = `/devices/${device.deviceId}`;
  const { session } = (await alice.try('DELETE', path)).body;
  const page = pagePath('m.login.password', session);
  const ofBob = await submit(server, page, { user: bob.userId, password: bob.password });
  assert.equal(ofBob.status, 403);
  assert.equal((await submit(server, page, { user: 'alice', password: 'wrong' })).status, 401);
  assert.equal((await alice.try('DELETE', path, { auth: { session } })).status, 401);
  assert.equal((await submit(server, page, { user: 'alice', password: alice.password })).status, 200);
  assert.equal((await alice.try('DELETE', path, { auth: { session } })).status, 200);
});

test('a page of no session, of a stage that is none, or of one that the session lacks, is 404 and shows nothing of it', async () => {
  await using server = await startServer();
  const { session } = (await post(server, {})).body;
  for (const path of [
    pagePath('m.login.dummy', 'unknown'),
    pagePath('m.login.dummy', '"><script>'),
    pagePath('m.login.recaptcha', session),
    pagePath('m.login.password', session),
    pagePath('%3Cscript%3E', session),
    '/_matrix/client/v3/auth/m.login.dummy/fallback/web',
  ]) {
    for (const answer of [await request(server, 'GET', path), await submit(server, path)]) {
      assert.equal(answer.status, 404, path);
      assert.equal(answer.body.includes('<script'), false);
    }
  }
  assert.equal((await request(server, 'GET', pagePath('m.login.dummy', session))).status, 200);
  const older = pagePath('m.login.dummy', session).replace('/v3/', '/r0/');
  assert.equal((await submit(server, older)).status, 200);
});

test('the sign-in page calls the login of this server, and runs no script but its own', async () => {
  await using server = await startServer();
  for (const path of ['/_matrix/static/client/login/', '/_matrix/static/client/login/?device_id=GHTYAJCE']) {
    const page = await request(server, 'GET', path);
    assert.equal(page.status, 200);
    assert.equal(page.headers.get('x-frame-options'), 'DENY');
    assert.match(page.headers.get('content-security-policy') ?? '', /connect-src 'self'/);
    assert.match(page.body, /window\.matrixLogin\.onLogin\(response\)/);
    assert.match(page.body, /<form method="post">/, 'a password never becomes part of an address');
    assertOnlyOwnScripts(page);
  }
});

test('row 56: a new password stands nowhere in the database, whichever stage it stops at', async () => {
  await using server = await startServer();
  const alice = await register(server, 'alice');
  const sentinel = 'sentinel-of-a-new-password';
  const begun = await alice.try('POST', '/account/password', { new_password: sentinel });
  await alice.try('POST', '/account/password', {
    new_password: sentinel,
    auth: { ...password(alice, begun.body.session), password: 'wrong' },
  });
  await alice.post('/account/password', {
    new_password: sentinel,
    auth: password(alice, begun.body.session),
  });
  const { dataDir } = server.ctx.config;
  for (const name of await readdir(dataDir)) {
    if (!name.startsWith('kurir.db')) continue;
    assert.equal((await readFile(join(dataDir, name))).includes(sentinel), false, name);
  }
});

test('a password that is too short is refused before and after authentication, for accounts and for changes', async () => {
  await using server = await startServer({ passwordMinLength: 8 });
  for (const auth of [undefined, DUMMY]) {
    const body = { username: 'alice', password: 'short', ...(auth !== undefined && { auth }) };
    assertError(await post(server, body), 400, 'M_WEAK_PASSWORD');
  }
  const alice = await register(server, 'alice');
  const change = { new_password: '\u{1F511}'.repeat(7), auth: password(alice) };
  assertError(await alice.try('POST', '/account/password', change), 400, 'M_WEAK_PASSWORD');
  await alice.post('/account/password', { ...change, new_password: '\u{1F511}'.repeat(8) });
  const fields = { token: '', username: 'bob', password: 'short', repeated: 'short' };
  assert.match((await submit(server, '/_kurir/register', fields)).body, /8 characters or more/);
});

test('a changed password signs the other devices out, unless they are to stay', async () => {
  await using server = await startServer();
  const alice = await register(server, 'alice');
  const change = (from: string, to: string, more: object = {}) => {
    const identifier = { type: 'm.id.user', user: alice.userId };
    const auth = { type: 'm.login.password', identifier, password: from };
    return alice.try('POST', '/account/password', { new_password: to, auth, ...more });
  };
  const first = await login(server, 'alice', alice.password);
  assert.equal((await change(alice.password, 'two')).status, 200);
  assertError(await first.try('GET', '/account/whoami'), 401, 'M_UNKNOWN_TOKEN');
  assert.equal((await alice.get('/devices')).devices.length, 1);
  const second = await login(server, 'alice', 'two');
  assert.equal((await change('two', 'three', { logout_devices: false })).status, 200);
  await second.get('/account/whoami');
  assertError(await change('three', 'four', { logout_devices: 'no' }), 400, 'M_BAD_JSON');
  assertError(await change('three', ''), 400, 'M_INVALID_PARAM');
  const missing = { auth: { ...password(alice), password: 'three' } };
  assertError(await alice.try('POST', '/account/password', missing), 400, 'M_MISSING_PARAM');
  await login(server, 'alice', 'three');
});

test('row 131: an access token alone changes neither password nor addresses nor devices nor keys', async () => {
  await using mail = await startMailServer();
  await using server = await startServer(mailOptions(mail));
  const alice = await register(server, 'alice');
  const other = await login(server, 'alice', alice.password);
  const credentials = { sid: 'sid', client_secret: 'secret' };
  const attempts: readonly (readonly [method: string, path: string, body?: object])[] = [
    ['POST', '/account/password', { new_password: 'another' }],
    ['POST', '/account/deactivate', {}],
    ['POST', '/account/3pid/add', credentials],
    ['POST', '/account/3pid', { three_pid_creds: credentials }],
    ['DELETE', `/devices/${other.deviceId}`],
    ['POST', '/delete_devices', { devices: [other.deviceId] }],
  ];
  for (const [method, path, body] of attempts) {
    const { status, body: answer } = await alice.try(method, path, body);
    assert.deepEqual([status, answer.flows?.[0]], [401, { stages: ['m.login.password'] }], path);
    assert.equal((await alice.try(method, path, { ...body, auth: DUMMY })).status, 401, path);
  }
  await other.get('/account/whoami');
  await login(server, 'alice', alice.password);
});
