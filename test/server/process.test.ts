import assert from 'node:assert/strict';
import { readFileSync, statSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { get } from 'node:https';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { verifyServerKeyDocument } from '#keys/server-key-document.ts';
import { login, register, request } from '#test/harness/client.ts';
import { temporaryFolder } from '#test/harness/databases.ts';
import { run, serverEnvironment, startProcess } from '#test/harness/process.ts';

/** Of a slow machine the log would say so, among what is expected. */
const QUIET = { KURIR_LOG_LEVEL: 'error' };

test('a first start says where it listens and how to make the first account, which its link then does', async () => {
  await using folder = await temporaryFolder();
  const dataDir = join(folder.path, 'data');
  await using server = await startProcess(serverEnvironment(dataDir));
  assert.match(server.output.out, /Kurir serves localhost/);
  assert.match(server.output.out, /Element/);
  const link = /http:\S+\/_kurir\/register\?token=(\S+)/.exec(server.output.out);
  assert.ok(link, server.output.out);
  const fields = { token: link[1] ?? '', username: 'alice', password: 'a password', repeated: 'a password' };
  const made = await request(server, 'POST', '/_kurir/register', {
    body: new URLSearchParams(fields).toString(),
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
  });
  assert.equal(made.status, 200);
  await login(server, 'alice', 'a password');
  assert.equal(await server.stop(), 0);

  await using again = await startProcess(serverEnvironment(dataDir));
  assert.equal(again.output.out.includes('token='), false, 'once there is an account there is no link');
  assert.match(again.output.out, /npm run kurir -- user add NAME/);
  assert.equal((await login(again, 'alice', 'a password')).userId, '@alice:localhost');
});

test('only the owner can read what the data folder holds', async () => {
  await using folder = await temporaryFolder();
  const dataDir = join(folder.path, 'data');
  await using server = await startProcess(serverEnvironment(dataDir));
  assert.equal(statSync(dataDir).mode & 0o777, 0o700);
  const secret = ['kurir.db', 'signing.key', 'federation.key', 'kurir.sock'];
  for (const name of secret) assert.equal(statSync(join(dataDir, name)).mode & 0o077, 0, name);
  assert.equal(await server.stop(), 0);
  assert.equal((await readdir(dataDir)).includes('kurir.sock'), false);
});

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  test(`${signal} ends the server with 0, and a second one does no harm`, async () => {
    await using folder = await temporaryFolder();
    await using server = await startProcess(serverEnvironment(folder.path));
    await request(server, 'GET', '/health');
    const ended = server.stop(signal);
    server.child.kill(signal);
    assert.equal(await ended, 0);
  });
}

test('a second server on the same folder is refused with one line, and the first goes on', async () => {
  await using folder = await temporaryFolder();
  await using first = await startProcess(serverEnvironment(folder.path));
  const second = await run('server/main.ts', [], { env: serverEnvironment(folder.path) });
  assert.equal(second.code, 1);
  assert.match(
    second.err,
    /^kurir: .* is in use by another Kurir process: stop that one, or set data_dir.*\n$/,
  );
  assert.equal((await request(first, 'GET', '/health')).status, 200);
});

test('two servers with folders of their own do not disturb each other', async () => {
  await using folder = await temporaryFolder();
  const env = (name: string) => ({
    ...serverEnvironment(join(folder.path, name)),
    KURIR_SERVER_NAME: name,
    KURIR_REGISTRATION: 'open',
  });
  await using one = await startProcess(env('one.test'));
  await using two = await startProcess(env('two.test'));
  for (const [server, name] of [
    [one, 'one.test'],
    [two, 'two.test'],
  ] as const) {
    const body = { username: 'alice', password: 'a password', auth: { type: 'm.login.dummy' } };
    const { body: made } = await request(server, 'POST', '/_matrix/client/v3/register', { body });
    assert.equal(made.user_id, `@alice:${name}`);
  }
  assert.equal(await one.stop(), 0);
  assert.equal((await request(two, 'GET', '/health')).status, 200);
});

