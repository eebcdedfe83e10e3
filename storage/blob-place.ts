/** Where files are: `disk-place.ts` on the disk, `federation/media/bucket.ts` in a bucket of another machine. */

import type { Readable } from 'node:stream';

/** There is no space left where files are kept, or the process may not write as much. Nothing was kept. */
export class NoSpace extends Error {
  override readonly name = 'NoSpace';
}

/** The other machine on which files are does not answer, or refuses. Nothing was kept, and nothing lost. */
export class PlaceUnavailable extends Error {
  override readonly name = 'PlaceUnavailable';
}

/** A part of a file, its first and last byte. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

/** A whole file on the disk of this machine, that is to be kept. */
export interface LocalFile {
  /** In lower-case hex. */
  readonly sha256: string;
  readonly size: number;
  readonly path: string;
}

/** All of it may throw `PlaceUnavailable` where the place is on another machine. */
export interface BlobPlace {
  /**
   * Keeps a file: once it resolves the bytes outlive a loss of power. The local file may be gone afterwards.
   *
   * @throws NoSpace
   */
  put(file: LocalFile): Promise<void>;
  /** A file, or a part of it, as it comes; undefined where it is missing. The caller reads or destroys it. */
  read(sha256: string, range?: ByteRange): Promise<Readable | undefined>;
  /** In bytes; undefined where it is missing. */
  sizeOf(sha256: string): Promise<number | undefined>;
  /** Removes a file, if it is there. */
  remove(sha256: string): Promise<void>;
  /** The names of all files, some at a time. */
  names(): AsyncIterable<readonly string[]>;
}

const SHA256 = /^[0-9a-f]{64}$/;

/** True for the name of a file: the SHA-256 of what is in it, in lower-case hex. */
export function isBlobName(name: string): boolean {
  return SHA256.test(name);
}

/** Where a file is within its place: `ab/abcd...`. */
export function blobKey(sha256: string): string {
  if (!isBlobName(sha256)) throw new Error('not the name of a file');
  return `${sha256.slice(0, 2)}/${sha256}`;
}
