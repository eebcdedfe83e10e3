/** Passkeys, by an authenticator that the test has written: https://www.w3.org/TR/webauthn-3/ */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Authenticator } from '#test/harness/authenticator.ts';
import { Browser, formOf, type ShownPage } from '#test/harness/browser.ts';
import { type Body, register } from '#test/harness/client.ts';
import { startServer, type TestServer, type TestServerOptions } from '#test/harness/server.ts';

const BASE = 'https://matrix.kurir.test';
const SITE = { origin: BASE };

async function started(options: TestServerOptions = {}): Promise<TestServer> {
  const server = await startServer({ publicBaseurl: BASE, ...options });
  await register(server, 'alice');
  await register(server, 'bob');
  return server;
}

async function signIn(server: TestServer, name = 'alice'): Promise<{ browser: Browser; page: ShownPage }> {
  const browser = new Browser(server, { base: BASE });
  const form = await browser.get('/sign-in');
  const fields = { name, password: `password of ${name}` };
  return { browser, page: await browser.submit(form, fields, { action: '/sign-in' }) };
}

/** What the script of a page asks for. */
async function optionsOf(browser: Browser, page: ShownPage, action: string): Promise<Body> {
  const { action: to, hidden } = formOf(page, action);
  const answer = await browser.post(`${to}/options`, { form_token: hidden.form_token ?? '' });
  assert.equal(answer.status, 200, answer.text);
  return JSON.parse(answer.text);
}

async function addPasskey(browser: Browser, key: Authenticator, name = 'Key'): Promise<ShownPage> {
  const page = await browser.get('/account/second-step');
  const credential = key.create(await optionsOf(browser, page, '/passkey'));
  return await browser.submit(page, { credential, passkey_name: name }, { action: '/passkey' });
}

/** The second step by a passkey. */
async function step(browser: Browser, page: ShownPage, key: Authenticator): Promise<ShownPage> {
  const credential = key.get(await optionsOf(browser, page, '/second-step/passkey'));
  return await browser.submit(page, { credential }, { action: '/second-step/passkey' });
}

test('a passkey is the second step, and needs no JavaScript but for itself', async () => {
  await using server = await started();
  const { browser } = await signIn(server);
  const key = new Authenticator(SITE);
  const added = await addPasskey(browser, key, 'My key');
  assert.equal(added.title, 'Your recovery codes', added.text);
  assert.match((await browser.get('/account/second-step')).text, /My key \(added on/);
  const again = await signIn(server);
  assert.equal(again.page.at, '/sign-in/second-step');
  assert.match(
    again.page.headers.get('content-security-policy') ?? '',
    /script-src 'sha256-[^']+'; connect-src 'self'/,
  );
  const done = await step(again.browser, again.page, key);
  assert.deepEqual([done.at, done.title], ['/account', 'Your account'], done.text);
});

test('a passkey that knows its owner signs in without a name and a password; one that does not, not', async () => {
  await using server = await started();
  const key = new Authenticator(SITE);
  await addPasskey((await signIn(server)).browser, key);
  const browser = new Browser(server, { base: BASE });
  const page = await browser.get('/sign-in?next=%2Faccount%2Fdevices');
  const options = await optionsOf(browser, page, '/sign-in/passkey');
  assert.equal(options.userVerification, 'required');
  assert.deepEqual(options.allowCredentials ?? [], [], 'says nothing of any account');
  const done = await browser.submit(page, { credential: key.get(options) }, { action: '/sign-in/passkey' });
  assert.equal(done.at, '/account/devices', done.text);

  const touched = new Authenticator({ ...SITE, verifiesUser: false });
  await addPasskey((await signIn(server, 'bob')).browser, touched);
  const other = new Browser(server, { base: BASE });
  const form = await other.get('/sign-in');
  const credential = touched.get(await optionsOf(other, form, '/sign-in/passkey'));
  const refused = await other.submit(form, { credential }, { action: '/sign-in/passkey' });
  assert.deepEqual([refused.status, /was not accepted/.test(refused.text)], [403, true]);
  const bob = await signIn(server, 'bob');
  assert.equal(
    (await step(bob.browser, bob.page, touched)).at,
    '/account',
    'after the password it is enough',
  );
});

