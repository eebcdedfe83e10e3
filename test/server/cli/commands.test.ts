import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { openSqlite } from '#storage/sqlite.ts';
import { login, request } from '#test/harness/client.ts';
import { temporaryFolder } from '#test/harness/databases.ts';
import { type Ended, run, serverEnvironment, startProcess } from '#test/harness/process.ts';

async function kurir(dataDir: string, words: string, input = ''): Promise<Ended> {
  return await run('server/kurir.ts', words.split(' '), { env: serverEnvironment(dataDir), input });
}

test('user add, list, lock, suspend and deactivate work while the server runs, and take effect at once', async () => {
  await using folder = await temporaryFolder();
  await using server = await startProcess(serverEnvironment(folder.path));
  const added = await kurir(folder.path, 'user add alice --admin');
  assert.equal(added.code, 0, added.err);
  const password = /The password is (\S+)/.exec(added.out)?.[1] ?? '';
  const alice = await login(server, 'alice', password);
  assert.equal((await kurir(folder.path, 'user add bob --password-stdin', 'secret of bob\n')).code, 0);
  await login(server, 'bob', 'secret of bob');
  const terms = await kurir(folder.path, 'user terms alice');
  assert.match(terms.out, /^@alice:\S+ has accepted no policy\.\n$/);
  assert.equal((await kurir(folder.path, 'user terms nobody')).code, 1);
  const list = await kurir(folder.path, 'user list');
  assert.match(
    list.out,
    /^@alice:localhost {2}\d{4}-\d\d-\d\d {2}admin\n@bob:localhost {2}\d{4}-\d\d-\d\d\n$/,
  );
  const errcode = async () => (await alice.try('POST', '/createRoom', {})).body.errcode;
  assert.equal((await kurir(folder.path, 'user lock alice')).code, 0);
  assert.equal(await errcode(), 'M_USER_LOCKED');
  assert.equal((await kurir(folder.path, 'user unlock alice')).code, 0);
  assert.equal((await kurir(folder.path, 'user suspend alice')).code, 0);
  assert.equal(await errcode(), 'M_USER_SUSPENDED');
  assert.equal((await kurir(folder.path, 'user rate-limit alice off')).code, 0);
  assert.match((await kurir(folder.path, 'user list')).out, /admin {2}suspended {2}no rate limits\n/);
  assert.equal((await kurir(folder.path, 'user unsuspend alice')).code, 0);
  assert.equal((await kurir(folder.path, 'user rate-limit alice on')).code, 0);
  assert.equal(await errcode(), undefined);
  assert.equal((await kurir(folder.path, 'user deactivate @alice:localhost')).code, 0);
  const ended = await alice.try('GET', '/account/whoami');
  assert.equal(ended.body.errcode, 'M_UNKNOWN_TOKEN');
  assert.match((await kurir(folder.path, 'user list')).out, /@alice:localhost .*deactivated/);
  assert.equal((await kurir(folder.path, 'db check')).code, 0);
});

test('the same commands work while the server is stopped', async () => {
  await using folder = await temporaryFolder();
  await using first = await startProcess(serverEnvironment(folder.path));
  await first.stop();
  assert.equal((await kurir(folder.path, 'user add alice --password secret')).code, 0);
  assert.equal((await kurir(folder.path, 'user add bob --password secret')).code, 0);
  assert.equal((await kurir(folder.path, 'user deactivate bob')).code, 0);
  assert.equal((await kurir(folder.path, 'user lock alice')).code, 0);
  assert.equal((await kurir(folder.path, 'user unlock alice')).code, 0);
  assert.equal((await kurir(folder.path, 'db check')).code, 0);
  await using server = await startProcess(serverEnvironment(folder.path));
  await login(server, 'alice', 'secret');
  const body = { type: 'm.login.password', user: 'bob', password: 'secret' };
  const refused = await request(server, 'POST', '/_matrix/client/v3/login', { body });
  assert.equal(refused.body.errcode, 'M_USER_DEACTIVATED');
});

