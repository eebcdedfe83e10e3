/** Files in a bucket: a real server, and a store of the test's own that checks what it is asked. */

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { mediaBucketKind } from '#server/media/media-bucket.ts';
import { PlaceUnavailable } from '#storage/blob-place.ts';
import { register } from '#test/harness/client.ts';
import { startFleet } from '#test/harness/fleet.ts';
import { download, picture, thumbnail, upload } from '#test/harness/media.ts';
import { S3Server } from '#test/harness/s3-server.ts';
import { startServer } from '#test/harness/server.ts';
import { until } from '#test/harness/until.ts';
import { filesOnDisk, livesInBucket, operate } from './bucket-story.ts';

const UPLOAD = '/_matrix/media/v3/upload';

test('files of all sizes, their parts and thumbnails are in the bucket, and move to the disk and back', async () => {
  await using store = await S3Server.start();
  store.pageSize = 3;
  await livesInBucket(store.option());
  await livesInBucket(store.option({ prefix: 'one/', region: 'eu-central-1' }));
  assert.equal(store.objects.get('one/kurir-server-name')?.toString(), 'kurir.test');
});

test('an upload is answered with success once the bucket has it, and leaves nothing where the bucket refuses', async () => {
  await using store = await S3Server.start();
  await using server = await startServer({ mediaBucket: store.option() });
  const alice = await register(server, 'alice');
  await upload(alice, 'first');
  const refusals: [status: number, code: string, answer: number][] = [
    [403, 'AccessDenied', 503],
    [404, 'NoSuchBucket', 503],
    [503, 'SlowDown', 503],
    [507, 'InsufficientStorage', 507],
    [400, 'QuotaExceeded', 507],
  ];
  for (const [status, code, answer] of refusals) {
    store.fault = ({ method }, response) => {
      if (method !== 'PUT') return false;
      response.writeHead(status).end(`<Error><Code>${code}</Code></Error>`);
      return true;
    };
    const { status: got, body } = await alice.try('POST', UPLOAD, Buffer.from(code));
    assert.deepEqual([got, body.errcode], [answer, 'M_UNKNOWN'], code);
  }
  store.fault = ({ method }, response) => {
    if (method !== 'PUT') return false;
    response.writeHead(200, { 'content-length': 100 }).write('x', () => response.destroy());
    return true;
  };
  const broken = await alice.try('POST', UPLOAD, Buffer.from('breaks off'));
  assert.deepEqual([broken.status, broken.body.errcode], [503, 'M_UNKNOWN']);
  store.fault = () => false;
  assert.equal(store.files.length, 1);
  assert.deepEqual(await filesOnDisk(server), []);
  const [{ rows } = { rows: -1 }] = await server.ctx.db.all<[], { rows: number }>({
    name: '',
    text: 'SELECT count(*) AS rows FROM media',
  });
  assert.equal(rows, 1);
  // What only fails for a moment is tried again.
  let failures = 2;
  store.fault = ({ method }, response) => {
    if (method !== 'PUT' || failures === 0) return false;
    failures -= 1;
    response.writeHead(500).end();
    return true;
  };
  const uri = await upload(alice, 'persistent');
  assert.equal((await download(alice, uri)).bytes.toString(), 'persistent');
});

test('while the bucket is away its files are 503, the rest goes on, and all is back with it', async () => {
  await using store = await S3Server.start();
  await using server = await startServer({ mediaBucket: store.option() });
  const alice = await register(server, 'alice');
  const bytes = randomBytes(300_000);
  const uri = await upload(alice, bytes);
  const photo = await upload(alice, await picture(300, 300), { type: 'image/png' });
  await store.stop();
  for (const answer of [await download(alice, uri), await thumbnail(alice, photo, { width: 9, height: 9 })]) {
    assert.deepEqual([answer.status, answer.errcode], [503, 'M_UNKNOWN']);
  }
  const failed = await alice.try('POST', UPLOAD, bytes);
  assert.deepEqual([failed.status, failed.body.errcode], [503, 'M_UNKNOWN']);
  await alice.createRoom();
  // The client knows what it has.
  assert.equal((await download(alice, uri, { headers: { 'if-none-match': '*' } })).status, 304);
  await server.restart();
  assert.equal((await download(alice, uri)).status, 503);
  await store.listen();
  assert.ok((await download(alice, uri)).bytes.equals(bytes));
  assert.ok((await download(alice, await upload(alice, bytes))).bytes.equals(bytes));
});

