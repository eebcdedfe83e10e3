/** What must hold of files in a bucket, of whatever store it is. */

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { performOnMedia } from '#server/cli/media-operations.ts';
import type { Config } from '#server/config-options.ts';
import { register } from '#test/harness/client.ts';
import { download, movingPicture, picture, thumbnail, upload } from '#test/harness/media.ts';
import { startServer, type TestServer } from '#test/harness/server.ts';

export type BucketOption = NonNullable<Config['mediaBucket']>;

/** The files on the disk of a server. */
export async function filesOnDisk(server: TestServer): Promise<string[]> {
  const folder = join(server.ctx.config.dataDir, 'media');
  const all = await readdir(folder, { recursive: true, withFileTypes: true });
  return all.filter((entry) => entry.isFile()).map(({ name }) => name);
}

/** What the operator's command does to a server that runs, in lines. */
export async function operate(server: TestServer, operation: { [key: string]: string }): Promise<string> {
  const outcome = await performOnMedia({ ...server.ctx, inTime: (work) => work }, operation);
  assert.ok(outcome !== undefined);
  return outcome.kind === 'done' ? outcome.lines.join('\n') : outcome.problem;
}

/** Uploads, downloads, parts, thumbnails, and moves to the disk and back. */
export async function livesInBucket(mediaBucket: BucketOption): Promise<void> {
  await using server = await startServer({ mediaBucket });
  const alice = await register(server, 'alice');
  const kept = new Map<string, Buffer>();
  for (const size of [0, 1, 70_000, 6_000_000]) {
    const bytes = randomBytes(size);
    kept.set(await upload(alice, bytes), bytes);
  }
  const all = async () => {
    for (const [uri, bytes] of kept) assert.ok((await download(alice, uri)).bytes.equals(bytes));
    const [uri = '', bytes] = [...kept].at(-1) ?? [];
    const part = await download(alice, uri, { headers: { range: 'bytes=1000000-2000000' } });
    assert.ok(part.status === 206 && bytes?.subarray(1_000_000, 2_000_001).equals(part.bytes));
    const beyond = await download(alice, uri, { headers: { range: 'bytes=6000000-' } });
    assert.deepEqual([beyond.status, beyond.errcode], [416, 'M_INVALID_PARAM']);
  };
  await all();
  const photo = await upload(alice, await picture(400, 300, 'jpeg'), { type: 'image/jpeg' });
  const moving = await upload(alice, await movingPicture(400, 300, 'gif'), { type: 'image/gif' });
  const small = { width: 96, height: 96, method: 'crop' };
  for (const round of [1, 2]) {
    const made = await thumbnail(alice, photo, { ...small, animated: true });
    assert.deepEqual([made.status, made.headers.get('content-type')], [200, 'image/jpeg'], `round ${round}`);
    const animated = await thumbnail(alice, moving, { ...small, animated: true });
    assert.deepEqual([animated.status, animated.headers.get('content-type')], [200, 'image/webp']);
  }
  assert.deepEqual(await filesOnDisk(server), []);
  const count = kept.size + 4;
  const said = await operate(server, { operation: 'media.move', to: 'disk' });
  assert.match(said, new RegExp(`^Files moved to the disk: ${count} \\(`));
  assert.equal((await filesOnDisk(server)).length, count);
  await all();
  await server.restart({ mediaBucket: { ...mediaBucket, newFiles: 'disk' } });
  await all();
  kept.set(await upload(alice, 'on the disk'), Buffer.from('on the disk'));
  assert.equal((await filesOnDisk(server)).length, count + 1);
  await server.restart({ mediaBucket });
  await operate(server, { operation: 'media.move', to: 'bucket' });
  assert.deepEqual(await filesOnDisk(server), []);
  assert.match(
    await operate(server, { operation: 'media.move', to: 'bucket' }),
    /^Files moved to the bucket: 0 /,
  );
  kept.delete([...kept.keys()].at(-1) ?? '');
  await all();
}
