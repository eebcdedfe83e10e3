import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { register } from '#test/harness/client.ts';
import { download, getBytes, partsOf, picture, thumbnail, upload } from '#test/harness/media.ts';
import { startServer } from '#test/harness/server.ts';

const POLICY =
  "sandbox; default-src 'none'; script-src 'none'; plugin-types application/pdf; style-src 'unsafe-inline'; object-src 'self';";

test('row 114: only types that run nothing are shown in place, and nothing in any of them can run', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const types = {
    'text/html': 'attachment',
    'TEXT/HTML': 'attachment',
    'text/html;x': 'attachment',
    'text/html; charset=utf-8': 'attachment',
    'image/svg+xml': 'attachment',
    'image/svg': 'attachment',
    'application/xhtml+xml': 'attachment',
    'application/javascript': 'attachment',
    'application/pdf': 'attachment',
    'image/png, text/html': 'attachment',
    nonsense: 'attachment',
    'image/png': 'inline',
    'Text/Plain; charset=utf-8': 'inline',
    'video/mp4': 'inline',
  };
  for (const [type, way] of Object.entries(types)) {
    const uri = await upload(alice, '<script>alert(1)</script>', { type, name: 'a.html' });
    for (const more of ['', '/other.html']) {
      const { headers } = await download(alice, uri, { more });
      assert.equal(headers.get('content-disposition')?.split(';')[0], way, type);
      assert.equal(headers.get('content-security-policy'), POLICY);
      assert.equal(headers.get('x-content-type-options'), 'nosniff');
      assert.equal(headers.get('cross-origin-resource-policy'), 'cross-origin');
    }
  }
  const image = await upload(alice, await picture(50, 50), { type: 'text/html' });
  const { headers } = await thumbnail(alice, image, { width: 32, height: 32 });
  assert.equal(headers.get('content-security-policy'), POLICY);
  assert.equal(headers.get('x-content-type-options'), 'nosniff');
  assert.equal(headers.get('content-type'), 'image/png');
  assert.equal(headers.get('content-disposition'), 'inline; filename="thumbnail.png"');
});

test('a file name comes back as it was given, in whatever script; the path has its own', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const names = {
    ascii: 'inline; filename="ascii"',
    'name with spaces': 'inline; filename="name with spaces"',
    'name;with;semicolons': 'inline; filename="name;with;semicolons"',
    'back\\slash "quote"': 'inline; filename="back\\\\slash \\"quote\\""',
    '\u{1f414}': "inline; filename*=utf-8''%F0%9F%90%94",
    "Grüße (1)'s.txt": "inline; filename*=utf-8''Gr%C3%BC%C3%9Fe%20%281%29%27s.txt",
    'line\r\nbreak\0': 'inline; filename="linebreak"',
  };
  const bare = await upload(alice, 'x', { type: 'text/plain' });
  assert.equal((await download(alice, bare)).headers.get('content-disposition'), 'inline');
  for (const [name, header] of Object.entries(names)) {
    const uri = await upload(alice, 'x', { type: 'text/plain', name });
    assert.equal((await download(alice, uri)).headers.get('content-disposition'), header);
    const more = `/${encodeURIComponent(name)}`;
    assert.equal((await download(alice, bare, { more })).headers.get('content-disposition'), header);
  }
});

test('a part of a file is served as RFC 9110 has it', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const uri = await upload(alice, '0123456789', { type: 'text/plain' });
  const ranges: readonly (readonly [range: string, status: number, text: string, contentRange: string])[] = [
    ['bytes=0-3', 206, '0123', 'bytes 0-3/10'],
    ['bytes=4-', 206, '456789', 'bytes 4-9/10'],
    ['bytes=-3', 206, '789', 'bytes 7-9/10'],
    ['bytes=-30', 206, '0123456789', 'bytes 0-9/10'],
    ['bytes=8-100', 206, '89', 'bytes 8-9/10'],
    ['bytes=0-1,4-5', 200, '0123456789', ''],
    ['bytes=5-2', 200, '0123456789', ''],
    ['lines=1-2', 200, '0123456789', ''],
    ['bytes=-', 200, '0123456789', ''],
  ];
  for (const [range, status, text, contentRange] of ranges) {
    const got = await download(alice, uri, { headers: { range } });
    assert.deepEqual([got.status, got.bytes.toString()], [status, text], range);
    assert.equal(got.headers.get('content-range') ?? '', contentRange, range);
    assert.equal(got.headers.get('content-length'), String(text.length));
    assert.equal(got.headers.get('accept-ranges'), 'bytes');
  }
  for (const range of ['bytes=10-', 'bytes=99-100', 'bytes=-0']) {
    const got = await download(alice, uri, { headers: { range } });
    assert.deepEqual([got.status, got.headers.get('content-range')], [416, 'bytes */10'], range);
    assert.equal(got.headers.get('content-type')?.split(';')[0], 'application/json');
    assert.equal(got.headers.get('content-disposition'), null);
  }
});