test('an answer is good once, in its browser, for this site, from the key, and for its owner', async () => {
  await using server = await started();
  const key = new Authenticator(SITE);
  await addPasskey((await signIn(server)).browser, key);
  const bobs = new Authenticator(SITE);
  await addPasskey((await signIn(server, 'bob')).browser, bobs);
  const { browser, page } = await signIn(server);
  const send = (credential: string) =>
    browser.submit(page, { credential }, { action: '/second-step/passkey' });
  const options = () => optionsOf(browser, page, '/second-step/passkey');

  const elsewhere = new Authenticator({ origin: 'https://evil.test' });
  for (const [why, credential] of [
    ['another site', elsewhere.get(await options())],
    ['another domain', key.get(await options(), 'evil.test')],
    ['the key of another user', bobs.get(await options())],
    ['another challenge', key.get({ ...(await options()), challenge: 'AAAA' })],
    ['another signature', key.get(await options()).replace(/"signature":"..../, '"signature":"AAAA')],
  ] as const) {
    assert.equal((await send(credential)).status, 403, why);
  }
  const again = await signIn(server);
  const good = key.get(await optionsOf(again.browser, again.page, '/second-step/passkey'));
  const stolen = await send(good);
  assert.equal(stolen.status, 403, 'an answer for another browser');
  const done = await again.browser.submit(
    again.page,
    { credential: good },
    { action: '/second-step/passkey' },
  );
  assert.equal(done.at, '/account', done.text);
  const replayed = await signIn(server);
  await optionsOf(replayed.browser, replayed.page, '/second-step/passkey');
  const old = await replayed.browser.submit(
    replayed.page,
    { credential: good },
    { action: '/second-step/passkey' },
  );
  assert.equal(old.status, 403);
});

test('a key whose counter goes back may have been copied: it is refused', async () => {
  await using server = await started();
  const key = new Authenticator(SITE);
  await addPasskey((await signIn(server)).browser, key);
  key.counter = 7;
  const first = await signIn(server);
  assert.equal((await step(first.browser, first.page, key)).at, '/account');
  key.counter = 3;
  const second = await signIn(server);
  assert.equal((await step(second.browser, second.page, key)).status, 403);
});

test('what is no answer of a passkey is refused, and breaks nothing', async () => {
  await using server = await started();
  const key = new Authenticator(SITE);
  const { browser } = await signIn(server);
  const page = await browser.get('/account/second-step');
  const add = (credential: string) =>
    browser.submit(page, { credential }, { action: '/second-step/passkey' });
  const made = key.create(await optionsOf(browser, page, '/passkey'));
  const parsed = JSON.parse(made);
  for (const credential of [
    '',
    '{',
    'null',
    '[]',
    '{"id":1}',
    JSON.stringify({ ...parsed, response: {} }),
    JSON.stringify({ ...parsed, response: { ...parsed.response, attestationObject: 'AAAA' } }),
    JSON.stringify({ ...parsed, response: { ...parsed.response, clientDataJSON: '!' } }),
  ]) {
    await optionsOf(browser, page, '/passkey');
    const answer = await add(credential);
    assert.equal(answer.status, 400, credential);
    assert.match(answer.text, /The passkey was not accepted/);
  }
  assert.equal((await add(made)).status, 400, 'its challenge was taken');
  assert.match((await browser.get('/account/second-step')).text, /You have no passkeys/);
  const bare = await browser.post('/account/second-step/passkey/options', {});
  assert.equal(bare.status, 403);
});

test('a passkey is removed by its owner alone; with the last factor the recovery codes go', async () => {
  await using server = await started();
  const { browser } = await signIn(server);
  const key = new Authenticator(SITE);
  await addPasskey(browser, key);
  const bob = await signIn(server, 'bob');
  await addPasskey(bob.browser, new Authenticator(SITE));
  const theirs = await bob.browser.get('/account/second-step');
  await bob.browser.submit(theirs, { passkey: key.id }, { action: '/passkey/remove' });
  const page = await browser.get('/account/second-step');
  assert.match(page.text, /10 codes are left/);
  await browser.submit(page, {}, { action: '/passkey/remove' });
  const { count } = await import('#storage/recovery-codes.ts');
  assert.equal(await count(server.ctx.db, '@alice:kurir.test'), 0);
  assert.equal((await signIn(server)).page.at, '/account');
});

test('there are no passkeys where the server has no address of https, or asks for no second factor', async () => {
  for (const options of [
    { publicBaseurl: 'http://kurir.test' },
    { secondFactor: 'off' as const },
    { publicBaseurl: 'https://10.0.0.1' },
  ]) {
    await using server = await started(options);
    const page = await new Browser(server).get('/sign-in');
    assert.equal(page.text.includes('passkey'), false);
  }
});
