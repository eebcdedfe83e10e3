/**
 * Files by the SHA-256 of what is in them, so that the same bytes are stored once.
 *
 * 1. `receive` writes what comes to `incoming/`, and hashes it on the way.
 * 2. `keep` brings it to its place, on the disk or in the bucket, and lets the caller note it in the database.
 * 3. A file that nothing in the database names is removed: at once where the note fails, later by `sweep` where the
 *    process died in between. All that happens to one file happens one after the other.
 *
 * Where there is a bucket, files may be on the disk and in the bucket: a file is looked for on the disk first.
 */

import { createHash, randomBytes } from 'node:crypto';
import { mkdir, open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { Lanes } from '#keys/lanes.ts';
import { type BlobPlace, type ByteRange, type LocalFile, NoSpace, PlaceUnavailable } from './blob-place.ts';
import { DiskPlace } from './disk-place.ts';
import { KeyedQueue } from './locks.ts';

/** Bytes that were received and are not kept yet: disposing of it removes them. */
export interface ReceivedFile extends LocalFile, AsyncDisposable {}

export type Received =
  | { readonly kind: 'received'; readonly file: ReceivedFile }
  | { readonly kind: 'too_large' };

/** Which of the files something in the database names. */
export type ReferencedFiles = (files: readonly string[]) => Promise<ReadonlySet<string>>;

/** A place of files on another machine, and whether new files go there. */
export interface Bucket {
  readonly place: BlobPlace;
  readonly takesNew: boolean;
}

/** What became of files that were to be moved; `damaged`: not what their name says, and left where they are. */
export interface Moved {
  readonly count: number;
  readonly bytes: number;
  readonly damaged: number;
}

const BLOCK_BYTES = 64 * 1024;
const FULL: ReadonlySet<unknown> = new Set(['ENOSPC', 'EDQUOT', 'EFBIG']);
const MOVED_AT_ONCE = 8;
/** Copies of files for programs that read them, at once: each takes space on the disk. */
const COPIES_AT_ONCE = 2;
const MOST_COPIES_WAITING = 200;

export class Blobs {
  readonly #folder: string;
  readonly #referenced: ReferencedFiles;
  readonly #disk: DiskPlace;
  readonly #bucket: Bucket | undefined;
  /** One thing at a time for each file. */
  readonly #turns = new KeyedQueue();
  readonly #copies = new Lanes(COPIES_AT_ONCE, MOST_COPIES_WAITING);

  private constructor(
    folder: string,
    referenced: ReferencedFiles,
    places: { disk: DiskPlace; bucket: Bucket | undefined },
  ) {
    this.#folder = folder;
    this.#referenced = referenced;
    this.#disk = places.disk;
    this.#bucket = places.bucket;
  }

  /** Opens the folder, which is made where it is missing. What an earlier process did not finish receiving goes. */
  static async open(folder: string, referenced: ReferencedFiles, bucket?: Bucket): Promise<Blobs> {
    await rm(join(folder, 'incoming'), { recursive: true, force: true });
    for (const name of ['incoming', 'files'])
      await mkdir(join(folder, name), { recursive: true, mode: 0o700 });
    return new Blobs(folder, referenced, { disk: new DiskPlace(folder), bucket });
  }

  get hasBucket(): boolean {
    return this.#bucket !== undefined;
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
   * @throws NoSpace, PlaceUnavailable, and what `note` throws
   */
  async keep<T>(file: ReceivedFile, note: () => Promise<T>): Promise<T> {
    return this.#turns.run(file.sha256, async () => {
      try {
        await (this.#bucket?.takesNew ? this.#bucket.place : this.#disk).put(file);
        return await note();
      } catch (error) {
        throw asNoSpace(error);
      } finally {
        await this.#removeUnnamed(file.sha256);
      }
    });
  }

  /**
   * A file, or a part of it, as it comes; undefined where it is missing. The caller reads or destroys it.
   *
   * @throws PlaceUnavailable
   */
  async read(sha256: string, range?: ByteRange): Promise<Readable | undefined> {
    const local = await this.#disk.read(sha256, range);
    if (local !== undefined || this.#bucket === undefined) return local;
    // The disk again: it may just have been moved there.
    return (await this.#bucket.place.read(sha256, range)) ?? (await this.#disk.read(sha256, range));
  }

  /** The first bytes of a file; undefined where it is missing. */
  async start(sha256: string, length: number): Promise<Buffer | undefined> {
    const bytes = await this.read(sha256, { start: 0, end: length - 1 });
    return bytes && Buffer.concat(await Array.fromAsync(bytes));
  }

  /** The size of a file in bytes; undefined where it is missing. */
  async sizeOf(sha256: string): Promise<number | undefined> {
    return (await this.#disk.sizeOf(sha256)) ?? (await this.#bucket?.place.sizeOf(sha256));
  }

  /**
   * Hands a program the path of a file, on the disk: of a copy where it is in the bucket. Undefined where the file is
   * missing.
   *
   * @throws LanesFull, NoSpace, PlaceUnavailable, and what `use` throws
   */
  async withPath<T>(sha256: string, use: (path: string) => Promise<T>): Promise<T | undefined> {
    if (this.#bucket === undefined || (await this.#disk.sizeOf(sha256)) !== undefined) {
      return use(this.#disk.pathOf(sha256));
    }
    return this.#copies.run(async () => {
      const bytes = await this.read(sha256);
      const copy = bytes && (await this.receive(bytes, Number.POSITIVE_INFINITY));
      if (copy?.kind !== 'received') return undefined;
      await using file = copy.file;
      return await use(file.path);
    });
  }

  /** Where a file is on the disk. */
  pathOf(sha256: string): string {
    return this.#disk.pathOf(sha256);
  }

  /** Removes files that nothing names any more. */
  async release(files: Iterable<string>): Promise<void> {
    // One after the other: they are few, and each waits for its turn.
    for (const sha256 of files) await this.#turns.run(sha256, () => this.#removeUnnamed(sha256));
  }

  /** Removes all files that nothing names, some at a time; answers how many. */
  async sweep(signal: AbortSignal): Promise<number> {
    let removed = 0;
    const places = [this.#disk, this.#bucket?.place].filter((place) => place !== undefined);
    for (const place of places) {
      for await (const names of place.names()) {
        if (signal.aborted) return removed;
        const named = await this.#referenced(names);
        const unnamed = names.filter((name) => !named.has(name));
        await this.release(unnamed);
        removed += unnamed.length;
      }
    }
    return removed;
  }

  /**
   * Moves all files from the disk to the bucket, or back. Each is whole in the new place before it goes in the old one,
   * so that this may end at any point and begin again.
   *
   * @throws NoSpace, PlaceUnavailable
   */
  async move(
    to: 'disk' | 'bucket',
    signal: AbortSignal,
    report: (moved: Moved) => void = () => undefined,
  ): Promise<Moved> {
    if (this.#bucket === undefined) throw new Error('there is no bucket');
    const [target, source] =
      to === 'bucket' ? [this.#bucket.place, this.#disk] : [this.#disk, this.#bucket.place];
    let [count, bytes, damaged] = [0, 0, 0];
    for await (const names of source.names()) {
      if (signal.aborted) break;
      for (let at = 0; at < names.length && !signal.aborted; at += MOVED_AT_ONCE) {
        const some = names.slice(at, at + MOVED_AT_ONCE);
        // In portions: a few at once hide how long each takes to arrive.
        const sizes = await Promise.all(some.map((name) => this.#moveOne(name, source, target)));
        for (const size of sizes) {
          if (size === 'damaged') damaged += 1;
          else if (size !== undefined) [count, bytes] = [count + 1, bytes + size];
        }
      }
      report({ count, bytes, damaged });
    }
    return { count, bytes, damaged };
  }

  async #moveOne(
    sha256: string,
    source: BlobPlace,
    target: BlobPlace,
  ): Promise<number | 'damaged' | undefined> {
    return this.#turns.run(sha256, async () => {
      const content = await source.read(sha256);
      if (content === undefined) return undefined;
      const copy = await this.receive(content, Number.POSITIVE_INFINITY);
      if (copy.kind !== 'received') return 'damaged';
      await using file = copy.file;
      if (file.sha256 !== sha256) return 'damaged';
      try {
        await target.put(file);
      } catch (error) {
        throw asNoSpace(error);
      }
      await source.remove(sha256);
      return file.size;
    });
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

  async #removeUnnamed(sha256: string): Promise<void> {
    const named = await this.#referenced([sha256]);
    if (named.has(sha256)) return;
    await this.#disk.remove(sha256);
    try {
      await this.#bucket?.place.remove(sha256);
    } catch (error) {
      // What cannot be reached now is taken by a later sweep.
      if (!(error instanceof PlaceUnavailable)) throw error;
    }
  }
}

function asNoSpace(error: unknown): unknown {
  const isFull = error instanceof Error && 'code' in error && FULL.has(error.code);
  return isFull ? new NoSpace('there is no space for a file', { cause: error }) : error;
}
