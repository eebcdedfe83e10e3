import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setLocked } from '#server/auth/moderation.ts';
import { Browser, type ShownPage } from '#test/harness/browser.ts';
import { register } from '#test/harness/client.ts';
import { mailOptions, startMailServer } from '#test/harness/mail-server.ts';
import { startServer, type TestServer } from '#test/harness/server.ts';

const NEXT = '/account/devices?x=1';

/** Signs in by password; answers the page that the person comes to. */
async function signIn(
  browser: Browser,
  { user = 'alice', password = 'password of alice', next = '/account' } = {},
): Promise<ShownPage> {
  const page = await browser.get(`/sign-in?next=${encodeURIComponent(next)}`);
  return await browser.submit(page, { name: user, password }, { action: '/sign-in' });
}

function isSignedIn(browser: Browser): boolean {
  return browser.cookies.has('kurir') || browser.cookies.has('__Host-kurir');
}

async function started(options: Parameters<typeof startServer>[0] = {}): Promise<TestServer> {
  const server = await startServer(options);
  await register(server, 'alice');
  return server;
}

test('who signs in by user name, user id or e-mail address goes on to where they wanted to', async () => {
  await using mail = await startMailServer();
  const { publicBaseurl: _, ...withMail } = mailOptions(mail);
  await using server = await started({ ...withMail, publicBaseurl: 'http://kurir.test' });
  await server.ctx.db.write('test.threepid', async (tx) => {
    const { add } = await import('#storage/threepids.ts');
    await add(tx, '@alice:kurir.test', {
      ...{ medium: 'email', address: 'alice@example.org', validatedTs: 1, addedTs: 1 },
    });
  });
  for (const user of ['alice', ' Alice ', '@alice:kurir.test', 'Alice@Example.org']) {
    const browser = new Browser(server);
    const page = await signIn(browser, { user, next: NEXT });
    assert.equal(page.at, NEXT, user);
    assert.ok(isSignedIn(browser), user);
    const again = await browser.get(`/sign-in?next=${encodeURIComponent(NEXT)}`);
    assert.equal(again.at, NEXT, 'who is signed in is not asked');
  }
});

test('what is wrong is told in one way, whether there is such an account or not', async () => {
  await using server = await started();
  const texts: string[] = [];
  for (const [user, password] of [
    ['alice', 'wrong'],
    ['nobody', 'password of alice'],
    ['nobody@example.org', 'x'],
    ['@alice:elsewhere.test', 'password of alice'],
    ['', ''],
  ] as const) {
    const browser = new Browser(server);
    const page = await signIn(browser, { user, password });
    assert.equal(page.status, 403, user);
    assert.equal(isSignedIn(browser), false);
    texts.push(/<div class="problem"[\s\S]*?<\/div>/.exec(page.text)?.[0] ?? '');
  }
  assert.equal(new Set(texts).size, 1);
  assert.match(texts[0] ?? '', /role="alert"[\s\S]*The user name or the password is not right/);
});

test('an account that is locked or deactivated signs in nowhere, and its sessions end', async () => {
  await using server = await started();
  const browser = new Browser(server);
  await signIn(browser);
  assert.equal((await browser.get('/account')).title, 'Your account');
  await setLocked(server.ctx, '@alice:kurir.test', true);
  assert.match((await browser.get('/account')).at, /^\/sign-in/);
  const locked = await signIn(new Browser(server));
  assert.deepEqual([locked.status, /locked/.test(locked.text)], [403, true]);
});

test('nobody is led to another site', async () => {
  await using server = await started();
  for (const next of ['https://evil.test', '//evil.test', '/\\evil.test', 'javascript:alert(1)']) {
    const page = await signIn(new Browser(server), { next });
    assert.equal(page.at, '/account', next);
  }
});

