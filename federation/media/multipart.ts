/**
 * The `multipart/mixed` body in which servers hand media to each other, read and written while it streams: a JSON
 * object first, then the file or where it is. RFC 2046, section 5.1.
 * https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1mediadownloadmediaid
 */

import { randomBytes } from 'node:crypto';

/** A body that is not as it should be. The message says how. */
export class MultipartFault extends Error {
  override readonly name = 'MultipartFault';
}

/** The headers of a part, by their names in lower case. */
export type PartHeaders = ReadonlyMap<string, string>;

const MAX_HEADER_BYTES = 16 * 1024;
/** "Describes the media's metadata, if any. Currently, this will always be an empty object." */
const MAX_METADATA_BYTES = 64 * 1024;
/** Before the first delimiter, where there should be nothing. */
const MAX_PREAMBLE_BYTES = 16 * 1024;
/** A body that is read to its end leaves a connection that can be used again. */
const MAX_EPILOGUE_BYTES = 16 * 1024;
const BOUNDARY = /;\s*boundary\s*=\s*(?:"([^"\\]{1,70})"|([^\s";]{1,70})(?=[\s;]|$))/i;
const MULTIPART = /^multipart\/mixed\s*;/i;
const CRLF = '\r\n';

/** The boundary in a `Content-Type` header; undefined where it is not that of a `multipart/mixed` body. */
export function boundaryOf(contentType: string): string | undefined {
  if (!MULTIPART.test(contentType)) return undefined;
  const [, quoted, plain] = BOUNDARY.exec(contentType) ?? [];
  return quoted ?? plain;
}

/**
 * Reads a body of two parts, and hands the second one on. What follows that is not looked at: where a delimiter ends
 * a file, the file is whole.
 *
 * @throws MultipartFault, what the body fails with, and what `take` throws
 */
export async function readMediaParts<T>(
  body: AsyncIterable<Buffer>,
  boundary: string,
  take: (headers: PartHeaders, bytes: AsyncIterable<Buffer>) => Promise<T>,
): Promise<T> {
  const reader = new PartReader(body, boundary);
  if (!(await reader.nextPart(MAX_PREAMBLE_BYTES))) throw new MultipartFault('there is no part');
  await reader.readHeaders();
  const metadata = await reader.readUpTo(MAX_METADATA_BYTES);
  if (metadata === undefined) throw new MultipartFault('the first part is too long');
  if (!(await reader.nextPart(0))) throw new MultipartFault('there is no second part');
  const taken = await take(await reader.readHeaders(), reader.bytes());
  // The answer is read to its end, or its connection could not be used again; what stands there means nothing.
  await reader.skip(MAX_EPILOGUE_BYTES);
  return taken;
}

/** What stands around a file whose `size` is known, and the header that names the boundary. */
export interface MultipartFrame {
  readonly contentType: string;
  readonly head: Buffer;
  readonly tail: Buffer;
}

/**
 * The frame of a file. Some readers take what follows the last empty line for the file: none comes after its headers.
 */
export function multipartFrame(file: {
  readonly contentType: string;
  readonly disposition: string;
}): MultipartFrame {
  const boundary = randomBytes(24).toString('hex');
  const head = [
    `--${boundary}`,
    'Content-Type: application/json',
    '',
    '{}',
    `--${boundary}`,
    `Content-Type: ${file.contentType}`,
    `Content-Disposition: ${file.disposition}`,
    '',
    '',
  ].join(CRLF);
  return {
    contentType: `multipart/mixed; boundary=${boundary}`,
    head: Buffer.from(head),
    tail: Buffer.from(`${CRLF}--${boundary}--${CRLF}`),
  };
}

/** Reads parts from a body, with no more of it in memory than a piece and a delimiter. */
class PartReader {
  readonly #pieces: AsyncIterator<Buffer>;
  readonly #delimiter: Buffer;
  /** What was read and not used. A delimiter at the very beginning has no line before it that could end. */
  #rest: Buffer = Buffer.from(CRLF);

  constructor(body: AsyncIterable<Buffer>, boundary: string) {
    this.#pieces = body[Symbol.asyncIterator]();
    this.#delimiter = Buffer.from(`${CRLF}--${boundary}`);
  }