test('who has a file already is told so, and gets a part only of the same file', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const uri = await upload(alice, '0123456789', { type: 'text/plain' });
  const etag = (await download(alice, uri)).headers.get('etag') ?? '';
  assert.match(etag, /^"[0-9a-f]{64}"$/);
  for (const known of [etag, `"x", W/${etag}`, '*']) {
    const got = await download(alice, uri, { headers: { 'if-none-match': known } });
    assert.deepEqual([got.status, got.bytes.length], [304, 0]);
  }
  const same = await download(alice, uri, { headers: { range: 'bytes=0-0', 'if-range': etag } });
  assert.equal(same.status, 206);
  const other = await download(alice, uri, { headers: { range: 'bytes=0-0', 'if-range': '"other"' } });
  assert.deepEqual([other.status, other.bytes.length], [200, 10]);
});

test('row 43: what is no media id or server name is refused, however it is written, and reaches no file', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const wrong = [
    'kurir.test/%2e%2e%2f%2e%2e%2fkurir.db',
    'kurir.test/..%5ckurir.db',
    'kurir.test/a%00b',
    'kurir.test/a%2Fb',
    `kurir.test/${'a'.repeat(300)}`,
    'kurir.test/a.b',
    'kurir.test/%C3%A4',
    '..%2F..%2Fetc/passwd',
    'a%00b/abc',
    'a%2Fb/abc',
    `${'a'.repeat(300)}/abc`,
    '%20/abc',
  ];
  for (const parts of wrong) {
    for (const path of ['client/v1/media/download', 'client/v1/media/thumbnail']) {
      const full = `/_matrix/${path}/${parts}?width=32&height=32`;
      const got = await getBytes(server, full, { token: alice.accessToken });
      assert.deepEqual([got.status, got.errcode], [400, 'M_INVALID_PARAM'], full);
    }
  }
});

test('the deprecated endpoints serve nothing unless the operator turns them on', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const uri = await upload(alice, await picture(50, 50), { type: 'image/png' });
  for (const path of ['download', 'thumbnail']) {
    const full = `/_matrix/media/v3/${path}/${partsOf(uri)}?width=32&height=32`;
    for (const token of [{}, { token: alice.accessToken }]) {
      const got = await getBytes(server, full, token);
      assert.deepEqual([got.status, got.errcode], [404, 'M_NOT_FOUND']);
    }
  }
});

test('with legacy_media the deprecated endpoints serve what is here to anybody', async () => {
  await using server = await startServer({ legacyMedia: true });
  const alice = await register(server);
  const bytes = await picture(50, 50);
  const uri = await upload(alice, bytes, { type: 'image/png', name: 'a.png' });
  const base = `/_matrix/media/v3/download/${partsOf(uri)}`;
  const plain = await getBytes(server, base);
  assert.ok(plain.bytes.equals(bytes));
  const named = await getBytes(server, `${base}/b.png`);
  assert.equal(named.headers.get('content-disposition'), 'inline; filename="b.png"');
  const small = await getBytes(
    server,
    `/_matrix/media/v3/thumbnail/${partsOf(uri)}?width=32&height=32&method=crop`,
  );
  assert.equal(small.status, 200);
  const remote = await getBytes(server, '/_matrix/media/v3/download/elsewhere.test/abc');
  assert.deepEqual([remote.status, remote.errcode], [404, 'M_NOT_FOUND']);
});

test('a file that has gone from the disk is 404, and the log says so', async () => {
  const lines: string[] = [];
  await using server = await startServer({ logTo: (line) => lines.push(line) });
  const alice = await register(server);
  const uri = await upload(alice, 'x');
  await rm(join(server.ctx.config.dataDir, 'media', 'files'), { recursive: true });
  assert.equal((await download(alice, uri)).errcode, 'M_NOT_FOUND');
  assert.ok(lines.some((line) => line.includes('the file of a media is missing')));
  await upload(alice, 'y');
});
