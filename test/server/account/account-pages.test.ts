/** https://spec.matrix.org/v1.19/client-server-api/#oauth-20-account-management */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as crossSigningResets from '#storage/cross-signing-resets.ts';
import { Browser, type ShownPage } from '#test/harness/browser.ts';
import { login, register, request } from '#test/harness/client.ts';
import { crossSigningOf } from '#test/harness/encryption.ts';
import { LINK_BASE, mailOptions, startMailServer } from '#test/harness/mail-server.ts';
import { startServer, type TestServer, type TestServerOptions } from '#test/harness/server.ts';

const ALICE = '@alice:kurir.test';
const MINUTE = 60_000;

interface Stage extends AsyncDisposable {
  readonly server: TestServer;
  readonly time: { now: number };
  readonly browser: Browser;
  readonly alice: Awaited<ReturnType<typeof register>>;
}

async function signIn(
  browser: Browser,
  password = 'password of alice',
  next = '/account',
): Promise<ShownPage> {
  const page = await browser.get(`/sign-in?next=${encodeURIComponent(next)}`);
  return await browser.submit(page, { name: 'alice', password }, { action: '/sign-in' });
}

/** Alice with a device and a browser in which she is signed in. */
async function started(options: TestServerOptions = {}): Promise<Stage> {
  const time = { now: 1_800_000_000_000 };
  const server = await startServer({ clock: { now: () => time.now }, ...options });
  const alice = await register(server, 'alice');
  const browser = new Browser(server, { base: LINK_BASE });
  await signIn(browser);
  return { server, time, browser, alice, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() };
}

test('each action leads to its page, by its name and by those of before; others to the overview', async () => {
  await using stage = await started();
  const { browser, alice } = stage;
  for (const [action, title] of [
    ['org.matrix.profile', 'Profile'],
    ['profile', 'Profile'],
    ['org.matrix.devices_list', 'Devices'],
    ['org.matrix.sessions_list', 'Devices'],
    ['sessions_list', 'Devices'],
    ['org.matrix.device_view', 'Without a name'],
    ['org.matrix.session_view', 'Without a name'],
    ['session_view', 'Without a name'],
    ['org.matrix.device_delete', 'Sign a device out?'],
    ['org.matrix.session_end', 'Sign a device out?'],
    ['session_end', 'Sign a device out?'],
    ['org.matrix.account_deactivate', 'Deactivate your account?'],
    ['org.matrix.cross_signing_reset', 'Reset your digital identity?'],
    ['org.example.other', 'Your account'],
    ['__proto__', 'Your account'],
    ['', 'Your account'],
  ] as const) {
    const page = await browser.get(`/account?action=${action}&device_id=${alice.deviceId}`);
    assert.deepEqual([page.status, page.title], [200, title], action);
  }
  const swedish = await browser.get('/account?action=org.matrix.profile&lang=sv');
  assert.equal(swedish.title, 'Profil');
  const twice = await browser.get('/account?action=org.matrix.profile&action=x&device_id=a&device_id=b');
  assert.equal(twice.status, 200);
});

test('all pages are for those who are signed in, who come back to where they were going', async () => {
  await using stage = await started();
  const { server, alice } = stage;
  const path = `/account?action=org.matrix.device_view&device_id=${alice.deviceId}`;
  const stranger = new Browser(server);
  const asked = await stranger.get(path);
  assert.equal(asked.title, 'Sign in to kurir.test');
  const page = await stranger.submit(
    asked,
    { name: 'alice', password: alice.password },
    { action: '/sign-in' },
  );
  assert.equal(page.at, `/account/devices/view?device_id=${alice.deviceId}`);
});

test('a device is seen, renamed, and signed out with its keys; one of somebody else is not', async () => {
  await using stage = await started();
  const { server, browser, alice } = stage;
  const bob = await register(server, 'bob');
  const list = await browser.get('/account/devices');
  assert.match(list.text, new RegExp(`<code>${alice.deviceId}</code>`));
  assert.equal(list.text.includes(bob.deviceId), false);
  const view = await browser.get(`/account/devices/view?device_id=${alice.deviceId}`);
  const named = await browser.submit(view, { name: ' <b>Phone</b> ' }, { action: '/view' });
  assert.match(named.text, /Saved\.[\s\S]*value="&lt;b&gt;Phone&lt;\/b&gt;"/);
  assert.equal((await alice.get(`/devices/${alice.deviceId}`)).display_name, '<b>Phone</b>');
  for (const deviceId of [bob.deviceId, 'nothing', '', '"><script>']) {
    const other = await browser.get(`/account/devices/view?device_id=${encodeURIComponent(deviceId)}`);
    assert.deepEqual([other.status, other.text.includes('<script>')], [404, false]);
  }
  const question = await browser.get(`/account/devices/sign-out?device_id=${alice.deviceId}`);
  await browser.submit(question, { device_id: bob.deviceId }, { action: '/sign-out' });
  assert.equal((await bob.try('GET', '/account/whoami')).status, 200);
  const done = await browser.submit(question, {}, { action: '/devices/sign-out' });
  assert.match(done.text, /The device is signed out/);
  assert.equal((await alice.try('GET', '/account/whoami')).status, 401);
});

