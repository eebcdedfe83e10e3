/** Disks that are full: what is written is refused, what is there is read, and once there is space all goes on by itself. */

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { contentFindings, fileFindings } from '#storage/check.ts';
import * as destinations from '#storage/destinations.ts';
import { register, request } from '#test/harness/client.ts';
import { startFleet } from '#test/harness/fleet.ts';
import { download, upload } from '#test/harness/media.ts';
import { startServer } from '#test/harness/server.ts';
import { noSmallDisk, smallDisk } from '#test/harness/small-disk.ts';
import { until } from '#test/harness/until.ts';

async function filesIn(dataDir: string): Promise<string[]> {
  const all = await readdir(join(dataDir, 'media'), { recursive: true, withFileTypes: true });
  return all.filter((entry) => entry.isFile()).map(({ name }) => name);
}

test('F5: on a full disk what is written is 507 and undone, what is there is read, and space ends that', {
  skip: noSmallDisk,
}, async () => {
  await using disk = await smallDisk(48);
  const lines: string[] = [];
  await using server = await startServer({ dataDir: disk.path, logTo: (line) => lines.push(line) });
  const alice = await register(server, 'alice');
  const roomId = await alice.createRoom();
  const first = await alice.send(roomId, 'first');
  const uri = await upload(alice, 'a file');
  await disk.fill();
  const path = (number: number) => `/rooms/${encodeURIComponent(roomId)}/send/m.room.message/full${number}`;
  const content = { msgtype: 'm.text', body: 'x'.repeat(30_000) };
  // What was written before may have left a little room in files that have it already.
  let tried = 0;
  await until(async () => (await alice.try('PUT', path(tried++), content)).status === 507, 'that it is full');
  const refused = await alice.try('PUT', path(tried), content);
  assert.deepEqual([refused.status, refused.body.errcode], [507, 'M_UNKNOWN']);
  assert.equal(refused.headers.get('retry-after'), '60');
  const uploaded = await alice.try('POST', '/_matrix/media/v3/upload', randomBytes(500_000));
  assert.deepEqual([uploaded.status, uploaded.body.errcode], [507, 'M_UNKNOWN']);
  assert.equal((await filesIn(disk.path)).length, 1);
  assert.equal((await request(server, 'GET', '/health')).status, 200);
  assert.ok((await alice.sync()).rooms.join[roomId]);
  assert.equal((await alice.get(`/rooms/${encodeURIComponent(roomId)}/event/${first}`)).event_id, first);
  assert.equal((await download(alice, uri)).bytes.toString(), 'a file');
  await disk.free();
  // The same transaction goes through, once.
  const { event_id: sent } = await alice.put(path(tried), content);
  assert.deepEqual((await alice.put(path(tried), content)).event_id, sent);
  await upload(alice, randomBytes(500_000));
  assert.deepEqual([...(await fileFindings(server.ctx.db)), ...(await contentFindings(server.ctx.db))], []);
  const told = lines.filter((line) => line.includes('the disk of the database is full'));
  assert.equal(told.length, 1);
  assert.deepEqual(
    lines.filter((line) => line.includes('request failed')),
    [],
  );
});

test('F5: what other servers send while the disk is full comes again once there is space', {
  skip: noSmallDisk,
}, async () => {
  await using disk = await smallDisk(48);
  await using fleet = await startFleet(2);
  const [near, far] = [fleet.at(0), fleet.at(1)];
  // The second one goes on where there is little space.
  await far.restart({ dataDir: disk.path });
  const [alice, bob] = [await register(near, 'alice'), await register(far, 'bob')];
  const roomId = await alice.createRoom();
  await bob.join(roomId, [near.serverName]);
  await disk.fill();
  const fillUp = async (number: number) =>
    await bob.try('PUT', `/rooms/${encodeURIComponent(roomId)}/send/m.room.message/full${number}`, {
      msgtype: 'm.text',
      body: 'x'.repeat(30_000),
    });
  let tried = 0;
  await until(async () => (await fillUp(tried++)).status === 507, 'that it is full');
  const sent = await alice.sendEvent(roomId, 'm.room.message', {
    msgtype: 'm.text',
    body: 'y'.repeat(30_000),
  });
  const isRefused = async () =>
    ((await destinations.of(near.ctx.db, far.serverName))?.outage.failures ?? 0) > 0;
  await until(isRefused, 'that it is refused');
  await disk.free();
  // Who hears from a server tries it again at once.
  await bob.send(roomId, 'there is space again');
  await bob.syncUntil((body) => JSON.stringify(body).includes(sent));
});

test('F6: a full disk of media refuses files only: half of one is not kept, and the database goes on', {
  skip: noSmallDisk,
}, async () => {
  await using server = await startServer();
  const { dataDir } = server.ctx.config;
  await server.stop();
  await using disk = await smallDisk(8, join(dataDir, 'media'));
  await server.start();
  const alice = await register(server, 'alice');
  const roomId = await alice.createRoom();
  const uri = await upload(alice, 'small');
  // More than there is space for: it is full in the middle of it.
  const refused = await alice.try('POST', '/_matrix/media/v3/upload', randomBytes(12_000_000));
  assert.deepEqual([refused.status, refused.body.errcode], [507, 'M_UNKNOWN']);
  assert.equal((await filesIn(dataDir)).length, 1);
  await disk.fill();
  assert.equal((await alice.try('POST', '/_matrix/media/v3/upload', randomBytes(100_000))).status, 507);
  assert.equal((await download(alice, uri)).bytes.toString(), 'small');
  await alice.send(roomId, 'the database goes on');
  await disk.free();
  assert.equal((await filesIn(dataDir)).length, 1);
  const bytes = randomBytes(1_000_000);
  assert.ok((await download(alice, await upload(alice, bytes))).bytes.equals(bytes));
  await server.stop();
});
