import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as providerLinks from '#storage/provider-links.ts';
import * as users from '#storage/users.ts';
import { register } from '#test/harness/client.ts';
import { Browser } from './browser.ts';
import { signInBy, startWithProvider } from './signing-in.ts';

test('somebody who is new gets an account by the name that the provider proposes, and the same one afterwards', async () => {
  await using s = await startWithProvider();
  s.provider.person = { sub: 'p-1', preferred_username: 'Åsa.Öberg@example.org', name: 'Åsa Öberg' };
  const first = await signInBy(s);
  assert.equal(first.userId, '@asa.oberg:kurir.test');
  assert.equal((await first.get(`/profile/${encodeURIComponent(first.userId)}`)).displayname, 'Åsa Öberg');
  // The name at the provider is another one now: the account is the same.
  s.provider.person = { sub: 'p-1', preferred_username: 'asa.berg', name: 'Åsa Berg' };
  const second = await signInBy(s);
  assert.equal(second.userId, first.userId);
  assert.notEqual(second.deviceId, first.deviceId);
  const [link] = await providerLinks.ofUser(s.server.ctx.db, '@asa.oberg:kurir.test');
  assert.equal(link?.issuer, s.provider.issuer);
  assert.equal(link?.subject, 'p-1');
});

test('a name that is given again at the provider leads to another account, and never to one that exists', async () => {
  await using s = await startWithProvider();
  const owner = await register(s.server, 'kim');
  s.provider.person = { sub: 'other-kim', preferred_username: 'kim', name: 'Kim' };
  const browser = new Browser();
  const page = await s.enter(browser);
  assert.equal(page.status, 200);
  assert.match(page.text, /Choose the name/);
  const taken = await browser.submit(page.url, { username: 'kim' });
  assert.equal(taken.status, 400);
  assert.match(taken.text, /is taken/);
  const made = await browser.submit(page.url, { username: 'Kim2' });
  assert.equal(made.status, 303);
  assert.equal(made.headers.get('location'), '/account');
  const signedIn = await signInBy(s, browser);
  assert.equal(signedIn.userId, '@kim2:kurir.test');
  assert.equal((await owner.get('/account/whoami')).user_id, '@kim:kurir.test');
});

test('nobody gets an account by the page for newcomers who has not come from the provider', async () => {
  await using s = await startWithProvider();
  const browser = new Browser();
  const page = await browser.submit(`${s.url}/sign-in/new-account`, { username: 'mallory' });
  assert.equal(page.status, 400);
  assert.equal(await users.of(s.server.ctx.db, '@mallory:kurir.test'), undefined);
  s.provider.person = { sub: 'p', name: 'No Name' };
  await s.enter(browser);
  const foreign = await browser.submit(
    `${s.url}/sign-in/new-account`,
    { username: 'mallory' },
    { origin: 'https://evil.example', 'sec-fetch-site': 'cross-site' },
  );
  assert.equal(foreign.status, 403);
  assert.equal(await users.of(s.server.ctx.db, '@mallory:kurir.test'), undefined);
});

test('groups admit and refuse, and make administrators', async () => {
  await using s = await startWithProvider({
    allow_groups: ['matrix'],
    refuse_groups: ['guests'],
    admin_groups: ['admins'],
  });
  s.provider.person = { sub: 'a', preferred_username: 'ann', groups: ['other'] };
  assert.equal((await s.enter(new Browser())).status, 403);
  s.provider.person = { sub: 'a', preferred_username: 'ann' };
  assert.equal((await s.enter(new Browser())).status, 403);
  s.provider.person = { sub: 'a', preferred_username: 'ann', groups: ['/matrix', 'guests'] };
  assert.equal((await s.enter(new Browser())).status, 403);
  s.provider.person = { sub: 'a', preferred_username: 'ann', groups: ['/matrix', 'admins'] };
  const ann = await signInBy(s);
  const isAdmin = async (): Promise<boolean | undefined> =>
    (await users.of(s.server.ctx.db, '@ann:kurir.test'))?.isAdmin;
  assert.equal(await isAdmin(), true);
  s.provider.person = { sub: 'a', preferred_username: 'ann', groups: ['matrix'] };
  await signInBy(s);
  assert.equal(await isAdmin(), false);
  assert.equal((await ann.try('GET', '/admin/whois/@nobody:kurir.test')).status, 403);
});

test('the permanent id can be made of several claims, such as tid and oid of Entra ID', async () => {
  await using s = await startWithProvider({
    subject_claims: ['tid', 'oid'],
    email: '{email}',
    trust_email: true,
  });
  s.provider.person = {
    ...{ sub: 'pairwise-1', tid: 'tenant', oid: 'object', preferred_username: 'eva@example.org' },
    email: 'Eva@example.org',
  };
  const first = await signInBy(s);
  s.provider.person = { sub: 'pairwise-2', tid: 'tenant', oid: 'object', preferred_username: 'new' };
  assert.equal((await signInBy(s)).userId, first.userId);
  const { threepids } = await first.get('/account/3pid');
  assert.equal(threepids[0].address, 'eva@example.org');
  s.provider.person = { sub: 'pairwise-3', tid: 'tenant', preferred_username: 'none' };
  assert.equal((await s.enter(new Browser())).status, 400);
});

test('an account is nobody\u2019s at the provider while it is locked, or after it is deactivated', async () => {
  await using s = await startWithProvider();
  s.provider.person = { sub: 'a', preferred_username: 'ann' };
  await signInBy(s);
  await s.server.ctx.db.write('test', (tx) => users.setLocked(tx, '@ann:kurir.test', 1));
  assert.match((await s.enter(new Browser())).text, /locked/);
  await s.server.ctx.db.write('test', (tx) => users.setLocked(tx, '@ann:kurir.test', undefined));
  await s.server.ctx.db.write('test', (tx) => users.deactivate(tx, '@ann:kurir.test', 1));
  assert.match((await s.enter(new Browser())).text, /deactivated/);
});
