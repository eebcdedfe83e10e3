/** Files in a folder, as `files/ab/abcd...`. */

import { mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { type BlobPlace, type ByteRange, blobKey, isBlobName, type LocalFile } from './blob-place.ts';
import { FileStream } from './file-stream.ts';

const NAMES_AT_ONCE = 500;

export class DiskPlace implements BlobPlace {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Where a file is, for a program that reads it. */
  pathOf(sha256: string): string {
    return blobPath(this.#folder, sha256);
  }

  /** The bytes are on disk already: then the name is, before anything says that they are here. */
  async put({ sha256, path: from }: LocalFile): Promise<void> {
    const path = this.pathOf(sha256);
    const folder = join(path, '..');
    const made = await mkdir(folder, { recursive: true, mode: 0o700 });
    await rename(from, path);
    await syncFolder(folder);
    if (made !== undefined) await syncFolder(join(folder, '..'));
  }

  async read(sha256: string, range?: ByteRange): Promise<Readable | undefined> {
    const file = await whereThere(open(this.pathOf(sha256), 'r'));
    return file && new FileStream(file, range);
  }

  async sizeOf(sha256: string): Promise<number | undefined> {
    return (await whereThere(stat(this.pathOf(sha256))))?.size;
  }

  async remove(sha256: string): Promise<void> {
    await rm(this.pathOf(sha256), { force: true });
  }

  async *names(): AsyncGenerator<readonly string[]> {
    for (const part of await readdir(join(this.#folder, 'files'))) {
      // A folder at a time: there may be many files.
      const names = (await readdir(join(this.#folder, 'files', part))).filter(isBlobName);
      for (let at = 0; at < names.length; at += NAMES_AT_ONCE) yield names.slice(at, at + NAMES_AT_ONCE);
    }
  }
}

/** Where a file is in a folder of files. */
export function blobPath(folder: string, sha256: string): string {
  return join(folder, 'files', blobKey(sha256));
}

async function syncFolder(path: string): Promise<void> {
  await using folder = await open(path, 'r');
  await folder.sync();
}

/** Undefined where there is no such file. */
async function whereThere<T>(asked: Promise<T>): Promise<T | undefined> {
  try {
    return await asked;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
}