test('what cannot be undone asks again who it is, five minutes after that was shown', async () => {
  await using stage = await started();
  const { browser, alice, time } = stage;
  const pages = [
    `/account/devices/sign-out?device_id=${alice.deviceId}`,
    '/account/deactivate',
    '/account/cross-signing-reset',
    '/account/emails',
    '/account/second-step',
  ];
  const shown = await Promise.all(pages.map((path) => browser.get(path)));
  time.now += 6 * MINUTE;
  for (const path of pages) {
    const asked = await browser.get(path);
    assert.equal(asked.at, `/sign-in?next=${encodeURIComponent(path)}&prompt=login`);
    assert.equal(asked.title, 'Confirm that it is you');
  }
  const [signOut] = shown;
  assert.ok(signOut !== undefined);
  await browser.submit(signOut, {}, { action: '/devices/sign-out' });
  assert.equal((await alice.try('GET', '/account/whoami')).status, 200);
  const asked = await browser.get('/account/deactivate');
  const page = await browser.submit(
    asked,
    { name: 'alice', password: alice.password },
    { action: '/sign-in' },
  );
  assert.equal(page.title, 'Deactivate your account?');
});

test('no form of another site, or of another browser, changes anything', async () => {
  await using stage = await started();
  const { server, browser, alice } = stage;
  const page = await browser.get('/account/profile');
  for (const [fields, headers] of [
    [{ form_token: '' }, {}],
    [{ form_token: 'x' }, {}],
    [{}, { 'sec-fetch-site': 'cross-site' }],
    [{}, { 'sec-fetch-site': 'same-site' }],
    [{}, { origin: 'https://evil.test' }],
  ] as const) {
    const sent = await browser.submit(
      page,
      { displayname: 'Eve', ...fields },
      { action: '/profile', headers },
    );
    assert.equal(sent.status, 403);
  }
  const other = new Browser(server);
  await signIn(other);
  assert.equal((await other.submit(page, { displayname: 'Eve' }, { action: '/profile' })).status, 403);
  const profile = await request(server, 'GET', `/_matrix/client/v3/profile/${ALICE}`);
  assert.notEqual(profile.body.displayname, 'Eve');
  await browser.submit(page, { displayname: 'Alice' }, { action: '/profile' });
  assert.equal((await alice.get(`/profile/${ALICE}`)).displayname, 'Alice');
  const long = await browser.submit(page, { displayname: 'a'.repeat(257) }, { action: '/profile' });
  assert.deepEqual([long.status, /longer than 256/.test(long.text)], [400, true]);
  await browser.submit(page, { displayname: ' ' }, { action: '/profile' });
  assert.equal('displayname' in (await alice.get(`/profile/${ALICE}`)), false);
});

test('a new password needs the present one; other browsers end, devices if asked for', async () => {
  await using stage = await started();
  const { server, browser, alice } = stage;
  await server.restart({ passwordMinLength: 8 });
  const other = new Browser(server);
  await signIn(other);
  const page = await browser.get('/account/password');
  const change = (current: string, password: string, repeated = password, more = {}) =>
    browser.submit(page, { current, password, repeated, ...more }, { action: '/password' });
  for (const [answer, says] of [
    [await change('wrong', 'a new password'), /current password is not right/],
    [await change(alice.password, 'short'), /8 characters or more/],
    [await change(alice.password, 'a new password', 'another one'), /differ/],
    [await change(alice.password, ''), /is empty/],
    [await change(alice.password, 'a'.repeat(600)), /too long/],
  ] as const) {
    assert.equal(answer.status, 400);
    assert.match(answer.text, says);
    assert.match(answer.text, /aria-describedby="problem"/);
  }
  assert.equal((await other.get('/account')).title, 'Your account');
  assert.match((await change(alice.password, 'a new password')).text, /The password is changed/);
  assert.match((await other.get('/account')).at, /^\/sign-in/);
  assert.equal((await alice.try('GET', '/account/whoami')).status, 200, 'devices stay');
  const again = await browser.get('/account/password');
  const fields = {
    current: 'a new password',
    password: 'a newer password',
    repeated: 'a newer password',
    others: 'yes',
  };
  await browser.submit(again, fields, { action: '/password' });
  assert.equal((await alice.try('GET', '/account/whoami')).status, 401);
  assert.equal((await login(server, 'alice', 'a newer password')).userId, ALICE);
});

