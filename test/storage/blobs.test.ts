import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { Blobs } from '#storage/blobs.ts';
import { temporaryFolder } from '#test/harness/databases.ts';

const never = new AbortController().signal;

interface Scene extends AsyncDisposable {
  readonly blobs: Blobs;
  readonly path: string;
  /** What the database would name. */
  readonly named: Set<string>;
}

async function scene(): Promise<Scene> {
  const folder = await temporaryFolder();
  const named = new Set<string>();
  const blobs = await Blobs.open(folder.path, async (files) => new Set(files).intersection(named));
  return { blobs, path: folder.path, named, [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose]() };
}

async function* piecesOf(bytes: Buffer, size: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

function sha256(bytes: Buffer | string): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** Stores bytes, and names them. */
async function store({ blobs, named }: Pick<Scene, 'blobs' | 'named'>, bytes: Buffer): Promise<string> {
  const received = await blobs.receive(piecesOf(bytes, 10_000), bytes.length);
  assert.ok(received.kind === 'received');
  await blobs.keep(received.file, async () => named.add(received.file.sha256));
  return received.file.sha256;
}

async function filesIn(path: string): Promise<string[]> {
  const all = await readdir(path, { recursive: true, withFileTypes: true });
  return all.filter((entry) => entry.isFile()).map(({ name }) => name);
}

test('bytes are stored under their hash, in whatever pieces they come', async () => {
  await using at = await scene();
  for (const size of [1, 63, 65_536, 65_537, 200_000]) {
    const bytes = randomBytes(size === 1 ? 1_000 : 200_000);
    const received = await at.blobs.receive(piecesOf(bytes, size), bytes.length);
    assert.ok(received.kind === 'received');
    const { file } = received;
    assert.deepEqual([file.sha256, file.size], [sha256(bytes), bytes.length]);
    await at.blobs.keep(file, async () => at.named.add(file.sha256));
    assert.ok((await readFile(at.blobs.pathOf(file.sha256))).equals(bytes));
  }
  assert.deepEqual(await readdir(join(at.path, 'incoming')), []);
});

test('what is not kept goes: given up, too large, broken off, or not noted', async () => {
  await using at = await scene();
  const given = await at.blobs.receive(piecesOf(Buffer.from('abc'), 1), 3);
  assert.ok(given.kind === 'received');
  await given.file[Symbol.asyncDispose]();
  assert.deepEqual(await at.blobs.receive(piecesOf(Buffer.from('abcd'), 1), 3), { kind: 'too_large' });
  async function* broken(): AsyncGenerator<Buffer> {
    yield Buffer.from('abc');
    throw new Error('broken off');
  }
  await assert.rejects(at.blobs.receive(broken(), 10), /broken off/);
  const unnoted = await at.blobs.receive(piecesOf(Buffer.from('abc'), 1), 3);
  assert.ok(unnoted.kind === 'received');
  const failing = at.blobs.keep(unnoted.file, () => Promise.reject(new Error('no row')));
  await assert.rejects(failing, /no row/);
  assert.equal(await at.blobs.read(unnoted.file.sha256), undefined);
  assert.deepEqual(await filesIn(at.path), []);
});

test('a note that fails takes no file away that something else names', async () => {
  await using at = await scene();
  const name = await store(at, Buffer.from('shared'));
  const again = await at.blobs.receive(piecesOf(Buffer.from('shared'), 6), 6);
  assert.ok(again.kind === 'received');
  await assert.rejects(at.blobs.keep(again.file, () => Promise.reject(new Error('no row'))));
  assert.deepEqual(await filesIn(at.path), [name]);
});

test('a file that is released goes once nothing names it, and not before', async () => {
  await using at = await scene();
  const name = await store(at, Buffer.from('released'));
  await at.blobs.release([name]);
  assert.deepEqual(await filesIn(at.path), [name]);
  at.named.delete(name);
  await at.blobs.release([name, sha256('never stored')]);
  assert.deepEqual(await filesIn(at.path), []);
});

test('bytes that are stored again while their file is released are there in the end', async () => {
  await using folder = await temporaryFolder();
  const bytes = Buffer.from('again');
  const name = sha256(bytes);
  const named = new Set<string>();
  // Says what was true when it was asked, after a while in which much can happen.
  const blobs = await Blobs.open(folder.path, async (files) => {
    const answer = new Set(files).intersection(named);
    for (let turn = 0; turn < 2_000; turn++) await readdir(folder.path);
    return answer;
  });
  await store({ blobs, named }, bytes);
  named.delete(name);
  const again = await blobs.receive(piecesOf(bytes, 5), 5);
  assert.ok(again.kind === 'received');
  await Promise.all([blobs.release([name]), blobs.keep(again.file, async () => named.add(name))]);
  assert.deepEqual(await filesIn(folder.path), [name]);
});

test('a crash between the file and its row leaves nothing for long', async () => {
  await using at = await scene();
  const kept = await store(at, Buffer.from('kept'));
  const orphan = sha256('orphan');
  await mkdir(join(at.path, 'files', orphan.slice(0, 2)), { recursive: true });
  await writeFile(at.blobs.pathOf(orphan), 'orphan');
  await writeFile(join(at.path, 'incoming', 'half'), 'half');
  const reopened = await Blobs.open(at.path, async (files) => new Set(files).intersection(at.named));
  assert.deepEqual(await readdir(join(at.path, 'incoming')), []);
  assert.equal(await reopened.sweep(never), 1);
  assert.deepEqual(await filesIn(at.path), [kept]);
});

test('nothing but a hash is the name of a file', async () => {
  await using at = await scene();
  for (const name of ['', '../kurir.db', 'A'.repeat(64), 'a'.repeat(63), `${'a'.repeat(64)}\n`]) {
    assert.throws(() => at.blobs.pathOf(name), /not the name of a file/);
  }
});
