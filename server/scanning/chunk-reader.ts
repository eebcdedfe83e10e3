/** The chunked transfer coding, read as it comes: https://www.rfc-editor.org/rfc/rfc9112#section-7.1 */

import { ScannerFailed } from './engine.ts';

const MOST_LINE_BYTES = 4_096;
const MOST_TRAILERS = 100;
const CRLF = '\r\n';
const SIZE = /^([0-9a-f]{1,8})\s*(;.*)?$/i;

export class ChunkReader {
  readonly #onData: (part: Buffer) => void;
  #kept: Buffer = Buffer.alloc(0);
  /** What is missing of the chunk; undefined between chunks. */
  #missing: number | undefined;
  #isLast = false;
  #trailers = 0;

  constructor(onData: (part: Buffer) => void) {
    this.#onData = onData;
  }

  /** Takes what comes; true once the body is whole. @throws ScannerFailed for what is not chunked */
  take(piece: Buffer): boolean {
    let rest = this.#kept.length === 0 ? piece : Buffer.concat([this.#kept, piece]);
    this.#kept = Buffer.alloc(0);
    for (;;) {
      if (this.#missing !== undefined && this.#missing > 0) {
        const part = rest.subarray(0, this.#missing);
        if (part.length === 0) return false;
        this.#onData(part);
        this.#missing -= part.length;
        rest = rest.subarray(part.length);
        continue;
      }
      const end = rest.indexOf(CRLF);
      if (end === -1 || end > MOST_LINE_BYTES) {
        if (rest.length > MOST_LINE_BYTES) throw new ScannerFailed('its answer is not chunked');
        this.#kept = Buffer.from(rest);
        return false;
      }
      const line = rest.subarray(0, end).toString('latin1');
      rest = rest.subarray(end + CRLF.length);
      if (this.#readLine(line)) return true;
    }
  }

  /** A line between pieces of data; true for the one that ends the body. */
  #readLine(line: string): boolean {
    if (this.#isLast) {
      this.#trailers += 1;
      if (this.#trailers > MOST_TRAILERS) throw new ScannerFailed('its answer has too many trailers');
      return line === '';
    }
    if (this.#missing === 0) {
      if (line !== '') throw new ScannerFailed('its answer is not chunked');
      this.#missing = undefined;
      return false;
    }
    const digits = SIZE.exec(line)?.[1];
    if (digits === undefined) throw new ScannerFailed('its answer is not chunked');
    const size = Number.parseInt(digits, 16);
    if (size === 0) this.#isLast = true;
    else this.#missing = size;
    return false;
  }
}