test('no other site can sign somebody in, or out: a form needs its token, its cookie and our origin', async () => {
  await using server = await started();
  const fields = { name: 'alice', password: 'password of alice', next: '/account' };
  const stranger = new Browser(server);
  const bare = await stranger.post('/sign-in', fields);
  assert.deepEqual([bare.status, isSignedIn(stranger)], [403, false]);
  assert.match(bare.text, /cookie/);
  const [mine, theirs] = [new Browser(server), new Browser(server)];
  const page = await mine.get('/sign-in');
  const [, token = ''] = /name="form_token" value="([^"]+)"/.exec(page.text) ?? [];
  await theirs.get('/sign-in');
  const stolen = await theirs.post('/sign-in', { ...fields, form_token: token });
  assert.deepEqual([stolen.status, isSignedIn(theirs)], [403, false]);
  for (const headers of [
    { 'sec-fetch-site': 'cross-site' },
    { origin: 'https://evil.test' },
    { origin: 'null' },
  ]) {
    const sent = await mine.post('/sign-in', { ...fields, form_token: token }, headers);
    assert.deepEqual([sent.status, isSignedIn(mine)], [403, false], JSON.stringify(headers));
  }
  await mine.submit(page, fields, { action: '/sign-in' });
  assert.ok(isSignedIn(mine));
  await mine.post('/sign-out', {});
  assert.ok(isSignedIn(mine), 'signed out by no form of ours');
  const account = await mine.get('/account');
  const out = await mine.submit(account, {}, { action: '/sign-out' });
  assert.equal(out.title, 'Signed out');
  assert.equal(isSignedIn(mine), false);
  assert.match((await mine.get('/account')).at, /^\/sign-in\?next=%2Faccount/);
});

test('a session that was stolen before signing out, or that is old, is good no more', async () => {
  let now = Date.now();
  await using server = await started({ clock: { now: () => now } });
  const [browser, thief] = [new Browser(server), new Browser(server)];
  await signIn(browser);
  for (const [name, value] of browser.cookies) thief.cookies.set(name, value);
  assert.equal((await thief.get('/account')).title, 'Your account');
  await browser.submit(await browser.get('/account'), {}, { action: '/sign-out' });
  assert.match((await thief.get('/account')).at, /^\/sign-in/);
  await signIn(browser);
  now += 13 * 3_600_000;
  assert.match((await browser.get('/account')).at, /^\/sign-in/);
  const odd = new Browser(server);
  for (const value of ['', 'kbs_', `kbs_${'a'.repeat(32)}`, 'x'.repeat(4_000)]) {
    odd.cookies.set('kurir', value);
    assert.match((await odd.get('/account')).at, /^\/sign-in/);
  }
});

test('guesses are limited as those of /login, and the page says how long to wait', async () => {
  await using server = await started({ rateLimits: true });
  const browser = new Browser(server);
  let last: ShownPage | undefined;
  for (let attempt = 0; attempt < 7; attempt++) last = await signIn(browser, { password: 'wrong' });
  assert.equal(last?.status, 429);
  assert.match(last?.text ?? '', /Too many attempts: wait \d+ seconds/);
  const right = await signIn(new Browser(server));
  assert.equal(right.status, 429, 'the right password waits, too');
});

test('prompt=login asks those who are signed in; prompt=create leads to the registration, and on from there', async () => {
  await using server = await started();
  const browser = new Browser(server);
  await signIn(browser);
  const again = await browser.get('/sign-in?prompt=login&next=%2Faccount%2Fdevices');
  assert.equal(again.title, 'Confirm that it is you');
  assert.match(again.text, /value="@alice:kurir.test"/);
  const done = await browser.submit(
    again,
    { name: 'alice', password: 'password of alice' },
    { action: '/sign-in' },
  );
  assert.equal(done.at, '/account/devices');

  const newcomer = new Browser(server);
  const form = await newcomer.get('/sign-in?prompt=create&next=%2Faccount%2Fdevices');
  assert.equal(form.title, 'New account on kurir.test');
  const made = await newcomer.submit(form, { username: 'bob', password: 'b', repeated: 'b' });
  assert.equal(made.at, '/account/devices');
  assert.ok(isSignedIn(newcomer));
});

