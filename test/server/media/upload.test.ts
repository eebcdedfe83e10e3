import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { register, request, type TestClient } from '#test/harness/client.ts';
import { download, partsOf, upload } from '#test/harness/media.ts';
import { startServer, type TestServer } from '#test/harness/server.ts';
import { until } from '#test/harness/until.ts';

/** The names of the files that are stored, and of those that are being received. */
async function filesOf(server: TestServer): Promise<{ kept: string[]; incoming: string[] }> {
  const folder = join(server.ctx.config.dataDir, 'media');
  const all = await readdir(join(folder, 'files'), { recursive: true });
  const incoming = await readdir(join(folder, 'incoming'));
  return { kept: all.filter((name) => name.includes('/')), incoming };
}

function put(client: TestClient, uri: string, body: Uint8Array | string, type = 'text/plain') {
  return request(client.server, 'PUT', `/_matrix/media/v3/upload/${partsOf(uri)}`, {
    body,
    token: client.accessToken,
    headers: { 'content-type': type },
  });
}

test('what is uploaded is downloaded byte for byte, with its type and name, also after a restart', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const bytes = randomBytes(3_000_000);
  const uri = await upload(alice, bytes, { type: 'img/png', name: 'a "quoted" name.png' });
  assert.match(uri, /^mxc:\/\/kurir\.test\/[A-Za-z0-9_-]{24}$/);
  for (let round = 0; round < 2; round++) {
    const got = await download(alice, uri);
    assert.equal(got.status, 200);
    assert.ok(got.bytes.equals(bytes));
    assert.equal(got.headers.get('content-type'), 'img/png');
    assert.equal(got.headers.get('content-disposition'), 'attachment; filename="a \\"quoted\\" name.png"');
    assert.equal(got.headers.get('content-length'), '3000000');
    await server.restart();
  }
});

test('an upload of nothing, without a type or a length, is an upload', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const path = '/_matrix/media/v3/upload';
  const empty = await alice.try('POST', path);
  assert.equal(empty.status, 200);
  const got = await download(alice, empty.body.content_uri);
  assert.deepEqual([got.status, got.bytes.length], [200, 0]);
  assert.equal(got.headers.get('content-type'), 'application/octet-stream');

  const streamed = await fetch(`${server.clientUrl}${path}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${alice.accessToken}`, 'content-type': 'what' },
    body: ReadableStream.from([Buffer.from('one '), Buffer.from('two')]),
    duplex: 'half',
  } as RequestInit);
  const { content_uri: uri } = (await streamed.json()) as { content_uri: string };
  const text = await download(alice, uri);
  assert.equal(text.bytes.toString(), 'one two');
  assert.equal(text.headers.get('content-type'), 'application/octet-stream');
});

test('the same bytes are stored once, under as many ids as they were uploaded', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const bob = await register(server);
  const uris = await Promise.all([upload(alice, 'same'), upload(bob, 'same'), upload(bob, 'same')]);
  assert.equal(new Set(uris).size, 3);
  assert.equal((await filesOf(server)).kept.length, 1);
  for (const uri of uris) assert.equal((await download(alice, uri)).bytes.toString(), 'same');
});

test('13.2: a file over max_upload_size is refused with 413 M_TOO_LARGE, and one of just that size is not', async () => {
  await using server = await startServer({ maxUploadSize: 100_000 });
  const alice = await register(server);
  assert.equal((await alice.get('/_matrix/client/v1/media/config'))['m.upload.size'], 100_000);
  assert.equal((await alice.get('/_matrix/media/v3/config'))['m.upload.size'], 100_000);
  await upload(alice, Buffer.alloc(100_000, 1));
  const over = await alice.try('POST', '/_matrix/media/v3/upload', Buffer.alloc(100_001, 2));
  assert.deepEqual([over.status, over.body.errcode], [413, 'M_TOO_LARGE']);
  const unannounced = await fetch(`${server.clientUrl}/_matrix/media/v3/upload`, {
    method: 'POST',
    headers: { authorization: `Bearer ${alice.accessToken}` },
    body: ReadableStream.from([Buffer.alloc(70_000), Buffer.alloc(70_000)]),
    duplex: 'half',
  } as RequestInit);
  assert.equal(unannounced.status, 413);
  const { kept, incoming } = await filesOf(server);
  assert.deepEqual([kept.length, incoming.length], [1, 0]);
});