test('another server name on the same database is refused with one line that names the fix', async () => {
  await using folder = await temporaryFolder();
  const env = { ...serverEnvironment(folder.path), ...QUIET };
  await using server = await startProcess({ ...env, KURIR_SERVER_NAME: 'one.test' });
  await server.stop();
  const other = await run('server/main.ts', [], { env: { ...env, KURIR_SERVER_NAME: 'two.test' } });
  assert.equal(other.code, 1);
  assert.match(
    other.err,
    /^kurir: the database in .* belongs to the server one\.test, not to two\.test: set server_name/,
  );
});

test('wrong configuration, and a port in use, stop the start with one line', async () => {
  await using folder = await temporaryFolder();
  const env = { ...serverEnvironment(folder.path), ...QUIET };
  const wrong = await run('server/main.ts', [], { env: { ...env, KURIR_REGISTRATION: 'opne' } });
  assert.deepEqual(
    [wrong.code, wrong.err],
    [1, 'kurir: KURIR_REGISTRATION is "opne": use closed, token or open\n'],
  );
  const blocker = createServer();
  await new Promise<void>((resolve) => blocker.listen(0, '127.0.0.1', resolve));
  const address = blocker.address();
  const port = typeof address === 'object' ? address?.port : undefined;
  const inUse = await run('server/main.ts', [], {
    env: { ...env, KURIR_CLIENT_LISTEN: `127.0.0.1:${port}` },
  });
  blocker.close();
  assert.equal(inUse.code, 1);
  assert.match(
    inUse.err,
    /^kurir: port \d+ is in use by another program: .*client_listen \(KURIR_CLIENT_LISTEN\).*\n$/,
  );
});

test('a rejection that nobody handles is logged whole and ends the server with 1', async () => {
  await using folder = await temporaryFolder();
  const provoke = "process.on('SIGUSR2', () => { Promise.reject(new Error('provoked')); })";
  const env = { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(provoke)}` };
  await using server = await startProcess({ ...serverEnvironment(folder.path), ...env });
  assert.equal(await server.stop('SIGUSR2'), 1);
  assert.match(server.output.err, /"level":"error".*provoked.*"msg":"the server must be restarted"/);
});

test('where OpenSSL refuses Ed25519, as in FIPS mode, tweetnacl stands in, and the log says so', async () => {
  await using folder = await temporaryFolder();
  const refuse = `
    import crypto from 'node:crypto';
    import { syncBuiltinESMExports } from 'node:module';
    for (const name of ['createPrivateKey', 'createPublicKey']) {
      const create = crypto[name];
      crypto[name] = (...args) => {
        const key = create(...args);
        if (key.asymmetricKeyType === 'ed25519') throw new Error('unsupported');
        return key;
      };
    }
    syncBuiltinESMExports();`;
  const env = { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(refuse)}` };
  await using server = await startProcess({ ...serverEnvironment(folder.path), ...env });
  assert.match(server.output.err, /"level":"warn".*Ed25519.*tweetnacl/);
  const ca = readFileSync(join(folder.path, 'federation.crt'));
  const text = await new Promise<string>((resolve, reject) => {
    get(`${server.federationUrl}/_matrix/key/v2/server`, { ca }, (response) => {
      response.setEncoding('utf8').on('data', resolve);
    }).on('error', reject);
  });
  const keys = await verifyServerKeyDocument(JSON.parse(text), 'localhost');
  assert.equal(keys?.serverName, 'localhost');
  assert.equal(await server.stop(), 0);
});

test('a request that waits is answered when the server stops', async () => {
  await using folder = await temporaryFolder();
  const env = { ...serverEnvironment(folder.path), KURIR_REGISTRATION: 'open' };
  await using server = await startProcess(env);
  const alice = await register(server, 'alice');
  const { next_batch: since } = await alice.sync();
  const waiting = alice.try('GET', `/sync?timeout=30000&since=${since}`);
  // The long poll went out first, on a connection that was open already: it waits by then.
  await alice.get('/account/whoami');
  assert.equal(await server.stop(), 0);
  assert.equal((await waiting).status, 200);
});
