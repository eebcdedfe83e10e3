/** The operator's commands for registration tokens, and what the tokens admit. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { performOnTokens } from '#server/cli/token-operations.ts';
import { type Answer, request } from '#test/harness/client.ts';
import { temporaryFolder } from '#test/harness/databases.ts';
import { type Ended, run, serverEnvironment, startProcess } from '#test/harness/process.ts';
import { startServer, type TestServer } from '#test/harness/server.ts';

type Target = Parameters<typeof request>[0];

async function kurir(dataDir: string, words: string): Promise<Ended> {
  return await run('server/kurir.ts', words.split(' '), { env: serverEnvironment(dataDir) });
}

function register(server: Target, username: string, token: string, session?: string): Promise<Answer> {
  const auth = { type: 'm.login.registration_token', token, ...(session !== undefined && { session }) };
  const body = { username, password: 'a password', auth };
  return request(server, 'POST', '/_matrix/client/v3/register', { body });
}

async function isValid(server: Target, token: string): Promise<boolean> {
  const path = '/_matrix/client/v1/register/m.login.registration_token/validity';
  return (await request(server, 'GET', `${path}?token=${encodeURIComponent(token)}`)).body.valid;
}

/** What `token new` does on a running server: the token. */
async function newToken(server: TestServer, uses: number | undefined, expires: string): Promise<string> {
  const operation = { operation: 'token.new', expires, ...(uses !== undefined && { uses }) };
  const outcome = await performOnTokens(server.ctx, operation);
  assert.equal(outcome?.kind, 'done');
  return outcome.kind === 'done' ? (outcome.lines[0]?.split(' ').at(-1) ?? '') : '';
}

test('token new, list and revoke, while the server runs and while it does not', async () => {
  await using folder = await temporaryFolder();
  const env = { ...serverEnvironment(folder.path), KURIR_REGISTRATION: 'token' };
  let token = '';
  {
    await using server = await startProcess(env);
    const made = await kurir(folder.path, 'token new --uses 2 --expires 2h --note press');
    assert.equal(made.code, 0, made.err);
    token = /The token is (krt_\S+)/.exec(made.out)?.[1] ?? '';
    assert.match(made.out, /admits 2 accounts, until \d{4}-\d\d-\d\dT\d\d:\d\dZ/);
    assert.equal((await register(server, 'alice', token)).status, 200);
    const list = await kurir(folder.path, 'token list');
    assert.match(list.out, /^\S{8} {2}admits 1 account {2}used 1 times {2}until \S+ {2}press$/m);
    assert.equal(list.out.includes(token), false);
    await server.stop();
  }
  const id = /^(\S{8}) .*press$/m.exec((await kurir(folder.path, 'token list')).out)?.[1] ?? '';
  const endless = await kurir(folder.path, 'token new --uses any --expires never');
  assert.match(endless.out, /admits any number of accounts, without an end/);
  const revoked = await kurir(folder.path, `token revoke ${id}`);
  assert.equal(revoked.code, 0, revoked.err);
  const again: [words: string, code: number, says: RegExp][] = [
    [`token revoke ${token}`, 1, /is no token that admits anybody/],
    ['token revoke', 2, /the token is missing/],
    ['token new --uses 0', 2, /neither a number nor "any"/],
    ['token new --uses many', 2, /neither a number nor "any"/],
    ['token new --expires yesterday', 1, /is no time to come/],
    ['token new --expires 2001-01-31', 1, /is no time to come/],
    ['token new x', 2, /"x" is too much/],
    ['token list x', 2, /"x" is too much/],
  ];
  for (const [words, code, says] of again) {
    const ended = await kurir(folder.path, words);
    assert.equal(ended.code, code, words);
    assert.match(ended.err, says);
  }
});

test('a token admits as many as it says, however many try at once; the others are asked for another one', async () => {
  await using server = await startServer({ registration: 'token' });
  const token = await newToken(server, 3, '1h');
  const answers = await Promise.all(
    Array.from({ length: 10 }, (_, index) => register(server, `user${index}`, token)),
  );
  assert.equal(answers.filter(({ status }) => status === 200).length, 3);
  for (const { status, body } of answers.filter(({ status }) => status !== 200)) {
    assert.deepEqual([status, body.errcode], [401, 'M_FORBIDDEN']);
    assert.deepEqual([body.flows, body.completed], [[{ stages: ['m.login.registration_token'] }], []]);
  }
  const index = answers.findIndex(({ status }) => status === 401);
  const other = await newToken(server, 1, '1h');
  const made = await register(server, `user${index}`, other, answers[index]?.body.session);
  assert.equal(made.status, 200, 'the same session goes on with another token');
});

test('a token of any length or type is not valid, and one without an end or a limit stays valid', async () => {
  let now = Date.now();
  await using server = await startServer({ registration: 'token', clock: { now: () => now } });
  const token = await newToken(server, undefined, 'never');
  for (const wrong of ['x'.repeat(65), 'x'.repeat(5_000), `${token}x`, 'a\0b', '%']) {
    assert.equal(await isValid(server, wrong), false);
    assert.equal((await register(server, 'eve', wrong)).status, 401);
  }
  const body = {
    username: 'eve',
    password: 'x',
    auth: { type: 'm.login.registration_token', token: [token] },
  };
  assert.equal((await request(server, 'POST', '/_matrix/client/v3/register', { body })).status, 401);
  now += 20 * 365 * 86_400_000;
  assert.equal(await isValid(server, token), true);
  for (const name of ['alice', 'bob']) assert.equal((await register(server, name, token)).status, 200);
});
