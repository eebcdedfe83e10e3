import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DirectoryChecks } from '#server/providers/directory-accounts.ts';
import { LdapDirectory } from '#server/providers/ldap-directory.ts';
import * as providerLinks from '#storage/provider-links.ts';
import * as users from '#storage/users.ts';
import { type Answer, login, register, request } from '#test/harness/client.ts';
import { temporaryFolder } from '#test/harness/databases.ts';
import { startServer, type TestServer } from '#test/harness/server.ts';
import { noSlapd, Slapd, selfSigned } from './slapd.ts';

const withSlapd = (name: string, body: () => Promise<void>): void => {
  if (noSlapd === undefined) test(name, body);
  else test(`${name} (skipped: ${noSlapd})`, { skip: true });
};

function trySignIn(server: TestServer, user: string, password: string): Promise<Answer> {
  const body = { type: 'm.login.password', identifier: { type: 'm.id.user', user }, password };
  return request(server, 'POST', '/_matrix/client/v3/login', { body });
}

/** Looks now who is still in the directory. */
async function check(server: TestServer, option: ReturnType<Slapd['option']>): Promise<void> {
  await using checks = new DirectoryChecks(server.ctx, await LdapDirectory.open(option));
  await checks.run();
}

withSlapd(
  'who is in the directory signs in with the password there, and is the same user when renamed',
  async () => {
    await using slapd = await Slapd.start();
    await slapd.add('ann');
    await using server = await startServer({ ldap: slapd.option() });
    assert.equal((await trySignIn(server, 'ann', 'wrong')).status, 403);
    assert.equal(await users.of(server.ctx.db, '@ann:kurir.test'), undefined);
    const ann = await login(server, 'ann', 'password of ann');
    assert.equal(ann.userId, '@ann:kurir.test');
    assert.equal((await ann.get(`/profile/${encodeURIComponent(ann.userId)}`)).displayname, 'ann the person');
    assert.equal((await ann.get('/account/3pid')).threepids[0].address, 'ann@example.org');
    const user = await users.of(server.ctx.db, '@ann:kurir.test');
    assert.equal(user?.passwordHash, undefined);
    await slapd.rename('ann', 'anna');
    // By either name: that of the account, and that of the directory.
    assert.equal((await login(server, 'ann', 'password of ann')).userId, '@ann:kurir.test');
    assert.equal((await login(server, 'anna', 'password of ann')).userId, '@ann:kurir.test');
    const auth = { type: 'm.login.password', identifier: { type: 'm.id.user', user: 'ann' } };
    const remove = (password: string): Promise<Answer> =>
      ann.try('POST', '/delete_devices', { devices: [ann.deviceId], auth: { ...auth, password } });
    assert.equal((await remove('wrong')).status, 401);
    assert.equal((await remove('password of ann')).status, 200);
  },
);

withSlapd('a name that is given again in the directory is not the account of who had it before', async () => {
  await using slapd = await Slapd.start();
  await slapd.add('kim');
  await using server = await startServer({ ldap: slapd.option() });
  await login(server, 'kim', 'password of kim');
  await slapd.remove('kim');
  await slapd.add('kim', { userPassword: 'another' });
  assert.equal((await trySignIn(server, 'kim', 'another')).status, 403);
  assert.equal((await trySignIn(server, 'kim', 'password of kim')).status, 403);
});

withSlapd('an account with a password of its own is nobody\u2019s in the directory', async () => {
  await using slapd = await Slapd.start();
  await slapd.add('kim');
  await using server = await startServer({ ldap: slapd.option() });
  const kim = await register(server, 'kim');
  assert.equal((await trySignIn(server, 'kim', 'password of kim')).status, 200);
  await slapd.set('kim', 'userPassword', 'another');
  assert.equal((await trySignIn(server, 'kim', 'another')).status, 403);
  assert.deepEqual(await providerLinks.ofUser(server.ctx.db, '@kim:kurir.test'), []);
  assert.equal((await kim.get('/account/whoami')).user_id, '@kim:kurir.test');
});

withSlapd(
  'nothing that a person types is taken for a filter, a name in the directory, or no password',
  async () => {
    await using slapd = await Slapd.start();
    await slapd.add('ann');
    for (const more of [
      {},
      { dn_template: 'uid={name},ou=people,dc=example,dc=org', group_base: undefined },
    ]) {
      await using server = await startServer({ ldap: slapd.option(more) });
      for (const name of [
        '*',
        'a*',
        'ann)(uid=*',
        'ann,ou=people,dc=example,dc=org',
        'an=n',
        '\\61nn',
        '',
        '+',
      ]) {
        assert.notEqual((await trySignIn(server, name, 'password of ann')).status, 200, name);
      }
      for (const password of ['', '\0', 'password of ann\0', '*', 'x'.repeat(10_000)]) {
        assert.notEqual((await trySignIn(server, 'ann', password)).status, 200, password.slice(0, 20));
      }
      assert.equal((await trySignIn(server, 'ann', 'password of ann')).status, 200);
    }
  },
);