  /** Goes past the next delimiter, before which there are at most `maxBytes`; false where it ends the body. */
  async nextPart(maxBytes: number): Promise<boolean> {
    if ((await this.readUpTo(maxBytes)) === undefined) throw new MultipartFault('there is no delimiter');
    this.#rest = this.#rest.subarray(this.#delimiter.length);
    await this.#fill(2);
    if (this.#rest.toString('latin1', 0, 2) === '--') return false;
    const padding = await this.#line();
    if (padding.trim() !== '') throw new MultipartFault('something follows a delimiter');
    return true;
  }

  /** The headers of the part. */
  async readHeaders(): Promise<PartHeaders> {
    const headers = new Map<string, string>();
    let left = MAX_HEADER_BYTES;
    for (;;) {
      // Line by line, up to the empty one.
      const line = await this.#line();
      if (line === '') {
        await this.#giveBackLineEnd();
        return headers;
      }
      left -= line.length;
      if (left < 0) throw new MultipartFault('the headers are too long');
      const colon = line.indexOf(':');
      if (colon > 0) headers.set(line.slice(0, colon).trim().toLowerCase(), line.slice(colon + 1).trim());
    }
  }

  /** The rest of the part, up to its delimiter; undefined where it is longer than `maxBytes`. */
  async readUpTo(maxBytes: number): Promise<Buffer | undefined> {
    const pieces: Buffer[] = [];
    let length = 0;
    for await (const piece of this.bytes()) {
      length += piece.length;
      if (length > maxBytes) return undefined;
      pieces.push(piece);
    }
    return Buffer.concat(pieces);
  }

  /** The bytes of the part, up to its delimiter. */
  async *bytes(): AsyncGenerator<Buffer> {
    for (;;) {
      const at = this.#rest.indexOf(this.#delimiter);
      if (at >= 0) {
        if (at > 0) yield this.#rest.subarray(0, at);
        this.#rest = this.#rest.subarray(at);
        return;
      }
      // Its beginning may be the end of what is here.
      const sure = this.#rest.length - this.#delimiter.length + 1;
      if (sure > 0) {
        yield this.#rest.subarray(0, sure);
        this.#rest = this.#rest.subarray(sure);
      }
      if (!(await this.#more())) throw new MultipartFault('a part does not end');
    }
  }

  /** Reads on to the end of the body, for at most `maxBytes`. */
  async skip(maxBytes: number): Promise<void> {
    for (let skipped = 0; skipped <= maxBytes; skipped += this.#rest.length) {
      this.#rest = Buffer.alloc(0);
      if (!(await this.#more())) return;
    }
  }

  /** Of a part that has headers only, the empty line is the beginning of the delimiter. */
  async #giveBackLineEnd(): Promise<void> {
    const start = this.#delimiter.subarray(CRLF.length);
    while (this.#rest.length < start.length && (await this.#more()));
    if (this.#rest.subarray(0, start.length).equals(start)) {
      this.#rest = Buffer.concat([Buffer.from(CRLF), this.#rest]);
    }
  }

  async #line(): Promise<string> {
    for (;;) {
      const end = this.#rest.indexOf(CRLF);
      if (end > MAX_HEADER_BYTES || (end < 0 && this.#rest.length > MAX_HEADER_BYTES)) {
        throw new MultipartFault('a line is too long');
      }
      if (end >= 0) {
        const line = this.#rest.toString('utf8', 0, end);
        this.#rest = this.#rest.subarray(end + CRLF.length);
        return line;
      }
      if (!(await this.#more())) throw new MultipartFault('a line does not end');
    }
  }

  async #fill(bytes: number): Promise<void> {
    while (this.#rest.length < bytes) {
      if (!(await this.#more())) throw new MultipartFault('a delimiter does not end');
    }
  }

  async #more(): Promise<boolean> {
    const { done, value } = await this.#pieces.next();
    if (done === true) return false;
    this.#rest = this.#rest.length === 0 ? value : Buffer.concat([this.#rest, value]);
    return true;
  }
}
