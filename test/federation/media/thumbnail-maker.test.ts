import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { ThumbnailMaker } from '#federation/media/thumbnail-maker.ts';
import { until } from '#test/harness/until.ts';

const program = fileURLToPath(new URL('./hostile-decoder.ts', import.meta.url));
const variant = { width: 32, height: 32, method: 'crop', animated: false } as const;

function job(path: string) {
  return { path, type: 'image/png', variant } as const;
}

const harms = ['dies', 'answers a page', 'answers no bytes', 'answers nothing known'];

for (const harm of harms) {
  test(`a decoder that ${harm} fails its own image only`, async () => {
    using maker = new ThumbnailMaker({ program });
    assert.deepEqual(await maker.make(job(harm)), { kind: 'failed' });
    assert.deepEqual(await maker.make(job('fine')), { kind: 'original' });
  });
}

test('the size of an image is told where it can be one, and is no thumbnail', async () => {
  using maker = new ThumbnailMaker({ program });
  const measure = (path: string) => maker.measure({ path, type: 'image/png' });
  assert.deepEqual(await measure('measures'), { kind: 'measured', width: 7, height: 5 });
  for (const harm of [...harms, 'measures nothing', 'fine']) assert.equal(await measure(harm), undefined);
  assert.deepEqual(await maker.make(job('measures')), { kind: 'failed' });
});

test('a decoder that hangs is ended, and those who wait behind it get theirs', async () => {
  using maker = new ThumbnailMaker({ program, timeoutMs: 1_500 });
  // The first start takes its time on a busy machine.
  await until(async () => (await maker.make(job('fine'))).kind === 'original');
  const { pid } = maker;
  const all = ['hangs', 'fine'].map((path) => maker.make(job(path)));
  assert.deepEqual((await Promise.all(all))[0], { kind: 'failed' });
  assert.notEqual(maker.pid, pid);
  await until(async () => (await maker.make(job('fine'))).kind === 'original', 'that another one is there');
});

test('a decoder that takes all memory is ended by the kernel', {
  skip: process.platform === 'linux' ? false : 'needs the limits of Linux',
}, async () => {
  using maker = new ThumbnailMaker({ program });
  assert.deepEqual(await maker.make(job('takes all memory')), { kind: 'failed' });
  assert.deepEqual(await maker.make(job('fine')), { kind: 'original' });
});

test('a decoder knows nothing of the environment of the server', async () => {
  process.env.KURIR_TEST_SECRET = 'secret';
  using maker = new ThumbnailMaker({ program });
  assert.deepEqual(await maker.make(job('looks at the environment')), { kind: 'unsupported' });
});

test('a maker that is closed starts nothing more, and its process is gone', async () => {
  const maker = new ThumbnailMaker({ program });
  await maker.make(job('fine'));
  const { pid } = maker;
  assert.ok(pid !== undefined);
  maker[Symbol.dispose]();
  assert.deepEqual(await maker.make(job('fine')), { kind: 'failed' });
  await until(() => {
    try {
      return !process.kill(pid, 0);
    } catch {
      return true;
    }
  }, 'that the process is gone');
});
