/** The credentials of `/voip/turnServer` at a real coturn. */

import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { connect } from 'node:net';
import path from 'node:path';
import { after, test } from 'node:test';
import { promisify } from 'node:util';
import { type Body, register } from '#test/harness/client.ts';
import { temporaryFolder } from '#test/harness/databases.ts';
import { freePort } from '#test/harness/free-port.ts';
import { startServer } from '#test/harness/server.ts';
import { until } from '#test/harness/until.ts';

const run = promisify(execFile);
const SECRET = 'a secret that the TURN server shares';
const CLIENT_MS = 120_000;
const isHere = ['turnserver', 'turnutils_uclient'].every((program) => onPath(program));
const skip = isHere ? false : 'coturn is not installed: apt-get install coturn';
const what = isHere ? '' : ' (skipped without coturn)';
const resources = new AsyncDisposableStack();
after(() => resources.disposeAsync());

function onPath(program: string): boolean {
  return (process.env.PATH ?? '')
    .split(path.delimiter)
    .some((folder) => existsSync(path.join(folder, program)));
}

/** Starts coturn with the secret; answers its port. */
async function startTurn(): Promise<number> {
  const [port, folder] = [await freePort(), resources.use(await temporaryFolder())];
  const options = {
    ...{ 'listening-ip': '127.0.0.1', 'relay-ip': '127.0.0.1', 'listening-port': String(port) },
    ...{ 'static-auth-secret': SECRET, realm: 'kurir.test', userdb: path.join(folder.path, 'turn.db') },
    ...{ pidfile: path.join(folder.path, 'turn.pid'), 'log-file': path.join(folder.path, 'turn.log') },
  };
  const named = Object.entries(options).map(([name, value]) => `--${name}=${value}`);
  // Without a file, which would be the system's.
  const flags = ['-n', '--use-auth-secret', '--no-tls', '--no-dtls', '--no-cli', '--allow-loopback-peers'];
  const turn = spawn('turnserver', [...flags, ...named], { stdio: 'ignore', cwd: folder.path });
  resources.defer(async () => {
    if (turn.exitCode !== null) return;
    const ended = once(turn, 'exit');
    turn.kill();
    await ended;
  });
  await until(() => answers(port), 'that coturn listens');
  return port;
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    const end = (isUp: boolean) => () => {
      socket.destroy();
      resolve(isUp);
    };
    socket.once('connect', end(true)).once('error', end(false));
  });
}

/** True where a client with these credentials gets an allocation, and a message through it to another one. */
async function allocates(port: number, { username, password }: Body): Promise<boolean> {
  const args = ['-y', '-c', '-n', '1', '-u', username, '-w', password, '-p', String(port), '127.0.0.1'];
  try {
    const { stdout } = await run('turnutils_uclient', args, { timeout: CLIENT_MS });
    return /tot_send_msgs=[1-9]\d*, tot_recv_msgs=[1-9]/.test(stdout);
  } catch (error) {
    assert.ok(error instanceof Error && 'stdout' in error, String(error));
    assert.match(String(error.stdout), /error 401|Cannot complete Allocation/);
    return false;
  }
}

test(`row 116: coturn takes the credentials of a user until they expire, and no others${what}`, {
  skip,
}, async () => {
  const port = await startTurn();
  let now = Date.now();
  const server = resources.use(
    await startServer({
      ...{ turnUris: [`turn:127.0.0.1:${port}?transport=udp`], turnSecret: SECRET, turnLifetime: 600_000 },
      clock: { now: () => now },
    }),
  );
  const alice = await register(server, 'alice');
  const given = await alice.get('/voip/turnServer');
  assert.deepEqual([given.uris, given.ttl], [[`turn:127.0.0.1:${port}?transport=udp`], 600]);
  assert.equal(await allocates(port, given), true);
  // A name that says something else than what was signed.
  const [expiry, userId] = String(given.username).split(/:(.*)/s);
  const other = { ...given, username: `${Number(expiry) + 60}:${userId}` };
  for (const forged of [{ ...given, password: 'a wrong one' }, other]) {
    assert.equal(await allocates(port, forged), false, JSON.stringify(forged));
  }
  now -= 601_000;
  assert.equal(await allocates(port, await alice.get('/voip/turnServer')), false, 'they have expired');
});
