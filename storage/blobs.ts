/**
 * Files by the SHA-256 of what is in them, so that the same bytes are stored once.
 *
 * 1. `receive` writes what comes to `incoming/`, and hashes it on the way.
 * 2. `keep` brings it to disk, moves it to `files/ab/abcd...`, and lets the caller note it in the database.
 * 3. A file that nothing in the database names is removed: at once where the note fails, later by `sweep` where the
 *    process died in between. All that happens to one file happens one after the other.
 */

import { createHash, randomBytes } from 'node:crypto';
import { type FileHandle, mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { KeyedQueue } from './locks.ts';

/** The disk is full, or the process may not write as much. Nothing was kept. */
export class NoSpace extends Error {
  override readonly name = 'NoSpace';
}

/** Bytes that were received and are not kept yet: disposing of it removes them. */
export interface ReceivedFile extends AsyncDisposable {
  /** In lower-case hex. */
  readonly sha256: string;
  readonly size: number;
  readonly path: string;
}

export type Received =
  | { readonly kind: 'received'; readonly file: ReceivedFile }
  | { readonly kind: 'too_large' };

/** Which of the files something in the database names. */
export type ReferencedFiles = (files: readonly string[]) => Promise<ReadonlySet<string>>;

const BLOCK_BYTES = 64 * 1024;
const SHA256 = /^[0-9a-f]{64}$/;
const FULL: ReadonlySet<unknown> = new Set(['ENOSPC', 'EDQUOT', 'EFBIG']);
const SWEPT_AT_ONCE = 500;

export class Blobs {
  readonly #folder: string;
  readonly #referenced: ReferencedFiles;
  /** One thing at a time for each file. */
  readonly #turns = new KeyedQueue();

  private constructor(folder: string, referenced: ReferencedFiles) {
    this.#folder = folder;
    this.#referenced = referenced;
  }

  /** Opens the folder, which is made where it is missing. What an earlier process did not finish receiving goes. */
  static async open(folder: string, referenced: ReferencedFiles): Promise<Blobs> {
    await rm(join(folder, 'incoming'), { recursive: true, force: true });
    for (const name of ['incoming', 'files'])
      await mkdir(join(folder, name), { recursive: true, mode: 0o700 });
    return new Blobs(folder, referenced);
  }

  /**
   * Takes bytes as they come, at most `maxBytes`. What the body fails with is passed on, and leaves nothing behind.
   *
   * @throws NoSpace
   */
  async receive(body: AsyncIterable<Uint8Array>, maxBytes: number): Promise<Received> {
    const path = join(this.#folder, 'incoming', randomBytes(16).toString('hex'));
    const remove = () => rm(path, { force: true });
    try {
      const taken = await this.#write(path, body, maxBytes);
      if (taken !== undefined) {
        return { kind: 'received', file: { ...taken, path, [Symbol.asyncDispose]: remove } };
      }
    } catch (error) {
      await remove();
      throw asNoSpace(error);
    }
    await remove();
    return { kind: 'too_large' };
  }

  /**
   * Keeps what was received, and calls `note`, which names it in the database. Where that does not come to pass the
   * file goes.
   *
   * @throws NoSpace, and what `note` throws
   */
  async keep<T>(file: ReceivedFile, note: () => Promise<T>): Promise<T> {
    return this.#turns.run(file.sha256, async () => {
      const path = this.pathOf(file.sha256);
      try {
        await this.#moveTo(path, file.path);
        return await note();
      } catch (error) {
        throw asNoSpace(error);
      } finally {
        await this.#removeUnnamed(file.sha256);
      }
    });
  }

  /** A file, to be closed by the caller; undefined where it is missing. */
  async open(sha256: string): Promise<FileHandle | undefined> {
    try {
      return await open(this.pathOf(sha256), 'r');
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw error;
    }
  }

  /** Where a file is, for a program that reads it. */
  pathOf(sha256: string): string {
    return blobPath(this.#folder, sha256);
  }

  /** Removes files that nothing names any more. */
  async release(files: Iterable<string>): Promise<void> {
    // One after the other: they are few, and each waits for its turn.
    for (const sha256 of files) await this.#turns.run(sha256, () => this.#removeUnnamed(sha256));
  }

  /** Removes all files that nothing names, a folder at a time; answers how many. */
  async sweep(signal: AbortSignal): Promise<number> {
    let removed = 0;
    for (const part of await readdir(join(this.#folder, 'files'))) {
      const names = (await readdir(join(this.#folder, 'files', part))).filter((name) => SHA256.test(name));
      for (let at = 0; at < names.length && !signal.aborted; at += SWEPT_AT_ONCE) {
        const some = names.slice(at, at + SWEPT_AT_ONCE);
        // In portions: there may be many.
        const named = await this.#referenced(some);
        const unnamed = some.filter((name) => !named.has(name));
        await this.release(unnamed);
        removed += unnamed.length;
      }
    }
    return removed;
  }

  async #write(
    path: string,
    body: AsyncIterable<Uint8Array>,
    maxBytes: number,
  ): Promise<{ sha256: string; size: number } | undefined> {
    await using file = await open(path, 'wx', 0o600);
    const hash = createHash('sha256');
    // Small pieces are gathered: each write costs the same, however little it writes.
    const block = Buffer.allocUnsafe(BLOCK_BYTES);
    let [size, gathered] = [0, 0];
    const flush = async (): Promise<void> => {
      await file.writeFile(block.subarray(0, gathered));
      gathered = 0;
    };
    for await (const piece of body) {
      size += piece.length;
      if (size > maxBytes) return undefined;
      hash.update(piece);
      if (gathered + piece.length > BLOCK_BYTES) await flush();
      if (piece.length > BLOCK_BYTES) {
        await file.writeFile(piece);
      } else {
        block.set(piece, gathered);
        gathered += piece.length;
      }
    }
    await flush();
    await file.datasync();
    return { sha256: hash.digest('hex'), size };
  }

  /** The bytes are on disk already: then the name is, before anything says that they are here. */
  async #moveTo(path: string, from: string): Promise<void> {
    const folder = join(path, '..');
    const made = await mkdir(folder, { recursive: true, mode: 0o700 });
    await rename(from, path);
    await syncFolder(folder);
    if (made !== undefined) await syncFolder(join(folder, '..'));
  }

  async #removeUnnamed(sha256: string): Promise<void> {
    const named = await this.#referenced([sha256]);
    if (!named.has(sha256)) await rm(this.pathOf(sha256), { force: true });
  }
}

/** Where a file is in a folder of files. */
export function blobPath(folder: string, sha256: string): string {
  if (!SHA256.test(sha256)) throw new Error('not the name of a file');
  return join(folder, 'files', sha256.slice(0, 2), sha256);
}

async function syncFolder(path: string): Promise<void> {
  await using folder = await open(path, 'r');
  await folder.sync();
}

function asNoSpace(error: unknown): unknown {
  const isFull = error instanceof Error && 'code' in error && FULL.has(error.code);
  return isFull ? new NoSpace('there is no space for a file', { cause: error }) : error;
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT';
}