test('13.2: a user who has used up the quota gets 403 M_FORBIDDEN, others do not', async () => {
  await using server = await startServer({ userMediaQuota: 1_000 });
  const alice = await register(server);
  const bob = await register(server);
  await upload(alice, Buffer.alloc(600, 1));
  const over = await alice.try('POST', '/_matrix/media/v3/upload', Buffer.alloc(401, 2));
  assert.deepEqual([over.status, over.body.errcode], [403, 'M_FORBIDDEN']);
  await upload(alice, Buffer.alloc(400, 3));
  await upload(bob, Buffer.alloc(600, 4));
  assert.equal((await filesOf(server)).kept.length, 3);
});

test('users together upload no more than media_quota, what was there before it included', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const bob = await register(server);
  await upload(alice, Buffer.alloc(600, 1));
  await server.restart({ mediaQuota: 1_000 });
  const answers = await Promise.all(
    [2, 3, 4].map((fill) => bob.try('POST', '/_matrix/media/v3/upload', Buffer.alloc(300, fill))),
  );
  assert.deepEqual(answers.map(({ status }) => status).sort(), [200, 403, 403]);
  const over = await alice.try('POST', '/_matrix/media/v3/upload', Buffer.alloc(101, 5));
  assert.deepEqual([over.status, over.body.errcode], [403, 'M_FORBIDDEN']);
  await upload(alice, Buffer.alloc(100, 6));
});

test('many uploads at once do not get over the quota together', async () => {
  await using server = await startServer({ userMediaQuota: 1_000 });
  const alice = await register(server);
  const answers = await Promise.all(
    Array.from({ length: 8 }, (_, at) =>
      alice.try('POST', '/_matrix/media/v3/upload', Buffer.alloc(400, at)),
    ),
  );
  assert.equal(answers.filter(({ status }) => status === 200).length, 2);
  assert.equal((await filesOf(server)).kept.length, 2);
});

test('whoever is not signed in cannot upload, reserve or read the limits', async () => {
  await using server = await startServer();
  const asked = [
    ['POST', '/_matrix/media/v3/upload'],
    ['POST', '/_matrix/media/v1/create'],
    ['PUT', '/_matrix/media/v3/upload/kurir.test/abc'],
    ['GET', '/_matrix/media/v3/config'],
    ['GET', '/_matrix/client/v1/media/config'],
    ['GET', '/_matrix/client/v1/media/download/kurir.test/abc'],
    ['GET', '/_matrix/client/v1/media/download/kurir.test/abc/name'],
    ['GET', '/_matrix/client/v1/media/thumbnail/kurir.test/abc?width=1&height=1'],
  ] as const;
  for (const [method, path] of asked) {
    const answer = await request(server, method, path, method === 'GET' ? {} : { body: '{}' });
    assert.deepEqual([answer.status, answer.body.errcode], [401, 'M_MISSING_TOKEN'], path);
  }
});

test('F7: an upload that is cut off leaves no file and no row', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const { hostname, port } = new URL(server.clientUrl);
  for (const sent of [0, 1, 200_000]) {
    const socket = connect(Number(port), hostname);
    socket.write(
      `POST /_matrix/media/v3/upload HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${alice.accessToken}\r\n` +
        'Content-Type: text/plain\r\nContent-Length: 300000\r\n\r\n',
    );
    socket.write(Buffer.alloc(sent, 7));
    await until(async () => (await filesOf(server)).incoming.length === 1, 'that the upload begins');
    socket.destroy();
    await until(async () => (await filesOf(server)).incoming.length === 0, 'that what came of it goes');
  }
  assert.deepEqual(await filesOf(server), { kept: [], incoming: [] });
});

