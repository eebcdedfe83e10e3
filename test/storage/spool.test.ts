import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { test } from 'node:test';
import { Spool } from '#storage/spool.ts';
import { temporaryFolder } from '#test/harness/databases.ts';

test('texts come back by their numbers, in the order asked for, whatever their length', async () => {
  using spool = new Spool();
  spool.append(['', 'a', 'ü😀']);
  const long = 'x'.repeat(3_000_000);
  spool.append([long, 'last']);
  assert.equal(spool.size, 5);
  assert.deepEqual(spool.read([4, 3, 0, 2, 4, 1]), ['last', long, '', 'ü😀', 'last', 'a']);
  assert.equal(spool.lengthOf(2), 6);
  assert.deepEqual(spool.read([]), []);
});

test('the file of a spool has no name while it is open', async () => {
  const { TMPDIR: given } = process.env;
  await using folder = await temporaryFolder();
  // Where nobody else makes files.
  process.env.TMPDIR = folder.path;
  try {
    assert.equal(tmpdir(), folder.path);
    using spool = new Spool();
    spool.append(['secret']);
    assert.deepEqual(await readdir(folder.path), []);
    assert.deepEqual(spool.read([0]), ['secret']);
  } finally {
    if (given === undefined) delete process.env.TMPDIR;
    else process.env.TMPDIR = given;
  }
});
