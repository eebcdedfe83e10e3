/** The operator's commands about providers, as an operator runs them. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { temporaryFolder } from '#test/harness/databases.ts';
import { type Ended, run, serverEnvironment } from '#test/harness/process.ts';
import { Browser } from './browser.ts';
import { CLIENT_SECRET, IdentityProvider } from './identity-provider.ts';
import { signInBy, startWithProvider } from './signing-in.ts';

function kurir(dataDir: string, words: readonly string[], provider: IdentityProvider): Promise<Ended> {
  const { issuer } = provider;
  const option = [{ id: 'staff', label: 'Staff', issuer, client_id: 'kurir', client_secret: CLIENT_SECRET }];
  const env = {
    ...serverEnvironment(dataDir),
    KURIR_SERVER_NAME: 'kurir.test',
    KURIR_PUBLIC_BASEURL: 'https://matrix.example.org',
    KURIR_OIDC_PROVIDERS: JSON.stringify(option),
  };
  return run('server/kurir.ts', [...words], { env });
}

test('provider list and check say who there is, what to register there, and what is wrong', async () => {
  await using folder = await temporaryFolder();
  await using provider = await IdentityProvider.start('https://matrix.example.org/callback');
  const listed = await kurir(folder.path, ['provider', 'list'], provider);
  assert.equal(listed.out, `staff  Staff  ${provider.issuer}\n`);
  const checked = await kurir(folder.path, ['provider', 'check'], provider);
  assert.equal(checked.code, 0, checked.out + checked.err);
  assert.match(checked.out, /1 keys at/);
  assert.match(checked.out, /clocks are \d+ seconds apart/);
  assert.match(checked.out, /https:\/\/matrix\.example\.org\/sign-in\/provider\/staff\/callback/);
  assert.ok(!checked.out.includes(CLIENT_SECRET));
  const unknown = await kurir(folder.path, ['provider', 'check', 'other'], provider);
  assert.equal(unknown.code, 1);
  assert.match(unknown.err, /no provider other/);
  await provider.down();
  const down = await kurir(folder.path, ['provider', 'check', 'staff'], provider);
  assert.equal(down.code, 1);
  assert.match(down.out + down.err, /ECONNREFUSED/);
});

test('user link lets somebody sign in to an account that exists, and user unlink ends that', async () => {
  await using s = await startWithProvider({ create_accounts: false });
  const { config } = s.server.ctx;
  const command = (...words: string[]): Promise<Ended> => kurir(config.dataDir, words, s.provider);
  assert.equal((await command('user', 'add', 'kim', '--password', 'secret of kim')).code, 0);
  s.provider.person = { sub: 'p-1', preferred_username: 'kim' };
  const refused = await s.enter(new Browser());
  assert.equal(refused.status, 403);
  assert.match(refused.text, /administrator can link/);
  const linked = await command('user', 'link', 'kim', 'staff', 'p-1');
  assert.deepEqual([linked.code, linked.err], [0, '']);
  assert.equal((await signInBy(s)).userId, '@kim:kurir.test');
  assert.match((await command('user', 'link', 'kim')).out, /p-1 {2}last used \d{4}/);
  assert.equal((await command('user', 'add', 'bob', '--password', 'secret of bob')).code, 0);
  const taken = await command('user', 'link', 'bob', 'staff', 'p-1');
  assert.equal(taken.code, 1);
  assert.match(taken.err, /signs in as @kim:kurir\.test/);
  for (const [words, code] of [
    [['user', 'link'], 2],
    [['user', 'link', 'kim', 'staff'], 2],
    [['user', 'link', 'kim', 'nobody', 'x'], 2],
    [['user', 'link', 'kim', 'staff', 'x', 'y'], 2],
    [['user', 'unlink', 'kim'], 2],
    [['user', 'link', 'nobody', 'staff', 'x'], 1],
    [['user', 'unlink', 'bob', 'staff', 'p-1'], 1],
  ] as const) {
    assert.equal((await command(...words)).code, code, words.join(' '));
  }
  assert.equal((await command('user', 'unlink', 'kim', 'staff', 'p-1')).code, 0);
  assert.equal((await s.enter(new Browser())).status, 403);
});
