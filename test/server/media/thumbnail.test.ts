import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import { test } from 'node:test';
import sharp from 'sharp';
import { register } from '#test/harness/client.ts';
import { movingPicture, picture, thumbnail, upload } from '#test/harness/media.ts';
import { startServer, type TestServer } from '#test/harness/server.ts';
import { until } from '#test/harness/until.ts';

/** A PNG of a size, with the given chunks and no pixels. */
function emptyPng(width: number, height: number): Buffer {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header[8] = 1;
  return Buffer.concat([
    Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'),
    chunk('IHDR', header),
    chunk('IDAT', Buffer.alloc(0)),
    chunk('IEND', Buffer.alloc(0)),
  ]);
}

function chunk(name: string, content: Buffer): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(content.length);
  const named = Buffer.concat([Buffer.from(name, 'latin1'), content]);
  const checksum = Buffer.alloc(4);
  checksum.writeUInt32BE(crc(named));
  return Buffer.concat([length, named, checksum]);
}

function crc(bytes: Buffer): number {
  let value = 0xffffffff;
  for (const byte of bytes) {
    value ^= byte;
    for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  }
  return (value ^ 0xffffffff) >>> 0;
}

/** A PNG that says that it moves. */
function movingPng(still: Buffer): Buffer {
  const afterHeader = 8 + 25;
  const control = chunk('acTL', Buffer.from([0, 0, 0, 2, 0, 0, 0, 0]));
  return Buffer.concat([still.subarray(0, afterHeader), control, still.subarray(afterHeader)]);
}

function hasProcess(server: TestServer): boolean {
  return server.ctx.media.thumbnails.pid !== undefined;
}

test('13.2.3: a thumbnail is no smaller than what is asked for, and of the aspect of its method', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const uri = await upload(alice, await picture(1_000, 500));
  const sizes: readonly (readonly [object, readonly [number, number]])[] = [
    [{ width: 32, height: 32, method: 'crop' }, [32, 32]],
    [{ width: 96, height: 96, method: 'crop' }, [96, 96]],
    [{ width: 97, height: 97, method: 'crop' }, [192, 192]],
    [{ width: 320, height: 240, method: 'crop' }, [320, 240]],
    [{ width: 320, height: 240, method: 'scale' }, [320, 160]],
    [{ width: 640, height: 480, method: 'scale' }, [640, 320]],
    [{ width: 800, height: 600, method: 'scale' }, [800, 400]],
    [{ width: 10, height: 10 }, [320, 160]],
    [{ width: 801, height: 600, method: 'scale' }, [1_000, 500]],
    [{ width: 5_000, height: 5_000, method: 'crop' }, [1_000, 500]],
  ];
  for (const [query, [width, height]] of sizes) {
    const got = await thumbnail(alice, uri, query as Record<string, string>);
    assert.equal(got.status, 200);
    const made = await sharp(got.bytes).metadata();
    assert.deepEqual([made.width, made.height], [width, height], JSON.stringify(query));
    assert.equal(got.headers.get('content-type'), `image/${made.format}`);
  }
});

test('13.2.3: nothing is enlarged: of an image that is smaller the thumbnail is the image itself', async () => {
  await using server = await startServer();
  const alice = await register(server);
  for (const format of ['png', 'jpeg', 'webp'] as const) {
    const bytes = await picture(20, 10, format);
    const got = await thumbnail(alice, await upload(alice, bytes), { width: 96, height: 96, method: 'crop' });
    assert.ok(got.bytes.equals(bytes), format);
    assert.equal(got.headers.get('content-type'), `image/${format}`);
  }
  const narrow = await upload(alice, await picture(50, 300));
  const got = await thumbnail(alice, narrow, { width: 96, height: 96, method: 'crop' });
  const { width, height } = await sharp(got.bytes).metadata();
  assert.deepEqual([width, height], [50, 96]);
});

test('a thumbnail is of the type of its image where that is one for it', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const types = { png: 'png', jpeg: 'jpeg', webp: 'jpeg', gif: 'png' } as const;
  for (const [format, type] of Object.entries(types)) {
    const uri = await upload(alice, await picture(400, 400, format as keyof typeof types));
    const got = await thumbnail(alice, uri, { width: 32, height: 32, method: 'crop' });
    assert.equal(got.headers.get('content-type'), `image/${type}`);
    assert.equal((await sharp(got.bytes).metadata()).format, type);
  }
});

test('a photograph is turned as its camera says, and tells nothing of where it was taken', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const photo = await sharp(await picture(800, 400, 'jpeg'))
    .withMetadata({ orientation: 6 })
    .withExif({ IFD0: { Artist: 'a secret' } })
    .toBuffer();
  const upright = await sharp(photo).withMetadata({ orientation: 6 }).toBuffer();
  const got = await thumbnail(alice, await upload(alice, upright), { width: 320, height: 240 });
  const { width, height, exif } = await sharp(got.bytes).metadata();
  assert.deepEqual([width, height, exif], [120, 240, undefined]);
});

