/** Signing in with a second factor: an app with codes, and recovery codes. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Secret, TOTP } from 'otpauth';
import { setPassword } from '#server/auth/accounts.ts';
import { perform } from '#server/cli/operations.ts';
import { Browser, type ShownPage } from '#test/harness/browser.ts';
import { login, register, request } from '#test/harness/client.ts';
import { startServer, type TestServer, type TestServerOptions } from '#test/harness/server.ts';

const PASSWORD = { name: 'alice', password: 'password of alice' };
const MINUTE = 60_000;

/** A server with a clock that the test sets, and an account. */
async function started(
  options: TestServerOptions = {},
): Promise<{ server: TestServer; time: { now: number } }> {
  const time = { now: 1_800_000_000_000 };
  const server = await startServer({ clock: { now: () => time.now }, ...options });
  await register(server, 'alice');
  return { server, time };
}

async function signIn(browser: Browser): Promise<ShownPage> {
  return await browser.submit(await browser.get('/sign-in'), PASSWORD, { action: '/sign-in' });
}

/** The app that a page shows the key of. */
function appOf(page: ShownPage): TOTP {
  const [, key = ''] = /<dd><code>([A-Z2-7 ]+)<\/code>/.exec(page.text) ?? [];
  return new TOTP({ secret: Secret.fromBase32(key.replaceAll(' ', '')) });
}

function codesOf(page: ShownPage): string[] {
  return [...page.text.matchAll(/<li><code>([a-z2-7-]+)<\/code>/g)].map(([, code = '']) => code);
}

/** Sets an app up for who is signed in; answers it with the recovery codes. */
async function setUp(browser: Browser, time: { now: number }): Promise<{ app: TOTP; codes: string[] }> {
  const page = await browser.get('/account/second-step/app');
  const app = appOf(page);
  const done = await browser.submit(
    page,
    { code: app.generate({ timestamp: time.now }) },
    { action: '/app' },
  );
  assert.equal(done.title, 'Your recovery codes', done.text);
  time.now += MINUTE;
  return { app, codes: codesOf(done) };
}

test('with an app, the password alone signs nobody in; a code of the app does, once', async () => {
  const { server, time } = await started();
  await using _ = server;
  const first = new Browser(server);
  assert.equal((await signIn(first)).at, '/account');
  const { app, codes } = await setUp(first, time);
  assert.equal(codes.length, 10);

  const browser = new Browser(server);
  const step = await signIn(browser);
  assert.deepEqual([step.at, step.title], ['/sign-in/second-step', 'Second step']);
  assert.match((await browser.get('/account')).at, /^\/sign-in/, 'not signed in yet');
  const wrong = await browser.submit(step, { code: '000000' }, { action: '/second-step' });
  assert.deepEqual([wrong.status, /The code is not right/.test(wrong.text)], [403, true]);
  const code = app.generate({ timestamp: time.now });
  const done = await browser.submit(step, { code }, { action: '/second-step' });
  assert.deepEqual([done.at, done.title], ['/account', 'Your account']);

  const thief = new Browser(server);
  const again = await thief.submit(await signIn(thief), { code }, { action: '/second-step' });
  assert.equal(again.status, 403, 'the same code a second time');
  time.now += 30_000;
  const next = app.generate({ timestamp: time.now });
  assert.equal((await thief.submit(again, { code: next }, { action: '/second-step' })).at, '/account');
});

test('a recovery code signs in once, however it is written; new ones replace the old', async () => {
  const { server, time } = await started();
  await using _ = server;
  const first = new Browser(server);
  await signIn(first);
  const { codes } = await setUp(first, time);
  const use = async (code: string): Promise<ShownPage> => {
    const browser = new Browser(server);
    const step = await signIn(browser);
    return await browser.submit(step, { recovery: code }, { action: '/second-step' });
  };
  assert.equal((await use(` ${codes[0]?.toUpperCase().replaceAll('-', ' ')} `)).at, '/account');
  assert.equal((await use(codes[0] ?? '')).status, 403);
  for (const odd of ['', '-', codes[1]?.slice(1) ?? '', 'a'.repeat(5_000)])
    assert.equal((await use(odd)).status, 403);
  const page = await first.get('/account/second-step');
  assert.match(page.text, /9 codes are left/);
  const renewed = await first.submit(page, {}, { action: '/codes' });
  assert.equal(codesOf(renewed).length, 10);
  assert.equal((await use(codes[1] ?? '')).status, 403);
  assert.equal((await use(codesOf(renewed)[1] ?? '')).at, '/account');
});