test('what cannot be done is said in one line, with what to do next', async () => {
  await using folder = await temporaryFolder();
  const nothing = await kurir(folder.path, 'user list');
  assert.equal(nothing.code, 1);
  assert.match(nothing.err, /^kurir: there is no database in .*: start the server once.*\n$/);
  await using server = await startProcess(serverEnvironment(folder.path));
  await kurir(folder.path, 'user add alice --password x');
  const cases: [words: string, code: number, says: RegExp][] = [
    ['user add alice --password x', 1, /exists already.*choose another name/],
    ['user add Ä --password x', 1, /is not a user name of localhost: use lower-case/],
    ['user add alice2 --password-stdin', 1, /The password is empty: give another one/],
    ['user deactivate nobody', 1, /no active account @nobody:localhost: see "user list"/],
    ['user lock nobody', 1, /no active account @nobody:localhost: see "user list"/],
    ['user rate-limit alice', 2, /on, or off, is missing: see --help/],
    ['user rate-limit alice maybe', 2, /"maybe" is neither on nor off/],
    ['user add', 2, /the name of the user is missing: see --help/],
    ['user add a b', 2, /"b" is too much: see --help/],
    ['user frob', 2, /"user frob" is not a command: use "user add"/],
    ['user add x --frob', 2, /Unknown option '--frob'.*see --help/],
  ];
  for (const [words, code, says] of cases) {
    const ended = await kurir(folder.path, words);
    assert.equal(ended.code, code, words);
    assert.match(ended.err, says);
    assert.equal(ended.err.split('\n').length, 2, `${words}: ${ended.err}`);
  }
  assert.equal((await request(server, 'GET', '/health')).status, 200);
});

test('each command has --help', async () => {
  await using folder = await temporaryFolder();
  for (const words of [
    'user add',
    'user list',
    'user deactivate',
    'user lock',
    'user unlock',
    'user suspend',
    'user unsuspend',
    'user remove-second-factor',
    'user rate-limit',
    'config check',
    'config docs',
    'db check',
    'room check',
    'event explain',
    'federation check',
    'keys list',
    'keys rotate',
    'keys check',
  ]) {
    const help = await kurir(folder.path, `${words} --help`);
    assert.equal(help.code, 0);
    assert.ok(help.out.startsWith(`Usage: npm run kurir -- ${words}`), help.out);
  }
  assert.equal((await kurir(folder.path, '--help')).code, 0);
});

test('config check names what is wrong, and shows no secret', async () => {
  await using folder = await temporaryFolder();
  const env = { ...serverEnvironment(folder.path), KURIR_REGISTRATION_SECRET: 'do not show this' };
  const sound = await run('server/kurir.ts', ['config', 'check'], { env });
  assert.equal(sound.code, 0);
  assert.equal(sound.out.includes('do not show this'), false);
  const wrong = await run('server/kurir.ts', ['config', 'check'], {
    env: { ...env, KURIR_LOG_LEVEL: 'loud' },
  });
  assert.deepEqual([wrong.code, wrong.err.includes('KURIR_LOG_LEVEL is "loud": use debug')], [1, true]);
});

test('db check finds a database that breaks a rule', async () => {
  await using folder = await temporaryFolder();
  await using server = await startProcess(serverEnvironment(folder.path));
  await server.stop();
  const db = await openSqlite({ path: join(folder.path, 'kurir.db') });
  const text =
    "INSERT INTO access_tokens (token_hash, user_id, device_id, created_ts) VALUES ('x', '@a:localhost', 'D', 0)";
  await db.write('test.break', (tx) => tx.run({ name: '', text }));
  await db.close();
  const checked = await kurir(folder.path, 'db check');
  assert.equal(checked.code, 1);
  assert.match(
    checked.err,
    /is damaged.*\n.*broken: an access token belongs to a device \(for example @a:localhost\)/,
  );
});