test('an answer of the bucket that breaks off breaks the download off: nobody takes it for the file', async () => {
  await using store = await S3Server.start();
  await using server = await startServer({ mediaBucket: store.option() });
  const alice = await register(server, 'alice');
  const bytes = randomBytes(300_000);
  const uri = await upload(alice, bytes);
  store.fault = ({ method }, response) => {
    if (method !== 'GET') return false;
    response.writeHead(200, { 'content-length': bytes.length });
    response.write(bytes.subarray(0, 100_000), () => response.destroy());
    return true;
  };
  await assert.rejects(download(alice, uri));
  store.fault = () => false;
  assert.ok((await download(alice, uri)).bytes.equals(bytes));
});

test('files that nothing names go from the bucket, and nothing else in it', async () => {
  await using store = await S3Server.start();
  await using server = await startServer({ mediaBucket: store.option({ prefix: 'media/' }) });
  const alice = await register(server, 'alice');
  await upload(alice, 'kept');
  const orphan = 'a'.repeat(64);
  const others = [
    `media/${orphan}`,
    `aa/${orphan}`,
    'media/notes.txt',
    `media/ab/${orphan}`,
    `x/aa/${orphan}`,
  ];
  for (const key of [...others, `media/aa/${orphan}`]) store.objects.set(key, Buffer.from('x'));
  await server.restart();
  await until(async () => !store.objects.has(`media/aa/${orphan}`), 'that the file goes');
  for (const key of others) assert.ok(store.objects.has(key), key);
  assert.equal(store.objects.size, others.length + 2);
});

test('two servers do not share the files of a bucket: the second one writes and removes nothing', async () => {
  await using store = await S3Server.start();
  store.objects.set('kurir-server-name', Buffer.from('other.test'));
  const foreign = `aa/${'a'.repeat(64)}`;
  store.objects.set(foreign, Buffer.from('x'));
  const lines: string[] = [];
  await using server = await startServer({ mediaBucket: store.option(), logTo: (line) => lines.push(line) });
  const alice = await register(server, 'alice');
  const { status, body } = await alice.try('POST', UPLOAD, Buffer.from('x'));
  assert.deepEqual([status, body.errcode], [503, 'M_UNKNOWN']);
  assert.match(
    await operate(server, { operation: 'media.move', to: 'disk' }),
    /not all files were moved: the bucket has the files of other\.test/,
  );
  assert.deepEqual([...store.objects.keys()], ['kurir-server-name', foreign]);
  assert.ok(lines.some((line) => line.includes('give each server a prefix of its own')));
});

test('what is moved from the disk is damaged or whole: damaged files stay where they are', async () => {
  await using store = await S3Server.start();
  await using server = await startServer({ isDamaged: true });
  const alice = await register(server, 'alice');
  await upload(alice, 'whole');
  const etag =
    (await download(alice, await upload(alice, 'damaged'))).headers.get('etag')?.slice(1, -1) ?? '';
  await writeFile(server.ctx.media.blobs.pathOf(etag), 'changed');
  assert.match(await operate(server, { operation: 'media.move', to: 'bucket' }), /there is no bucket/);
  await server.restart({ mediaBucket: store.option() });
  assert.match(await operate(server, { operation: 'media.move', to: 'cloud' }), /neither disk nor bucket/);
  assert.match(
    await operate(server, { operation: 'media.move', to: 'bucket' }),
    /^Files moved to the bucket: 1 \(0\.0 MiB\)\.\nDamaged, and left where they are: 1\.$/,
  );
  assert.deepEqual(await filesOnDisk(server), [etag]);
});