test('guesses of a code are limited by the account, and who has shown a password has ten minutes', async () => {
  const { server, time } = await started({ rateLimits: true });
  await using _ = server;
  const first = new Browser(server);
  await signIn(first);
  const { app } = await setUp(first, time);
  const browser = new Browser(server);
  const step = await signIn(browser);
  let last: ShownPage | undefined;
  for (let guess = 0; guess < 12; guess++) {
    last = await browser.submit(step, { code: '000000' }, { action: '/second-step' });
  }
  assert.equal(last?.status, 429);
  const code = app.generate({ timestamp: time.now });
  assert.equal((await browser.submit(step, { code }, { action: '/second-step' })).status, 429);
  time.now += 11 * MINUTE;
  const late = app.generate({ timestamp: time.now });
  const tooLate = await browser.submit(step, { code: late }, { action: '/second-step' });
  assert.equal(tooLate.at, '/sign-in');
});

test('who has shown a password that was replaced meanwhile begins again', async () => {
  const { server, time } = await started();
  await using _ = server;
  const first = new Browser(server);
  await signIn(first);
  const { app } = await setUp(first, time);
  const browser = new Browser(server);
  const step = await signIn(browser);
  await setPassword(server.ctx, '@alice:kurir.test', 'another password');
  const code = app.generate({ timestamp: time.now });
  const page = await browser.submit(step, { code }, { action: '/second-step' });
  assert.match(page.at, /^\/sign-in/);
  assert.match((await browser.get('/account')).at, /^\/sign-in/);
});

test('the second step of one browser is of no use to another', async () => {
  const { server, time } = await started();
  await using _ = server;
  const first = new Browser(server);
  await signIn(first);
  const { app } = await setUp(first, time);
  const step = await signIn(new Browser(server));
  const code = app.generate({ timestamp: time.now });
  const other = new Browser(server);
  assert.equal((await other.submit(step, { code }, { action: '/second-step' })).at, '/sign-in');
  await other.get('/sign-in');
  assert.equal((await other.get('/sign-in/second-step')).at, '/sign-in');
});

test('/login by password says where to sign in instead, unless the operator lets it', async () => {
  const { server, time } = await started();
  await using _ = server;
  const first = new Browser(server);
  await signIn(first);
  await setUp(first, time);
  const login = (password: string) =>
    request(server, 'POST', '/_matrix/client/v3/login', {
      body: { type: 'm.login.password', identifier: { type: 'm.id.user', user: 'alice' }, password },
    });
  const refused = await login('password of alice');
  assert.deepEqual([refused.status, refused.body.errcode], [403, 'M_FORBIDDEN']);
  assert.match(refused.body.error, /second factor.*OAuth 2\.0/);
  assert.doesNotMatch((await login('wrong')).body.error, /second factor/);
  await server.restart({ legacyLoginWithoutSecondFactor: true });
  assert.equal((await login('password of alice')).status, 200);
  await server.restart({ legacyLoginWithoutSecondFactor: false, secondFactor: 'off' });
  assert.equal((await login('password of alice')).status, 200);
});

