import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { open, writeFile } from 'node:fs/promises';
import { createServer, get } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { FileStream } from '#storage/file-stream.ts';
import { temporaryFolder } from '#test/harness/databases.ts';

const BYTES = randomBytes(1_000_003);

/** A file of `BYTES`. */
async function file(): Promise<AsyncDisposable & { open(): ReturnType<typeof open> }> {
  const folder = await temporaryFolder();
  const path = join(folder.path, 'file');
  await writeFile(path, BYTES);
  return { open: () => open(path, 'r'), [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose]() };
}

test('a file is read whole, or the part that is asked for, and closed', async () => {
  await using at = await file();
  const ranges = [
    undefined,
    { start: 0, end: 0 },
    { start: 70_000, end: 999_999 },
    { start: 1_000_002, end: 2_000_000 },
  ];
  for (const range of ranges) {
    const handle = await at.open();
    const read = Buffer.concat(await Array.fromAsync(new FileStream(handle, range)));
    assert.ok(read.equals(BYTES.subarray(range?.start, range && range.end + 1)));
    assert.equal(handle.fd, -1);
  }
  const handle = await at.open();
  new FileStream(handle, undefined).destroy();
  while (handle.fd !== -1) await setImmediate();
});

test('all blocks go through three pieces of memory at most where whoever gets them takes them one by one', async () => {
  await using at = await file();
  const taken: Buffer[] = [];
  const memory = new Set<ArrayBufferLike>();
  const sink = new Writable({
    highWaterMark: 1,
    write: (piece: Buffer, _encoding, done) => {
      memory.add(piece.buffer);
      void setImmediate().then(() => {
        taken.push(Buffer.from(piece));
        done();
      });
    },
  });
  const stream = new FileStream(await at.open(), undefined);
  stream.reuseFor(sink);
  await pipeline(stream, sink);
  assert.ok(Buffer.concat(taken).equals(BYTES));
  assert.ok(memory.size <= 3, `there were ${memory.size}`);
});

test('what waits to be taken is not written over', async () => {
  await using at = await file();
  const taken: Buffer[] = [];
  const sink = new Writable({
    // All of the file may wait.
    highWaterMark: 2_000_000,
    write: (piece: Buffer, _encoding, done) => {
      setTimeout(() => {
        taken.push(Buffer.from(piece));
        done();
      }, 5);
    },
  });
  const stream = new FileStream(await at.open(), undefined);
  stream.reuseFor(sink);
  await pipeline(stream, sink);
  assert.ok(Buffer.concat(taken).equals(BYTES));
});

test('a client that reads slowly gets every byte as it is', async () => {
  await using at = await file();
  const server = createServer({ highWaterMark: 64 * 1_024 }, (_request, response) => {
    void at.open().then((handle) => {
      const stream = new FileStream(handle, undefined);
      stream.reuseFor(response);
      stream.pipe(response);
    });
  });
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  const { port } = server.address() as AddressInfo;
  const pieces: Buffer[] = [];
  await new Promise<void>((done, failed) => {
    get({ port, host: '127.0.0.1' }, (answer) => {
      answer.on('data', (piece: Buffer) => {
        pieces.push(piece);
        answer.pause();
        setTimeout(() => answer.resume(), 2);
      });
      answer.on('end', done).on('error', failed);
    }).on('error', failed);
  });
  server.close();
  assert.ok(Buffer.concat(pieces).equals(BYTES));
});