test('who registers from a client writes the registration token on the page', async () => {
  await using server = await startServer({ registration: 'token' });
  const { performOnTokens } = await import('#server/cli/token-operations.ts');
  const outcome = await performOnTokens(server.ctx, { operation: 'token.new', expires: '1h', uses: 1 });
  const token = (outcome?.kind === 'done' ? outcome.lines[0]?.split(' ').at(-1) : '') ?? '';
  const browser = new Browser(server);
  const form = await browser.get('/sign-in?prompt=create&next=%2Faccount');
  const fields = { username: 'bob', password: 'b', repeated: 'b' };
  const wrong = await browser.submit(form, { ...fields, token: 'x' });
  assert.deepEqual([wrong.status, /not valid/.test(wrong.text)], [400, true]);
  const made = await browser.submit(wrong, { ...fields, token: token.split('=').at(-1) ?? '' });
  assert.equal(made.at, '/account', made.text);
});

test('the name that a client knows stands in the form, and its language is spoken', async () => {
  await using server = await started();
  const next = '/oauth2/authorize?login_hint=mxid:@alice:kurir.test&ui_locales=sv';
  const page = await new Browser(server).get(`/sign-in?next=${encodeURIComponent(next)}`);
  assert.match(page.text, /<html lang="sv">/);
  assert.match(page.text, /value="@alice:kurir.test"/);
  assert.equal(page.title, 'Logga in på kurir.test');
});

test('the language that is chosen stays, and what was asked for is kept', async () => {
  await using server = await started();
  const browser = new Browser(server);
  const page = await browser.get(`/sign-in?next=${encodeURIComponent(NEXT)}`);
  const [, german = ''] = /href="([^"]*lang=de)"/.exec(page.text) ?? [];
  const chosen = await browser.get(german.replaceAll('&amp;', '&'));
  assert.match(chosen.text, /<html lang="de">/);
  const fields = { name: 'alice', password: 'password of alice' };
  const account = await browser.submit(chosen, fields, { action: '/sign-in' });
  assert.equal(account.at, NEXT);
  assert.match((await browser.get('/account')).text, /<html lang="de">[\s\S]*Ihr Konto/);
});

test('the cookie is for this host and no script, and only over TLS where there is TLS', async () => {
  await using server = await started({ publicBaseurl: 'https://kurir.test' });
  const browser = new Browser(server, { base: 'https://kurir.test' });
  const page = await browser.get('/sign-in');
  await browser.submit(page, { name: 'alice', password: 'password of alice' }, { action: '/sign-in' });
  assert.ok(browser.cookies.has('__Host-kurir'));
  const response = await fetch(`${server.clientUrl}/sign-in`);
  for (const line of response.headers.getSetCookie()) {
    assert.match(line, /^__Host-\w+=[\w-]+; Path=\/; HttpOnly; SameSite=Lax; Max-Age=\d+; Secure$/);
  }
});

test('odd forms are refused and break nothing', async () => {
  await using server = await started();
  const browser = new Browser(server);
  const page = await browser.get('/sign-in');
  const long = await browser.submit(
    page,
    { name: 'a'.repeat(20_000), password: 'x' },
    { action: '/sign-in' },
  );
  assert.equal(long.status, 413);
  for (const fields of [
    { name: '@', password: '' },
    { name: '\0', password: '\0' },
    { name: 'a:b@c', password: 'x' },
  ]) {
    const answer = await browser.submit(page, fields, { action: '/sign-in' });
    assert.equal(answer.status, 403, JSON.stringify(fields));
  }
  const json = await fetch(`${server.clientUrl}/sign-in`, { method: 'POST', body: '{}' });
  assert.equal(json.status, 403);
});

test('where nobody signs in by password, no password is asked for, and none is taken', async () => {
  await using server = await started({ publicBaseurl: 'https://kurir.test' });
  const browser = new Browser(server, { base: 'https://kurir.test' });
  const page = await browser.get('/sign-in');
  await server.restart({ passwordLogin: false });
  const fields = { name: 'alice', password: 'password of alice' };
  const refused = await browser.submit(page, fields, { action: '/sign-in' });
  assert.deepEqual([refused.status, isSignedIn(browser)], [403, false]);
  const closed = await browser.get('/sign-in');
  assert.equal(closed.text.includes('type="password"'), false);
  assert.match(closed.text, /Nobody can sign in on this page/);
});
