import type { FileHandle } from 'node:fs/promises';
import { Readable } from 'node:stream';
import type { ByteRange } from './blob-place.ts';

const BLOCK_BYTES = 64 * 1024;

/** Where bytes go: how many of them it was given and has not passed on yet. */
export interface Sink {
  readonly writableLength: number;
}

/**
 * A file, or a part of it, as a stream; the file is closed with it. Where it is known who gets the bytes (`reuseFor`),
 * all of them go through two or three pieces of memory: else each block is garbage, and tens of megabytes of it may lie about
 * until it is collected.
 */
export class FileStream extends Readable {
  readonly #file: FileHandle;
  #position: number;
  #left: number;
  #sink: Sink | undefined;
  /** Blocks that were handed on, the oldest first, with how much of each is used. */
  #lent: { readonly block: Buffer; readonly length: number }[] = [];
  readonly #free: Buffer[] = [];

  constructor(file: FileHandle, range: ByteRange | undefined) {
    super({ highWaterMark: BLOCK_BYTES });
    this.#file = file;
    this.#position = range?.start ?? 0;
    this.#left = range === undefined ? Number.POSITIVE_INFINITY : range.end - range.start + 1;
  }

  /** Memory is used again once its bytes wait no more in `sink`, which alone gets them and copies what it passes on. */
  reuseFor(sink: Sink): void {
    this.#sink = sink;
  }

  override _read(): void {
    this.#readBlock().then(
      (block) => this.push(block),
      (error: Error) => this.destroy(error),
    );
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#file.close().then(
      () => done(error),
      (fault: Error) => done(error ?? fault),
    );
  }

  /** Null at the end. */
  async #readBlock(): Promise<Buffer | null> {
    const wanted = Math.min(this.#left, BLOCK_BYTES);
    if (wanted === 0) return null;
    const block = this.#blockOf(wanted);
    const { bytesRead: length } = await this.#file.read(block, 0, wanted, this.#position);
    this.#position += length;
    // Of a file less comes only where it ends.
    this.#left = length < wanted ? 0 : this.#left - length;
    if (length === 0) return null;
    if (this.#sink !== undefined) this.#lent.push({ block, length });
    return block.subarray(0, length);
  }

  #blockOf(length: number): Buffer {
    if (this.#sink !== undefined) this.#takeBack(this.#sink.writableLength + this.readableLength);
    return this.#free.pop() ?? Buffer.allocUnsafeSlow(length);
  }

  /** All but the newest, of which so many bytes have not been passed on. */
  #takeBack(waiting: number): void {
    let first = this.#lent.length;
    for (let left = waiting; left > 0 && first > 0; left -= this.#lent[first]?.length ?? 0) first -= 1;
    this.#free.push(...this.#lent.splice(0, first).map(({ block }) => block));
  }
}
