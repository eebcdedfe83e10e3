import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { test } from 'node:test';
import { Spool } from '#storage/spool.ts';

test('texts come back by their numbers, in the order asked for, whatever their length', async () => {
  await using spool = await Spool.open();
  await spool.append(['', 'a', 'ü😀']);
  const long = 'x'.repeat(3_000_000);
  await spool.append([long, 'last']);
  assert.equal(spool.size, 5);
  assert.deepEqual(await spool.read([4, 3, 0, 2, 4, 1]), ['last', long, '', 'ü😀', 'last', 'a']);
  assert.equal(spool.lengthOf(2), 6);
  assert.deepEqual(await spool.read([]), []);
});

test('the file of a spool has no name while it is open', async () => {
  const before = new Set(await readdir(tmpdir()));
  await using spool = await Spool.open();
  await spool.append(['secret']);
  const added = (await readdir(tmpdir())).filter((name) => name.startsWith('kurir-') && !before.has(name));
  for (const name of added) {
    const files = await readdir(`${tmpdir()}/${name}`).catch((): string[] => []);
    assert.equal(files.includes('spool'), false);
  }
  assert.deepEqual(await spool.read([0]), ['secret']);
});
