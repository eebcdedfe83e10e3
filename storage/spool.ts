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
/** What is written or read in one go; more where one text is longer. */
const AT_ONCE_BYTES = 128 * 1024;
/** In UTF-8 a unit of UTF-16 has three bytes at most, two of them for one character have four. */
const MOST_BYTES_A_UNIT = 3;

/** A text that is asked for, and where in the answer it belongs. */
interface Wanted {
  readonly number: number;
  readonly place: number;
}

export class Spool implements Disposable {
  readonly #file: number;
  /** Where each text begins; the next one begins where it ends. */
  readonly #starts = new GrowingNumbers(Float64Array);
  /** All that is written and read goes through it: a buffer for each time would be garbage outside of V8's heap. */
  #buffer: Buffer | undefined;

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
    let position = this.#starts.at(this.size);
    let filled = 0;
    for (const text of texts) {
      const most = text.length * MOST_BYTES_A_UNIT;
      if (filled > 0 && filled + most > AT_ONCE_BYTES) {
        this.#write(filled, position);
        position += filled;
        filled = 0;
      }
      filled += this.#bufferOf(filled + most).write(text, filled);
      this.#starts.push(position + filled);
    }
    this.#write(filled, position);
  }

  /** Some texts by their numbers, in the order of the numbers given. */
  read(numbers: readonly number[]): string[] {
    const texts = new Array<string>(numbers.length).fill('');
    for (const run of this.#runs(numbers)) {
      const start = this.#starts.at(run[0]?.number ?? 0);
      const bytes = this.#read(start, this.#starts.at((run.at(-1)?.number ?? 0) + 1));
      for (const { number, place } of run) {
        const at = this.#starts.at(number) - start;
        texts[place] = bytes.toString('utf8', at, at + this.lengthOf(number));
      }
    }
    return texts;
  }

  [Symbol.dispose](): void {
    fs.closeSync(this.#file);
  }

  /** The numbers in ascending order, in runs that lie close together. */
  #runs(numbers: readonly number[]): Wanted[][] {
    const runs: Wanted[][] = [];
    let run: Wanted[] = [];
    let [runStart, runEnd] = [0, 0];
    const wanted = numbers.map((number, place) => ({ number, place }));
    for (const one of wanted.sort((a, b) => a.number - b.number)) {
      const [start, end] = [this.#starts.at(one.number), this.#starts.at(one.number + 1)];
      if (runs.length === 0 || start - runEnd > GAP_BYTES || end - runStart > AT_ONCE_BYTES) {
        run = [];
        runs.push(run);
        runStart = start;
      }
      run.push(one);
      runEnd = end;
    }
    return runs;
  }

  /** The buffer, of so many bytes at least. What it holds may be lost. */
  #bufferOf(bytes: number): Buffer {
    if (this.#buffer === undefined || this.#buffer.length < bytes)
      this.#buffer = Buffer.allocUnsafeSlow(Math.max(bytes, AT_ONCE_BYTES));
    return this.#buffer;
  }

  /** Writes what the buffer begins with. */
  #write(length: number, position: number): void {
    const buffer = this.#bufferOf(length);
    for (let done = 0; done < length; ) {
      done += fs.writeSync(this.#file, buffer, done, length - done, position + done);
    }
  }

  /** These bytes of the file, in the buffer. */
  #read(start: number, end: number): Buffer {
    const buffer = this.#bufferOf(end - start);
    for (let done = 0; done < end - start; ) {
      const bytesRead = fs.readSync(this.#file, buffer, done, end - start - done, start + done);
      if (bytesRead === 0) throw new Error('a spool is cut short');
      done += bytesRead;
    }
    return buffer;
  }
}
