/**
 * Texts that are too many for memory and of no use after a restart: a temporary file that has no name, so that it is
 * gone with the process, however that ends. As with the database, what is read and written at once is little, and nearly
 * always in the system's memory: a turn of a thread pool for it takes ten times as long.
 */

import fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { GrowingNumbers } from './growing-numbers.ts';

/** Texts that lie nearer to each other than this are read in one go. */
const GAP_BYTES = 8 * 1024;
const READ_BYTES = 1024 * 1024;

export class Spool implements Disposable {
  readonly #file: number;
  /** Where each text begins; the next one begins where it ends. */
  readonly #starts = new GrowingNumbers();

  constructor() {
    const folder = fs.mkdtempSync(join(tmpdir(), 'kurir-'));
    try {
      this.#file = fs.openSync(join(folder, 'spool'), 'wx+', 0o600);
    } finally {
      fs.rmSync(folder, { recursive: true });
    }
    this.#starts.push(0);
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
  append(texts: readonly string[]): void {
    const from = this.#starts.at(this.size);
    let end = from;
    for (const text of texts) {
      end += Buffer.byteLength(text);
      this.#starts.push(end);
    }
    writeWhole(this.#file, Buffer.from(texts.join('')), from);
  }

  /** Some texts by their numbers, in the order of the numbers given. */
  read(numbers: readonly number[]): string[] {
    const texts = new Map<number, string>();
    for (const run of this.#runs(numbers)) {
      const start = this.#starts.at(run[0] ?? 0);
      const end = this.#starts.at((run.at(-1) ?? 0) + 1);
      const bytes = readWhole(this.#file, start, end);
      for (const number of run) {
        const at = this.#starts.at(number) - start;
        texts.set(number, bytes.toString('utf8', at, at + this.lengthOf(number)));
      }
    }
    return numbers.map((number) => texts.get(number) ?? '');
  }

  [Symbol.dispose](): void {
    fs.closeSync(this.#file);
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

function writeWhole(file: number, bytes: Buffer, position: number): void {
  for (let done = 0; done < bytes.length; ) {
    done += fs.writeSync(file, bytes, done, bytes.length - done, position + done);
  }
}

function readWhole(file: number, start: number, end: number): Buffer {
  const bytes = Buffer.allocUnsafe(end - start);
  for (let done = 0; done < bytes.length; ) {
    const bytesRead = fs.readSync(file, bytes, done, bytes.length - done, start + done);
    if (bytesRead === 0) throw new Error('a spool is cut short');
    done += bytesRead;
  }
  return bytes;
}
