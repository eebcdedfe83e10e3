/**
 * Texts that are too many for memory and of no use after a restart: a temporary file that has no name, so that it is
 * gone with the process, however that ends.
 */

import type { FileHandle } from 'node:fs/promises';
import { mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { GrowingNumbers } from './growing-numbers.ts';

/** Texts that lie nearer to each other than this are read in one go. */
const GAP_BYTES = 8 * 1024;
const READ_BYTES = 1024 * 1024;

export class Spool implements AsyncDisposable {
  readonly #file: FileHandle;
  /** Where each text begins; the next one begins where it ends. */
  readonly #starts = new GrowingNumbers();

  private constructor(file: FileHandle) {
    this.#file = file;
    this.#starts.push(0);
  }

  static async open(): Promise<Spool> {
    const folder = await mkdtemp(join(tmpdir(), 'kurir-'));
    try {
      return new Spool(await open(join(folder, 'spool'), 'wx+', 0o600));
    } finally {
      await rm(folder, { recursive: true });
    }
  }

  /** How many texts there are: they are numbered from 0. */
  get size(): number {
    return this.#starts.length - 1;
  }

  /** The length of a text in bytes. */
  lengthOf(number: number): number {
    return this.#starts.at(number + 1) - this.#starts.at(number);
  }

  /** Appends texts, which get the next numbers. */
  async append(texts: readonly string[]): Promise<void> {
    const from = this.#starts.at(this.size);
    let end = from;
    for (const text of texts) {
      end += Buffer.byteLength(text);
      this.#starts.push(end);
    }
    await writeWhole(this.#file, Buffer.from(texts.join('')), from);
  }

  /** Some texts by their numbers, in the order of the numbers given. */
  async read(numbers: readonly number[]): Promise<string[]> {
    const texts = new Map<number, string>();
    for (const run of this.#runs(numbers)) {
      const start = this.#starts.at(run[0] ?? 0);
      const end = this.#starts.at((run.at(-1) ?? 0) + 1);
      // One after the other: each is as much as should be in memory at once.
      const bytes = await readWhole(this.#file, start, end);
      for (const number of run) {
        const at = this.#starts.at(number) - start;
        texts.set(number, bytes.toString('utf8', at, at + this.lengthOf(number)));
      }
    }
    return numbers.map((number) => texts.get(number) ?? '');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file.close();
  }

  /** The numbers in ascending order, in runs that lie close together. */
  #runs(numbers: readonly number[]): number[][] {
    const runs: number[][] = [];
    for (const number of [...new Set(numbers)].sort((a, b) => a - b)) {
      const run = runs.at(-1);
      const [first, last] = [run?.[0], run?.at(-1)];
      const [start, end] = [this.#starts.at(number), this.#starts.at(number + 1)];
      const isNear = last !== undefined && start - this.#starts.at(last + 1) <= GAP_BYTES;
      if (isNear && end - this.#starts.at(first ?? 0) <= READ_BYTES) run?.push(number);
      else runs.push([number]);
    }
    return runs;
  }
}

async function writeWhole(file: FileHandle, bytes: Buffer, position: number): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const { bytesWritten } = await file.write(bytes, done, bytes.length - done, position + done);
    done += bytesWritten;
  }
}

async function readWhole(file: FileHandle, start: number, end: number): Promise<Buffer> {
  const bytes = Buffer.allocUnsafe(end - start);
  for (let done = 0; done < bytes.length; ) {
    const { bytesRead } = await file.read(bytes, done, bytes.length - done, start + done);
    if (bytesRead === 0) throw new Error('a spool is cut short');
    done += bytesRead;
  }
  return bytes;
}
