/** The media of a server that is killed, that has no space left, and whose clients go away. */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readdir, readlink } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { register } from '#test/harness/client.ts';
import { temporaryFolder } from '#test/harness/databases.ts';
import { download, partsOf, upload } from '#test/harness/media.ts';
import { type ServerProcess, serverEnvironment, startProcess } from '#test/harness/process.ts';
import { startServer } from '#test/harness/server.ts';
import { until } from '#test/harness/until.ts';

async function filesIn(dataDir: string): Promise<string[]> {
  const all = await readdir(join(dataDir, 'media'), { recursive: true, withFileTypes: true });
  return all.filter((entry) => entry.isFile()).map(({ name }) => name);
}

test('kill -9 amid uploads: what was acknowledged is there byte for byte, and no file is without an address', async () => {
  await using folder = await temporaryFolder();
  const env = { ...serverEnvironment(folder.path), KURIR_REGISTRATION: 'open' };
  let running: ServerProcess = await startProcess(env);
  const server = {
    get clientUrl() {
      return running.clientUrl;
    },
  };
  const alice = await register(server, 'alice');
  const acknowledged = new Map<string, Buffer>();
  for (const killedAfter of [3, 10, 25]) {
    const before = acknowledged.size;
    const reached = Promise.withResolvers<void>();
    const uploads = Array.from({ length: 60 }, async () => {
      const bytes = randomBytes(50_000);
      acknowledged.set(await upload(alice, bytes), bytes);
      if (acknowledged.size - before >= killedAfter) reached.resolve();
    });
    const settled = Promise.allSettled(uploads);
    await Promise.race([reached.promise, settled]);
    await running.stop('SIGKILL');
    await settled;
    running = await startProcess(env);
    for (const [uri, bytes] of acknowledged) assert.ok((await download(alice, uri)).bytes.equals(bytes));
  }
  // Some that were not acknowledged are stored as well: each with its row, or the sweep at the start takes it.
  await running.stop();
  running = await startProcess(env);
  await using _ = running;
  const names = new Set<string>();
  for (const uri of acknowledged.keys()) {
    names.add((await download(alice, uri)).headers.get('etag')?.slice(1, -1) ?? '');
  }
  const count = (await filesIn(folder.path)).length;
  assert.ok(count >= names.size && count <= 180);
  assert.ok(names.isSubsetOf(new Set(await filesIn(folder.path))));
});

const hasPrlimit = spawnSync('prlimit', ['--version']).status === 0;

test('F6: an upload for which there is no space is 507, leaves nothing, and the server goes on', {
  skip: hasPrlimit ? false : 'needs prlimit',
}, async () => {
  await using folder = await temporaryFolder();
  const env = { ...serverEnvironment(folder.path), KURIR_REGISTRATION: 'open', KURIR_LOG_LEVEL: 'warn' };
  await using server = await startProcess(env);
  const alice = await register(server, 'alice');
  // No file of the process may get larger than this.
  const limited = spawnSync('prlimit', ['--pid', String(server.child.pid), `--fsize=${8 * 1024 * 1024}`]);
  assert.equal(limited.status, 0);
  const full = await alice.try('POST', '/_matrix/media/v3/upload', Buffer.alloc(12_000_000, 1));
  assert.deepEqual([full.status, full.body.errcode], [507, 'M_UNKNOWN']);
  assert.deepEqual(await filesIn(folder.path), []);
  const uri = await upload(alice, 'small');
  assert.equal((await download(alice, uri)).bytes.toString(), 'small');
  await alice.createRoom();
});

test('F8: where no more files may be opened those who are connected are served, and all others once some are closed', {
  skip: hasPrlimit ? false : 'needs prlimit',
}, async () => {
  await using folder = await temporaryFolder();
  const env = { ...serverEnvironment(folder.path), KURIR_REGISTRATION: 'open', KURIR_LOG_LEVEL: 'warn' };
  await using server = await startProcess(env);
  const alice = await register(server, 'alice');
  const uri = await upload(alice, 'a file');
  const inUse = (await readdir(`/proc/${server.child.pid}/fd`)).length;
  const limited = spawnSync('prlimit', ['--pid', String(server.child.pid), `--nofile=${inUse + 8}`]);
  assert.equal(limited.status, 0);
  const { hostname, port } = new URL(server.clientUrl);
  const sockets = Array.from({ length: 300 }, () =>
    connect(Number(port), hostname).on('error', () => undefined),
  );
  await until(
    async () => (await readdir(`/proc/${server.child.pid}/fd`)).length >= inUse + 7,
    'that there are no more',
  );
  // By the connection that there is: a file for the download there may not be.
  assert.ok([200, 503].includes((await download(alice, uri)).status));
  assert.ok((await alice.sync()).next_batch);
  for (const socket of sockets) socket.destroy();
  await until(async () => {
    const again = await download(alice, uri).catch(() => undefined);
    return again?.bytes.toString() === 'a file';
  }, 'that files are read again');
  await upload(alice, 'another file');
  await alice.createRoom();
  assert.equal(server.child.exitCode, null);
});

test('F7, F8: clients that go away in the middle of a download leave no file open', {
  skip: process.platform === 'linux' ? false : 'needs /proc',
}, async () => {
  await using server = await startServer();
  const alice = await register(server);
  const uri = await upload(alice, randomBytes(20_000_000));
  const { hostname, port } = new URL(server.clientUrl);
  const openFiles = async () => {
    const links = (await readdir('/proc/self/fd')).map((fd) =>
      // The descriptor of the listing itself is gone by now.
      readlink(`/proc/self/fd/${fd}`).catch(() => ''),
    );
    return (await Promise.all(links)).filter((path) => path.startsWith(server.ctx.config.dataDir));
  };
  const before = (await openFiles()).length;
  const path = `/_matrix/client/v1/media/download/${partsOf(uri)}`;
  const head = `GET ${path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${alice.accessToken}\r\n`;
  for (const more of ['', 'Range: bytes=5-\r\n', 'Range: bytes=99999999-\r\n', 'If-None-Match: *\r\n']) {
    const socket = connect(Number(port), hostname);
    socket.write(`${head}${more}\r\n`);
    await new Promise((resolve) => socket.once('data', resolve));
    socket.destroy();
  }
  await until(async () => (await openFiles()).length <= before, 'that all files are closed');
  assert.equal((await download(alice, uri)).bytes.length, 20_000_000);
});

test('what a crash left is gone after the start: half an upload, a file without an address, an id that was not used', async () => {
  const clock = { time: Date.now(), now: () => clock.time };
  await using server = await startServer({ clock });
  const alice = await register(server);
  const kept = await upload(alice, 'kept');
  const orphan = await upload(alice, 'orphan');
  await alice.post('/_matrix/media/v1/create');
  const { db, config } = server.ctx;
  const [, mediaId = ''] = partsOf(orphan).split('/');
  const text = `DELETE FROM media WHERE media_id = '${mediaId}'`;
  await db.write('test', (tx) => tx.run({ name: '', text }));
  assert.equal((await filesIn(config.dataDir)).length, 2);
  clock.time += 25 * 3_600_000;
  await server.restart();
  await until(async () => (await filesIn(config.dataDir)).length === 1, 'that the file goes');
  const rows = await server.ctx.db.all({ name: '', text: 'SELECT media_id FROM media' });
  assert.deepEqual(rows, [{ media_id: partsOf(kept).split('/')[1] }]);
  assert.equal((await download(alice, kept)).bytes.toString(), 'kept');
});
