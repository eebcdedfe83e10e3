/** Users of a directory who sign in by an identity provider. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as users from '#storage/users.ts';
import { patchOf, SCIM_TOKEN, scimOk, scimUser } from '#test/harness/scim.ts';
import { Browser } from '../providers/browser.ts';
import { signInBy, startWithProvider } from '../providers/signing-in.ts';

const SCIM = { scimToken: [SCIM_TOKEN] };

test('who is made by the directory gets that account at the first sign-in, by the externalId', async () => {
  await using s = await startWithProvider({ scim_external_id: 'oid' }, SCIM);
  await scimUser(s.server, 'anna', { externalId: 'object-1', displayName: 'Anna' });
  s.provider.person = { sub: 'p-1', oid: 'object-1', preferred_username: 'anna.berg', name: 'Anna' };
  const anna = await signInBy(s);
  assert.equal(anna.userId, '@anna:kurir.test');
  // From now on by the link: the claim may be gone.
  s.provider.person = { sub: 'p-1', preferred_username: 'anna.berg', name: 'Anna' };
  assert.equal((await signInBy(s)).userId, anna.userId);
});

test('an externalId that nobody has, or that is no text, leads to no account of the directory', async () => {
  await using s = await startWithProvider({ scim_external_id: 'oid', create_accounts: false }, SCIM);
  await scimUser(s.server, 'anna', { externalId: 'object-1' });
  await scimUser(s.server, 'bo');
  for (const oid of ['OBJECT-1', 'object-2', '', 7, ['object-1'], undefined, 'anna', 'a\u0000b']) {
    s.provider.person = {
      sub: 'p-2',
      ...(oid !== undefined && { oid }),
      preferred_username: 'anna',
      name: 'x',
    };
    assert.equal((await s.enter(new Browser())).status, 403, JSON.stringify(oid));
  }
});

test('without the option a provider leads to no account of the directory', async () => {
  await using s = await startWithProvider({ create_accounts: false }, SCIM);
  await scimUser(s.server, 'anna', { externalId: 'p-1' });
  s.provider.person = { sub: 'p-1', preferred_username: 'anna', name: 'Anna' };
  assert.equal((await s.enter(new Browser())).status, 403);
});

test('active false ends the session in the browser too, and the provider lets nobody in', async () => {
  await using s = await startWithProvider({ scim_external_id: 'oid' }, SCIM);
  const { id } = await scimUser(s.server, 'anna', { externalId: 'object-1' });
  s.provider.person = { sub: 'p-1', oid: 'object-1', preferred_username: 'anna', name: 'Anna' };
  const browser = new Browser();
  const anna = await signInBy(s, browser);
  const active = (value: boolean) =>
    scimOk(s.server, 'PATCH', `/Users/${id}`, patchOf({ op: 'replace', path: 'active', value }));
  await active(false);
  assert.equal((await anna.try('GET', '/account/whoami')).status, 401);
  assert.match((await s.enter(new Browser())).text, /locked/);
  await active(true);
  assert.equal((await users.of(s.server.ctx.db, '@anna:kurir.test'))?.lockedTs, undefined);
  const account = await browser.go(`${s.url}/account`);
  assert.doesNotMatch(account.text, /@anna:kurir\.test/, 'the earlier session is none any more');
  assert.equal((await signInBy(s)).userId, anna.userId);
});