test('the reset of the digital identity is allowed for ten minutes, by the person alone', async () => {
  await using stage = await started();
  const { server, browser, alice, time } = stage;
  const nothing = await browser.get('/account/cross-signing-reset');
  assert.match(nothing.text, /no digital identity/);
  await alice.post('/keys/device_signing/upload', crossSigningOf(alice.userId).body);
  const isAllowed = () => crossSigningResets.isResetAllowed(server.ctx.db, ALICE, time.now);
  const page = await browser.get('/account/cross-signing-reset');
  assert.equal(await isAllowed(), false, 'looking is not allowing');
  const done = await browser.submit(page, {}, { action: '/cross-signing-reset' });
  assert.match(done.text, /within 10 minutes/);
  assert.equal(await isAllowed(), true);
  time.now += 10 * MINUTE;
  assert.equal(await isAllowed(), false);
});

test('an account is deactivated by who says that they understand; then nothing of it is left open', async () => {
  await using stage = await started();
  const { server, browser, alice } = stage;
  const page = await browser.get('/account/deactivate');
  const early = await browser.submit(page, {}, { action: '/deactivate' });
  assert.deepEqual([early.status, /cannot be undone/.test(early.text)], [400, true]);
  const done = await browser.submit(page, { understand: 'yes', erase: 'yes' }, { action: '/deactivate' });
  assert.equal(done.title, 'The account is deactivated');
  assert.match((await browser.get('/account')).at, /^\/sign-in/);
  assert.equal((await alice.try('GET', '/account/whoami')).status, 401);
  const again = await signIn(new Browser(server));
  assert.deepEqual([again.status, /deactivated/.test(again.text)], [403, true]);
});

test('an e-mail address is added by the link of a letter, and removed; one of somebody else is not', async () => {
  await using mail = await startMailServer();
  await using stage = await started(mailOptions(mail));
  const { server, browser, alice } = stage;
  const list = await browser.get('/account/emails');
  const odd = await browser.submit(list, { email: 'nobody' }, { action: '/add' });
  assert.match(odd.text, /not an e-mail address/);
  const waiting = await browser.submit(list, { email: 'alice@example.org' }, { action: '/add' });
  assert.match(waiting.text, /on its way to alice@example.org/);
  const early = await browser.submit(waiting, {}, { action: '/confirm' });
  assert.match(early.text, /not confirmed yet/);
  const link = new Browser(server);
  await link.submit(await link.get(mail.last.link), {});
  const added = await browser.submit(early, {}, { action: '/confirm' });
  assert.match(added.text, /The address is added[\s\S]*alice@example.org/);
  const { threepids } = await alice.get('/account/3pid');
  assert.deepEqual(
    threepids.map(({ address }: { address: string }) => address),
    ['alice@example.org'],
  );
  const removed = await browser.submit(added, { address: 'bob@example.org' }, { action: '/remove' });
  assert.match(removed.text, /alice@example.org/);
  await browser.submit(added, {}, { action: '/remove' });
  assert.deepEqual((await alice.get('/account/3pid')).threepids, []);
});