test('an id is reserved, and what is uploaded to it is there for everybody who waits', {
  // Shorter than the download waits by itself.
  timeout: 55_000,
}, async () => {
  await using server = await startServer();
  const alice = await register(server);
  const bob = await register(server);
  const { content_uri: uri, unused_expires_at: expires } = await alice.post('/_matrix/media/v1/create');
  assert.ok(expires > Date.now() + 23 * 3_600_000);
  const waiting = download(bob, uri, { more: '?timeout_ms=60000' });
  const answer = await put(alice, uri, 'at last');
  assert.deepEqual([answer.status, answer.body], [200, {}]);
  const got = await waiting;
  assert.deepEqual([got.status, got.bytes.toString()], [200, 'at last']);
});

test('what is not uploaded in time is 504 M_NOT_YET_UPLOADED, on every way to it', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const { content_uri: uri } = await alice.post('/_matrix/media/v1/create');
  for (const path of ['download', 'thumbnail']) {
    const full = `/_matrix/client/v1/media/${path}/${partsOf(uri)}?timeout_ms=20&width=32&height=32`;
    const answer = await alice.try('GET', full);
    assert.deepEqual([answer.status, answer.body.errcode], [504, 'M_NOT_YET_UPLOADED']);
  }
});

test('an id takes one upload, by the user who reserved it', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const bob = await register(server);
  const { content_uri: uri } = await alice.post('/_matrix/media/v1/create');
  const stranger = await put(bob, uri, 'mine');
  assert.deepEqual([stranger.status, stranger.body.errcode], [403, 'M_FORBIDDEN']);
  const both = await Promise.all([put(alice, uri, 'first'), put(alice, uri, 'second')]);
  assert.deepEqual(both.map(({ status }) => status).sort(), [200, 409]);
  const again = await put(alice, uri, 'third');
  assert.deepEqual([again.status, again.body.errcode], [409, 'M_CANNOT_OVERWRITE_MEDIA']);
  const plain = await upload(alice, 'plain');
  assert.equal((await put(alice, plain, 'over it')).status, 409);
  for (const wrong of ['mxc://kurir.test/neverReserved', 'mxc://other.test/abc']) {
    const answer = await put(alice, wrong, 'x');
    assert.deepEqual([answer.status, answer.body.errcode], [404, 'M_NOT_FOUND']);
  }
  assert.equal((await filesOf(server)).kept.length, 2);
});

test('a reserved id that is not used in a day is forgotten', async () => {
  const clock = { time: Date.now(), now: () => clock.time };
  await using server = await startServer({ clock });
  const alice = await register(server);
  const { content_uri: uri } = await alice.post('/_matrix/media/v1/create');
  clock.time += 24 * 3_600_000;
  const late = await put(alice, uri, 'too late');
  assert.deepEqual([late.status, late.body.errcode], [404, 'M_NOT_FOUND']);
  assert.equal((await download(alice, uri)).errcode, 'M_NOT_FOUND');
});

test('a user reserves no more than 50 ids at once: 429 M_LIMIT_EXCEEDED', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const uris: string[] = [];
  for (let count = 0; count < 50; count++)
    uris.push((await alice.post('/_matrix/media/v1/create')).content_uri);
  const over = await alice.try('POST', '/_matrix/media/v1/create', {});
  assert.deepEqual([over.status, over.body.errcode], [429, 'M_LIMIT_EXCEEDED']);
  await put(alice, uris[0] ?? '', 'used');
  await alice.post('/_matrix/media/v1/create');
});

test('uploads are limited by user, as other things are', async () => {
  await using server = await startServer({ rateLimits: true });
  const alice = await register(server);
  const answers = await Promise.all(
    Array.from({ length: 70 }, () => alice.try('POST', '/_matrix/media/v3/upload', 'x')),
  );
  assert.ok(answers.some(({ status, body }) => status === 429 && body.errcode === 'M_LIMIT_EXCEEDED'));
});
