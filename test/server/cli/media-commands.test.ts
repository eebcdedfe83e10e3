/** The operator's commands about media, as an operator runs them. */

import assert from 'node:assert/strict';
import { rm, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { performOnMedia } from '#server/cli/media-operations.ts';
import { blobPath } from '#storage/disk-place.ts';
import { register, type TestClient } from '#test/harness/client.ts';
import { temporaryFolder } from '#test/harness/databases.ts';
import { startFleet } from '#test/harness/fleet.ts';
import { download, picture, thumbnail, upload } from '#test/harness/media.ts';
import { type Ended, run, serverEnvironment, startProcess } from '#test/harness/process.ts';
import { startServer, type TestServer } from '#test/harness/server.ts';

async function kurir(dataDir: string, words: string): Promise<Ended> {
  return await run('server/kurir.ts', words.split(' '), { env: serverEnvironment(dataDir) });
}

/** What a command does to a server that runs. */
function operate(server: TestServer, operation: { [key: string]: string }) {
  return performOnMedia({ ...server.ctx, inTime: (work) => work }, operation);
}

async function statusOf(client: TestClient, uri: string): Promise<number> {
  return (await download(client, uri)).status;
}

test('media quarantine and release, while the server runs and while it does not', async () => {
  await using folder = await temporaryFolder();
  const env = { ...serverEnvironment(folder.path), KURIR_REGISTRATION: 'open' };
  let uri = '';
  {
    await using server = await startProcess(env);
    const alice = await register(server, 'alice');
    uri = await upload(alice, 'x');
    const withheld = await kurir(folder.path, `media quarantine ${uri}`);
    assert.deepEqual([withheld.code, withheld.err], [0, '']);
    assert.equal(await statusOf(alice, uri), 404);
    const served = await kurir(folder.path, `media release ${uri}`);
    assert.deepEqual([served.code, served.err], [0, '']);
    assert.equal(await statusOf(alice, uri), 200);
    await server.stop();
  }
  assert.equal((await kurir(folder.path, `media quarantine ${uri}`)).code, 0);
  const purged = await kurir(folder.path, 'media purge-remote --before 2026-01-31');
  assert.equal(purged.out, 'Files of other servers deleted: 0 (0.0 MiB).\n');
  const cases: [words: string, code: number, says: RegExp][] = [
    ['media quarantine', 2, /the media is missing/],
    ['media quarantine hello', 1, /"hello" is not the address of a media/],
    ['media quarantine mxc://localhost/unknown', 1, /there is no media mxc:\/\/localhost\/unknown/],
    ['media release mxc://localhost/unknown', 1, /is not in quarantine/],
    ['media purge-remote', 2, /--before is missing/],
    ['media purge-remote --before yesterday', 1, /"yesterday" is neither a day/],
    ['media purge-remote x', 2, /"x" is too much/],
  ];
  for (const [words, code, says] of cases) {
    const ended = await kurir(folder.path, words);
    assert.equal(ended.code, code, words);
    assert.match(ended.err, says);
  }
});

test('db check says which file of a media is missing or cut', async () => {
  await using folder = await temporaryFolder();
  const env = { ...serverEnvironment(folder.path), KURIR_REGISTRATION: 'open' };
  await using server = await startProcess(env);
  const alice = await register(server, 'alice');
  await upload(alice, 'whole');
  const etag = (await download(alice, await upload(alice, 'cut'))).headers.get('etag') ?? '';
  const sha256 = etag.slice(1, -1);
  const sound = await kurir(folder.path, 'db check');
  assert.deepEqual([sound.code, sound.err], [0, '']);
  const path = blobPath(join(folder.path, 'media'), sha256);
  for (const damage of [() => truncate(path, 1), () => rm(path)]) {
    await damage();
    const damaged = await kurir(folder.path, 'db check');
    assert.equal(damaged.code, 1);
    const line = `broken: the file of a media is there, and whole (for example ${sha256})`;
    assert.ok(damaged.err.includes(line), damaged.err);
  }
});

test('row 73: what is in quarantine nobody gets: by no path, under no other address, and not uploaded again', async () => {
  await using server = await startServer({ legacyMedia: true });
  const alice = await register(server);
  const bob = await register(server);
  const bytes = await picture(100, 100);
  const first = await upload(alice, bytes);
  const same = await upload(bob, bytes);
  const other = await upload(bob, 'other');
  const query = { width: 32, height: 32 };
  assert.equal((await thumbnail(bob, first, query)).status, 200);
  assert.equal((await operate(server, { operation: 'media.quarantine', media: first }))?.kind, 'done');
  const later = await upload(bob, bytes);
  const { content_uri: reserved } = await bob.post('/_matrix/media/v1/create');
  const path = reserved.slice('mxc://'.length);
  assert.equal((await bob.try('PUT', `/_matrix/media/v3/upload/${path}`, bytes)).status, 200);
  for (const uri of [first, same, later, reserved]) {
    assert.equal(await statusOf(alice, uri), 404, uri);
    assert.equal(
      (await download(alice, uri, { more: '/name?admin=true&include_quarantined=true' })).status,
      404,
    );
    assert.equal((await thumbnail(alice, uri, query)).status, 404);
    const legacy = `/_matrix/media/v3/download/${uri.slice('mxc://'.length)}`;
    assert.equal((await alice.try('GET', legacy)).status, 404);
  }
  assert.equal(await statusOf(alice, other), 200);
  assert.equal((await operate(server, { operation: 'media.release', media: same }))?.kind, 'done');
  for (const uri of [first, same, later, reserved]) assert.equal(await statusOf(alice, uri), 200);
});

test('a media of another server can be withheld before anybody has seen it, and after', async () => {
  await using fleet = await startFleet(2);
  const [here, there] = [fleet.at(0), fleet.at(1)];
  const [alice, bob] = [await register(here), await register(there)];
  const [unseen, seen] = [await upload(bob, 'unseen'), await upload(bob, 'seen')];
  await download(alice, seen);
  for (const media of [unseen, seen]) {
    assert.equal((await operate(here, { operation: 'media.quarantine', media }))?.kind, 'done');
    assert.equal(await statusOf(alice, media), 404);
    assert.equal(await statusOf(bob, media), 200);
  }
  await operate(here, { operation: 'media.purge-remote', before: '2100-01-01' });
  assert.equal(await statusOf(alice, seen), 404);
  for (const media of [unseen, seen]) {
    assert.equal((await operate(here, { operation: 'media.release', media }))?.kind, 'done');
    assert.equal(await statusOf(alice, media), 200);
  }
});

test('media purge-remote deletes what nobody has read since, with its thumbnails, and nothing of our own', async () => {
  const clock = { time: Date.now(), now: () => clock.time };
  await using fleet = await startFleet(2, { clock });
  const [here, there] = [fleet.at(0), fleet.at(1)];
  const [alice, bob] = [await register(here), await register(there)];
  const own = await upload(alice, 'own');
  const [old, read] = [await upload(bob, await picture(100, 100)), await upload(bob, 'read')];
  for (const uri of [old, read]) assert.equal(await statusOf(alice, uri), 200);
  assert.equal((await thumbnail(alice, old, { width: 32, height: 32, method: 'crop' })).status, 200);
  const before = new Date(clock.time + 24 * 3_600_000).toISOString().slice(0, 10);
  clock.time += 10 * 24 * 3_600_000;
  assert.equal(await statusOf(alice, read), 200);
  const purged = await operate(here, { operation: 'media.purge-remote', before });
  assert.deepEqual(purged, { kind: 'done', lines: ['Files of other servers deleted: 1 (0.0 MiB).'] });
  const rows = await here.ctx.db.all({ name: '', text: 'SELECT source_sha256 FROM thumbnails' });
  assert.deepEqual(rows, []);
  await there.stop();
  assert.deepEqual([await statusOf(alice, own), await statusOf(alice, read)], [200, 200]);
  assert.equal(await statusOf(alice, old), 504);
  await there.start();
});