test('animated: a moving thumbnail only where it is asked for, however small the image is', async () => {
  await using server = await startServer();
  const alice = await register(server);
  for (const format of ['gif', 'webp'] as const) {
    for (const size of [20, 400]) {
      const uri = await upload(alice, await movingPicture(size, size, format));
      const query = { width: 32, height: 32, method: 'crop' };
      for (const still of [query, { ...query, animated: false }]) {
        const got = await thumbnail(alice, uri, still);
        assert.equal((await sharp(got.bytes).metadata()).pages ?? 1, 1);
      }
      const moving = await thumbnail(alice, uri, { ...query, animated: true });
      const { pages, width } = await sharp(moving.bytes, { animated: true }).metadata();
      assert.deepEqual([pages, width], [3, Math.min(size, 32)]);
    }
  }
});

test('animated: a moving PNG is shown still, whether or not that is asked for', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const uri = await upload(alice, movingPng(await picture(20, 20)));
  for (const animated of [false, true]) {
    const got = await thumbnail(alice, uri, { width: 32, height: 32, method: 'crop', animated });
    assert.equal(got.status, 200);
    assert.equal(got.bytes.includes('acTL'), false);
    assert.equal((await sharp(got.bytes).metadata()).width, 20);
  }
});

test('what is asked for must make sense', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const uri = await upload(alice, await picture(50, 50));
  const size = { width: 32, height: 32 };
  const wrong: readonly (readonly [object, string])[] = [
    [{ width: 32 }, 'M_MISSING_PARAM'],
    [{ height: 32 }, 'M_MISSING_PARAM'],
    [{ ...size, width: 0 }, 'M_INVALID_PARAM'],
    [{ ...size, width: -1 }, 'M_INVALID_PARAM'],
    [{ ...size, width: 1.5 }, 'M_INVALID_PARAM'],
    [{ ...size, width: 'x' }, 'M_INVALID_PARAM'],
    [{ ...size, method: 'stretch' }, 'M_INVALID_PARAM'],
    [{ ...size, animated: 'yes' }, 'M_INVALID_PARAM'],
    [{ ...size, timeout_ms: 'soon' }, 'M_INVALID_PARAM'],
  ];
  for (const [query, errcode] of wrong) {
    const got = await thumbnail(alice, uri, query as Record<string, string>);
    assert.deepEqual([got.status, got.errcode], [400, errcode], JSON.stringify(query));
  }
});

test('row 67: only PNG, JPEG, GIF and WebP are decoded, whatever a file says that it is', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const svg =
    '<svg xmlns="http://www.w3.org/2000/svg" width="100" height="100"><rect width="9" height="9"/></svg>';
  const others: Record<string, Buffer | string> = {
    svg,
    pdf: '%PDF-1.4\n',
    eps: '%!PS-Adobe-3.0 EPSF-3.0\n',
    tiff: await sharp(await picture(50, 50))
      .tiff()
      .toBuffer(),
    avif: await sharp(await picture(50, 50))
      .avif()
      .toBuffer(),
    text: 'hello',
    nothing: '',
    'a png of svg': Buffer.concat([Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'), Buffer.from(svg)]),
    'a cut png': (await picture(500, 500)).subarray(0, 60),
  };
  for (const [name, bytes] of Object.entries(others)) {
    const uri = await upload(alice, bytes, { type: 'image/png', name: 'a.png' });
    const got = await thumbnail(alice, uri, { width: 32, height: 32 });
    assert.deepEqual([got.status, got.errcode], [400, 'M_UNKNOWN'], name);
  }
});

test('row 86: an image of more pixels than can be decoded is 413 M_TOO_LARGE, and costs nothing', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const bomb = await upload(alice, emptyPng(30_000, 30_000), { type: 'image/png' });
  const got = await thumbnail(alice, bomb, { width: 32, height: 32 });
  assert.deepEqual([got.status, got.errcode], [413, 'M_TOO_LARGE']);
});

test('row 58: the process that decodes may die at any time: the next thumbnail starts another', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const query = { width: 32, height: 32, method: 'crop' };
  assert.equal(hasProcess(server), false);
  await thumbnail(alice, await upload(alice, await picture(100, 100)), query);
  const { pid } = server.ctx.media.thumbnails;
  assert.ok(pid !== undefined);
  process.kill(pid, 'SIGKILL');
  await until(() => server.ctx.media.thumbnails.pid !== pid, 'that its end is noticed');
  const after = await thumbnail(alice, await upload(alice, await picture(200, 200)), query);
  assert.equal(after.status, 200);
});

test('a thumbnail is made once, and kept over a restart', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const uri = await upload(alice, await picture(100, 100));
  const query = { width: 32, height: 32, method: 'crop' };
  const all = await Promise.all(Array.from({ length: 5 }, () => thumbnail(alice, uri, query)));
  assert.equal(new Set(all.map(({ headers }) => headers.get('etag'))).size, 1);
  await server.restart();
  const again = await thumbnail(alice, uri, query);
  assert.ok(all[0]?.bytes.equals(again.bytes));
  assert.equal(hasProcess(server), false);
});

test('a thumbnail that has gone from the disk is made again', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const uri = await upload(alice, await picture(100, 100));
  const query = { width: 32, height: 32, method: 'crop' };
  const made = await thumbnail(alice, uri, query);
  await rm(server.ctx.media.blobs.pathOf(made.headers.get('etag')?.slice(1, -1) ?? ''));
  assert.equal((await thumbnail(alice, uri, query)).status, 404);
  assert.ok((await thumbnail(alice, uri, query)).bytes.equals(made.bytes));
});