withSlapd('the filter and groups say who may sign in', async () => {
  await using slapd = await Slapd.start();
  for (const uid of ['ann', 'bob', 'eve', 'joe']) await slapd.add(uid);
  await slapd.addGroup('staff', ['ann', 'eve']);
  await slapd.addGroup('refused', ['eve']);
  await slapd.addGroup('admins', ['ann']);
  await slapd.set('joe', 'employeeType', 'left');
  const groups = { allow_groups: ['staff'], refuse_groups: ['refused'], admin_groups: ['admins'] };
  await using server = await startServer({ ldap: slapd.option(groups) });
  assert.equal((await trySignIn(server, 'ann', 'password of ann')).status, 200);
  assert.equal((await users.of(server.ctx.db, '@ann:kurir.test'))?.isAdmin, true);
  for (const uid of ['bob', 'eve', 'joe', 'nobody']) {
    assert.equal((await trySignIn(server, uid, `password of ${uid}`)).status, 403, uid);
    assert.equal(await users.of(server.ctx.db, `@${uid}:kurir.test`), undefined);
  }
});

withSlapd('who is disabled or removed in the directory is signed out everywhere, others stay', async () => {
  await using slapd = await Slapd.start();
  for (const uid of ['ann', 'bob', 'eve']) await slapd.add(uid);
  const option = slapd.option();
  await using server = await startServer({ ldap: option });
  const [ann, bob, eve] = [
    await login(server, 'ann', 'password of ann'),
    await login(server, 'bob', 'password of bob'),
    await login(server, 'eve', 'password of eve'),
  ];
  await check(server, option);
  assert.equal((await ann.try('GET', '/account/whoami')).status, 200);
  const { next_batch: since } = await bob.sync();
  await slapd.remove('ann');
  await slapd.set('bob', 'employeeType', 'left');
  const waiting = bob.try('GET', `/sync?timeout=30000&since=${since}`);
  await check(server, option);
  assert.equal((await waiting).status, 401);
  assert.equal((await ann.try('GET', '/account/whoami')).status, 401);
  assert.equal((await bob.try('GET', '/account/whoami')).status, 401);
  assert.equal((await eve.try('GET', '/account/whoami')).status, 200);
  assert.equal((await trySignIn(server, 'bob', 'password of bob')).status, 403);
});

withSlapd('the running server looks by itself', async () => {
  await using slapd = await Slapd.start();
  await slapd.add('ann');
  await using server = await startServer({ ldap: slapd.option({ check_every: '1s' }) });
  const ann = await login(server, 'ann', 'password of ann');
  const { next_batch: since } = await ann.sync();
  await slapd.remove('ann');
  const ended = await ann.try('GET', `/sync?timeout=30000&since=${since}`);
  assert.equal(ended.status, 401);
});

withSlapd('a directory that is down signs nobody in and nobody out, and says so', async () => {
  await using slapd = await Slapd.start();
  await slapd.add('ann');
  const option = slapd.option();
  await using server = await startServer({ ldap: option });
  const ann = await login(server, 'ann', 'password of ann');
  const kim = await register(server, 'kim');
  await slapd.down();
  const answer = await trySignIn(server, 'ann', 'password of ann');
  assert.equal(answer.status, 504);
  assert.match(answer.body.error, /directory/);
  await assert.rejects(check(server, option));
  assert.equal((await ann.get('/account/whoami')).user_id, '@ann:kurir.test');
  assert.equal((await trySignIn(server, 'kim', kim.password)).status, 200);
  await slapd.up();
  assert.equal((await trySignIn(server, 'ann', 'password of ann')).status, 200);
});

withSlapd('a directory that suddenly knows nobody of many signs nobody out', async () => {
  await using slapd = await Slapd.start();
  const uids = ['a1', 'a2', 'a3', 'a4', 'a5'];
  for (const uid of uids) await slapd.add(uid);
  await using server = await startServer({ ldap: slapd.option() });
  const first = await login(server, 'a1', 'password of a1');
  for (const uid of uids.slice(1)) await login(server, uid, `password of ${uid}`);
  await check(server, slapd.option({ filter: '(objectClass=nothing)' }));
  assert.equal((await first.try('GET', '/account/whoami')).status, 200);
});

withSlapd('by StartTLS with the authority that the operator names, and not without it', async () => {
  await using folder = await temporaryFolder();
  const tls = await selfSigned(folder.path);
  await using slapd = await Slapd.start(tls);
  await slapd.add('ann');
  await using server = await startServer({ ldap: slapd.option({ starttls: true, ca: tls.cert }) });
  assert.equal((await trySignIn(server, 'ann', 'password of ann')).status, 200);
  await server.restart({ ldap: slapd.option({ starttls: true }) });
  assert.equal((await trySignIn(server, 'ann', 'password of ann')).status, 504);
});

withSlapd('the password of nobody who searches is told as a fault of the configuration', async () => {
  await using slapd = await Slapd.start();
  await slapd.add('ann');
  await using server = await startServer({ ldap: slapd.option({ bind_password: 'wrong' }) });
  assert.equal((await trySignIn(server, 'ann', 'password of ann')).status, 504);
});
