/** Published attacks on single sign-on (test/security/rows.tsv). */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as providerLinks from '#storage/provider-links.ts';
import * as threepids from '#storage/threepids.ts';
import { register, request } from '#test/harness/client.ts';
import { Browser } from './browser.ts';
import { IdentityProvider } from './identity-provider.ts';
import { loginTokenBy, signInBy, startWithProvider } from './signing-in.ts';

test('row 25: a login token goes to no address that the person was not asked about, and is good once', async () => {
  await using s = await startWithProvider();
  s.provider.person = { sub: 'p-1', preferred_username: 'ann' };
  const browser = new Browser();
  const redirect = '/_matrix/client/v3/login/sso/redirect/staff?redirectUrl=';
  const page = await browser.go(`${s.url}${redirect}${encodeURIComponent('https://evil.test/')}`);
  assert.equal(page.status, 200);
  assert.match(page.text, /<strong>evil\.test<\/strong>/);
  assert.ok(!browser.visited.some((url) => url.includes('loginToken')));
  const wrong = [
    ...[
      'javascript:alert(1)',
      'JaVaScRiPt:alert(1)',
      'data:text/html,x',
      '//evil.test',
      'https://us.test@evil.test/',
    ],
    ...['https://evil.test/\r\nset-cookie: a=b', 'https://evil.test/ x', '\thttps://evil.test/', 'https:'],
  ];
  for (const url of wrong) {
    const refused = await browser.request(`${s.url}${redirect}${encodeURIComponent(url)}`);
    assert.equal(refused.status, 400, url);
  }
  const token = await loginTokenBy(s, browser);
  const body = { type: 'm.login.token', token };
  const uses = await Promise.all(
    [1, 2, 3].map(() => request(s.server, 'POST', '/_matrix/client/v3/login', { body })),
  );
  assert.deepEqual(uses.map(({ status }) => status).sort(), [200, 403, 403]);
});

test('row 101: nothing that a provider says of a person but the permanent id leads to an account', async () => {
  await using s = await startWithProvider();
  const { db } = s.server.ctx;
  const admin = await register(s.server, 'admin');
  const address = { medium: 'email', address: 'admin@example.org', validatedTs: 1, addedTs: 1 };
  await db.write('test', (tx) => threepids.add(tx, '@admin:kurir.test', address));
  // The name and the address of an account that exists, confirmed or not.
  for (const verified of [false, true]) {
    s.provider.person = {
      ...{ sub: `p-${verified}`, preferred_username: 'admin', email: 'admin@example.org' },
      email_verified: verified,
    };
    const page = await s.enter(new Browser());
    assert.match(page.text, /Choose the name/);
  }
  assert.deepEqual(await providerLinks.ofUser(db, '@admin:kurir.test'), []);
  assert.equal(await threepids.ownerOf(db, 'email', 'admin@example.org'), '@admin:kurir.test');
  assert.equal((await admin.get('/account/whoami')).user_id, '@admin:kurir.test');
  // An address that the provider has not confirmed is nobody's.
  s.provider.person = { sub: 'p-3', preferred_username: 'eve', email: 'eve@example.org' };
  await signInBy(s);
  assert.equal(await threepids.ownerOf(db, 'email', 'eve@example.org'), undefined);
  // The same `sub` of another issuer, under the same id of the configuration, is somebody else.
  await using other = await IdentityProvider.start(s.provider.redirectUri);
  await s.server.restart({ oidcProviders: other.option() });
  other.person = { sub: 'p-3', preferred_username: 'eve' };
  const page = await s.enter(new Browser());
  assert.match(page.text, /Choose the name/);
  assert.equal(await providerLinks.of(s.server.ctx.db, other.issuer, 'p-3'), undefined);
});