test('where all need a second factor, who has none sets one up before they are signed in', async () => {
  const { server, time } = await started({ secondFactor: 'required' });
  await using _ = server;
  const browser = new Browser(server);
  const step = await signIn(browser);
  assert.deepEqual(
    [step.at, /needs a second step from everybody/.test(step.text)],
    [...['/sign-in/second-step/set-up', true]],
  );
  assert.match(step.text, /<svg class="qr" role="img" aria-label="QR code/);
  assert.match((await browser.get('/account')).at, /^\/sign-in/);
  const wrong = await browser.submit(step, { code: '000000' }, { action: '/set-up' });
  assert.equal(wrong.status, 403);
  const app = appOf(wrong);
  assert.equal(app.secret.base32, appOf(step).secret.base32, 'the app need not be set up anew');
  const done = await browser.submit(
    wrong,
    { code: app.generate({ timestamp: time.now }) },
    { action: '/set-up' },
  );
  assert.equal(codesOf(done).length, 10);
  assert.equal((await browser.get('/account')).title, 'Your account');

  const page = await browser.get('/account/second-step');
  const kept = await browser.submit(page, {}, { action: '/app/remove' });
  assert.match(kept.text, /set up another one before you remove this one/);
  const newcomer = new Browser(server);
  const form = await newcomer.get('/sign-in?prompt=create&next=%2Faccount');
  const made = await newcomer.submit(form, { username: 'bob', password: 'b', repeated: 'b' });
  assert.match(made.at, /^\/sign-in/, 'a new account is no way around it');
});

test('a factor is removed by its owner after they have shown of late who they are', async () => {
  const { server, time } = await started();
  await using _ = server;
  const browser = new Browser(server);
  await signIn(browser);
  await setUp(browser, time);
  const page = await browser.get('/account/second-step');
  time.now += 10 * MINUTE;
  const late = await browser.submit(page, {}, { action: '/app/remove' });
  assert.equal(late.at, '/sign-in?next=%2Faccount%2Fsecond-step&prompt=login');
  const stranger = new Browser(server);
  assert.match((await stranger.submit(page, {}, { action: '/app/remove' })).at, /^\/sign-in/);
  assert.equal((await signIn(new Browser(server))).at, '/sign-in/second-step', 'it is still there');
});

test('the operator lets somebody in who has lost the second factor', async () => {
  const { server, time } = await started();
  await using _ = server;
  const browser = new Browser(server);
  await signIn(browser);
  await setUp(browser, time);
  const operation = { operation: 'user.remove-second-factor', user: 'alice' };
  assert.equal((await perform(server.ctx, operation)).kind, 'done');
  assert.match((await browser.get('/account')).at, /^\/sign-in/);
  assert.equal((await signIn(new Browser(server))).at, '/account');
  assert.equal((await perform(server.ctx, { ...operation, user: 'nobody' })).kind, 'refused');
});

test('the secret of an app is not in the database as it is', async () => {
  const { server, time } = await started();
  await using _ = server;
  const browser = new Browser(server);
  await signIn(browser);
  const { app, codes } = await setUp(browser, time);
  const { of } = await import('#storage/totp-secrets.ts');
  const stored = JSON.stringify(await of(server.ctx.db, '@alice:kurir.test'));
  assert.equal(stored.includes(app.secret.base32), false);
  assert.equal(
    codes.some((code) => stored.includes(code)),
    false,
  );
});

test('what a client asks to confirm by password is confirmed on the page, with the second factor', async () => {
  const { server, time } = await started();
  await using _ = server;
  const alice = await login(server, 'alice', PASSWORD.password);
  const other = await login(server, 'alice', PASSWORD.password);
  const first = new Browser(server);
  await signIn(first);
  const { app } = await setUp(first, time);
  const path = '/delete_devices';
  const asked = await alice.try('POST', path, { devices: [other.deviceId] });
  assert.deepEqual([asked.status, asked.body.flows], [401, [{ stages: ['m.login.sso'] }]]);
  const { session } = asked.body;
  const identifier = { type: 'm.id.user', user: 'alice' };
  const auth = { type: 'm.login.password', identifier, password: PASSWORD.password, session };
  assert.equal((await alice.try('POST', path, { devices: [other.deviceId], auth })).status, 401);
  const stage = `/_matrix/client/v3/auth/m.login.sso/fallback/web?session=${session}`;

  // Whoever is signed in already proves it again, also where they have come in by the second factor.
  time.now += MINUTE;
  const again = await first.get(stage);
  assert.match(again.at, /^\/sign-in\?next=/);
  const step = await first.submit(again, PASSWORD, { action: '/sign-in' });
  const code = app.generate({ timestamp: time.now });
  const question = await first.submit(step, { code }, { action: '/second-step' });
  assert.deepEqual([question.status, question.at], [200, stage], question.text);
  assert.match(question.text, /@alice:kurir\.test/);
  assert.equal((await alice.try('POST', path, { devices: [other.deviceId], auth: { session } })).status, 401);
  assert.equal((await first.submit(question, {}, { action: '/web' })).status, 200);
  const done = await alice.try('POST', path, { devices: [other.deviceId], auth: { session } });
  assert.equal(done.status, 200, JSON.stringify(done.body));
  assert.equal((await other.try('GET', '/account/whoami')).status, 401);
});

test('somebody else, or a session that is over, confirms nothing on the page', async () => {
  const { server, time } = await started();
  await using _ = server;
  const alice = await login(server, 'alice', PASSWORD.password);
  await register(server, 'bob');
  const first = new Browser(server);
  await signIn(first);
  await setUp(first, time);
  const { session } = (await alice.try('POST', '/delete_devices', { devices: [alice.deviceId] })).body;
  const stage = `/_matrix/client/v3/auth/m.login.sso/fallback/web?session=${session}`;
  const bob = new Browser(server);
  const page = await bob.get(stage);
  const back = await bob.submit(page, { name: 'bob', password: 'password of bob' }, { action: '/sign-in' });
  assert.deepEqual([back.status, back.at], [403, stage]);
  assert.match(back.text, /@bob:kurir\.test/);
  assert.equal((await bob.post(stage, {})).status, 404, 'nothing was asked');
  time.now += 16 * MINUTE;
  assert.equal((await bob.get(stage)).status, 404);
});

test('where the password alone is enough by the option, it confirms, too', async () => {
  const { server, time } = await started({ legacyLoginWithoutSecondFactor: true });
  await using _ = server;
  const alice = await login(server, 'alice', PASSWORD.password);
  const first = new Browser(server);
  await signIn(first);
  await setUp(first, time);
  const asked = await alice.try('POST', '/delete_devices', { devices: [alice.deviceId] });
  assert.deepEqual(asked.body.flows, [{ stages: ['m.login.password'] }]);
});