test('who forgot the password sets a new one by a letter, and learns nothing of others', async () => {
  await using mail = await startMailServer();
  await using stage = await started(mailOptions(mail));
  const { server, alice, time } = stage;
  await server.ctx.db.write('test.threepid', async (tx) => {
    const { add } = await import('#storage/threepids.ts');
    await add(tx, ALICE, { medium: 'email', address: 'alice@example.org', validatedTs: 1, addedTs: 1 });
  });
  const browser = new Browser(server, { base: LINK_BASE });
  const signInPage = await browser.get('/sign-in?next=%2Faccount%2Fdevices');
  assert.match(signInPage.text, /href="\/sign-in\/forgotten\?next=/);
  const form = await browser.get('/sign-in/forgotten?next=%2Faccount%2Fdevices');
  const nobody = await browser.submit(form, { email: 'nobody@example.org' });
  assert.match(mail.last.body, /No account there has this address/);
  const sent = await browser.submit(form, { email: 'alice@example.org' });
  const without = (page: ShownPage): string => page.text.replaceAll(/value="[^"]*"/g, '');
  assert.equal(without(nobody), without(sent));
  assert.match((await browser.submit(sent)).text, /not confirmed yet/);
  const letter = new Browser(server);
  await letter.submit(await letter.get(mail.last.link), {});
  const chosen = await browser.submit(sent);
  const differs = await browser.submit(chosen, { password: 'new', repeated: 'other' });
  assert.match(differs.text, /differ/);
  const done = await browser.submit(differs, { password: 'new', repeated: 'new' });
  assert.equal(done.title, 'The new password is set');
  assert.equal((await alice.try('GET', '/account/whoami')).status, 401, 'devices are signed out');
  assert.equal((await signIn(new Browser(server, { base: LINK_BASE }), 'new')).at, '/account');
  const twice = await browser.submit(differs, { password: 'x', repeated: 'x' });
  assert.notEqual(twice.title, 'The new password is set');
  time.now += 1;
});

test('letters and pages speak the language that the person has chosen', async () => {
  await using mail = await startMailServer();
  await using stage = await started(mailOptions(mail));
  const { browser, alice, server } = stage;
  await server.ctx.db.write('test.threepid', async (tx) => {
    const { add } = await import('#storage/threepids.ts');
    await add(tx, ALICE, { medium: 'email', address: 'alice@example.org', validatedTs: 1, addedTs: 1 });
  });
  const page = await browser.get('/account/language');
  const saved = await browser.submit(page, { language: 'sv' }, { action: '/language' });
  assert.match(saved.text, /<html lang="sv">[\s\S]*Sparat/);
  const body = { email: 'alice@example.org', client_secret: 'secret', send_attempt: 1 };
  await alice.post('/account/password/email/requestToken', body);
  assert.match(mail.last.body, /Någon vill välja ett nytt lösenord/);
  const odd = await browser.submit(saved, { language: 'xx' }, { action: '/language' });
  assert.match(odd.text, /<html lang="en">/);
});

test('every page has a title, a language, one heading, labels for its fields, and no script or style of elsewhere', async () => {
  await using stage = await started({ publicBaseurl: LINK_BASE });
  const { server, alice } = stage;
  const browser = new Browser(server, { base: LINK_BASE });
  const visited: ShownPage[] = [];
  for (const path of ['/', '/sign-in', '/_kurir/register', '/sign-in?lang=fr'])
    visited.push(await browser.get(path));
  await signIn(browser);
  for (const part of [
    '',
    '/profile',
    '/devices',
    '/password',
    '/emails',
    '/second-step',
    '/second-step/app',
    '/language',
    '/cross-signing-reset',
    '/deactivate',
    `/devices/view?device_id=${alice.deviceId}`,
    `/devices/sign-out?device_id=${alice.deviceId}`,
  ]) {
    visited.push(await browser.get(`/account${part}`));
  }
  for (const { at, status, text, title, headers } of visited) {
    assert.equal(status, 200, at);
    assert.notEqual(title, '', at);
    assert.match(text, /^<!doctype html>\n<html lang="(en|fr)">/, at);
    assert.equal(text.match(/<h1>/g)?.length, 1, at);
    assert.equal(text.match(/<main>/g)?.length, 1, at);
    const fields = [...text.matchAll(/<(?:input|select)([^>]*)>/g)].map(([, attributes = '']) => attributes);
    for (const attributes of fields.filter(
      (one) => !one.includes('type="hidden"') && !one.includes('type="checkbox"'),
    )) {
      const [, id] = / id="([^"]+)"/.exec(attributes) ?? [];
      assert.ok(id !== undefined && text.includes(`<label for="${id}">`), `${at}: ${attributes}`);
      if (!attributes.includes('aria-describedby')) continue;
      const [, described = ''] = /aria-describedby="([^"]+)"/.exec(attributes) ?? [];
      for (const one of described.split(' ')) assert.ok(text.includes(`id="${one}"`), `${at}: ${one}`);
    }
    const ids = [...text.matchAll(/ id="([^"]+)"/g)].map(([, id]) => id);
    assert.equal(new Set(ids).size, ids.length, `${at}: an id twice`);
    assert.doesNotMatch(
      text,
      / on\w+="| style="|src="|https?:\/\/(?!app\.element\.io|matrix\.kurir\.test)/,
      at,
    );
    const policy = headers.get('content-security-policy') ?? '';
    assert.match(policy, /^default-src 'none'; style-src 'sha256-[^']+';/, at);
    assert.doesNotMatch(policy, /unsafe|\*/, at);
  }
});