test('a move that the bucket ends goes on where it ended', async () => {
  await using store = await S3Server.start();
  await using server = await startServer();
  const alice = await register(server, 'alice');
  const uris: string[] = [];
  for (let number = 0; number < 20; number += 1) uris.push(await upload(alice, `file ${number}`));
  await server.restart({ mediaBucket: store.option() });
  store.fault = ({ method }, response) => {
    if (method !== 'PUT' || store.files.length < 9) return false;
    response.writeHead(403).end();
    return true;
  };
  assert.match(await operate(server, { operation: 'media.move', to: 'bucket' }), /not all files were moved/);
  for (const [number, uri] of uris.entries()) {
    assert.equal((await download(alice, uri)).bytes.toString(), `file ${number}`);
  }
  store.fault = () => false;
  await operate(server, { operation: 'media.move', to: 'bucket' });
  assert.deepEqual([(await filesOnDisk(server)).length, store.files.length], [0, 20]);
  for (const [number, uri] of uris.entries()) {
    assert.equal((await download(alice, uri)).bytes.toString(), `file ${number}`);
  }
});

test('media of other servers are kept in the bucket too, and go to other servers from there', async () => {
  await using store = await S3Server.start();
  await using fleet = await startFleet(2, { mediaBucket: store.option() });
  const [a, b] = fleet.servers;
  assert.ok(a !== undefined && b !== undefined);
  await b.restart({ mediaBucket: store.option({ prefix: 'b/' }) });
  const alice = await register(a, 'alice');
  const bob = await register(b, 'bob');
  const bytes = randomBytes(200_000);
  const uri = await upload(alice, bytes);
  assert.ok((await download(bob, uri)).bytes.equals(bytes));
  const keys = [...store.objects.keys()].filter((key) => !key.endsWith('kurir-server-name'));
  assert.deepEqual(new Set(keys.map((key) => key.startsWith('b/'))), new Set([true, false]));
  assert.deepEqual([...(await filesOnDisk(a)), ...(await filesOnDisk(b))], []);
});

test('of two servers that have claimed an empty bucket at the same time one removes nothing of the other', async () => {
  await using store = await S3Server.start();
  await using server = await startServer({ mediaBucket: store.option() });
  const alice = await register(server, 'alice');
  await upload(alice, 'ours');
  store.objects.set('kurir-server-name', Buffer.from('other.test'));
  const theirs = `aa/${'a'.repeat(64)}`;
  store.objects.set(theirs, Buffer.from('theirs'));
  const { blobs } = server.ctx.media;
  await assert.rejects(blobs.sweep(new AbortController().signal), PlaceUnavailable);
  assert.ok(store.objects.has(theirs));
});

test('media_bucket says what is wrong with it', () => {
  const good = { url: 'https://s3.test/bucket', access_key_id: 'id', secret_access_key: 'key' };
  const parse = (more: object) => mediaBucketKind.parse({ ...good, ...more });
  assert.deepEqual(parse({}), {
    url: 'https://s3.test/bucket',
    region: 'us-east-1',
    accessKeyId: 'id',
    secretAccessKey: { value: 'key' },
    prefix: '',
    ca: undefined,
    newFiles: 'bucket',
  });
  assert.equal(parse({ prefix: 'a/b/' })?.prefix, 'a/b/');
  assert.equal(mediaBucketKind.parse('none'), undefined);
  const cases: [object, RegExp][] = [
    [{ url: 'ftp://s3.test' }, /url is not an address/],
    [{ prefix: '/x' }, /prefix is not a prefix such as media\//],
    [{ prefix: 'x' }, /prefix is not/],
    [{ prefix: '../x/' }, /prefix is not/],
    [{ new_files: 'cloud' }, /new_files is not bucket or disk/],
    [{ bucket: 'x' }, /unknown member bucket/],
    [{ secret_access_key: undefined }, /secret_access_key is missing/],
    [{ secret_access_key_file: '/x' }, /not both/],
  ];
  for (const [more, says] of cases) assert.throws(() => parse(more), says);
});
