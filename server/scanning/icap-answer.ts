/** Answers of ICAP servers, read as they come: https://www.rfc-editor.org/rfc/rfc3507#section-4.4 */

import { createHash } from 'node:crypto';
import { ChunkReader } from './chunk-reader.ts';
import { ScannerFailed } from './engine.ts';

export interface IcapAnswer {
  readonly status: number;
  /** By their names in small letters. */
  readonly headers: ReadonlyMap<string, string>;
  /** Of the HTTP answer in it, where it has one. */
  readonly httpStatus: number | undefined;
  /** Of the body in it, in hex, where it has one. */
  readonly bodySha256: string | undefined;
}

interface Head {
  readonly status: number;
  readonly headers: ReadonlyMap<string, string>;
}

/** What an answer holds: how many bytes of HTTP headers, and whether a body follows. */
interface Parts {
  readonly headerBytes: number;
  readonly httpAnswerAt: number | undefined;
  readonly hasBody: boolean;
}

const MOST_HEADER_BYTES = 64 * 1_024;
const END_OF_HEADERS = '\r\n\r\n';
const STATUS_LINE = /^ICAP\/1\.\d (\d{3})\b/;
const HTTP_STATUS_LINE = /^HTTP\/1\.\d (\d{3})\b/;
const CONTINUE = 100;

export class IcapAnswerReader {
  readonly #onContinue: () => void;
  readonly #hash = createHash('sha256');
  #kept: Buffer = Buffer.alloc(0);
  #head: (Head & Parts) | undefined;
  #httpStatus: number | undefined;
  #body: ChunkReader | undefined;

  /** `onContinue` is called where the server wants what follows the preview. */
  constructor(onContinue: () => void) {
    this.#onContinue = onContinue;
  }

  /** Takes what comes; answers the answer once it is whole. @throws ScannerFailed for what is none */
  take(piece: Buffer): IcapAnswer | undefined {
    if (this.#body !== undefined) return this.#takeBody(this.#body, piece);
    this.#kept = Buffer.concat([this.#kept, piece]);
    this.#readHead();
    const head = this.#head;
    if (head === undefined || this.#kept.length < head.headerBytes) {
      if (this.#kept.length > MOST_HEADER_BYTES)
        throw new ScannerFailed('the headers of its answer are too long');
      return undefined;
    }
    if (head.httpAnswerAt !== undefined) {
      const text = this.#kept.subarray(head.httpAnswerAt, head.headerBytes).toString('latin1');
      this.#httpStatus = Number(HTTP_STATUS_LINE.exec(text)?.[1]);
    }
    if (!head.hasBody) return this.#whole(head);
    this.#body = new ChunkReader((part) => this.#hash.update(part));
    return this.#takeBody(this.#body, this.#kept.subarray(head.headerBytes));
  }

  #readHead(): void {
    while (this.#head === undefined) {
      const end = this.#kept.indexOf(END_OF_HEADERS);
      if (end === -1) return;
      const head = headOf(this.#kept.subarray(0, end).toString('latin1'));
      this.#kept = this.#kept.subarray(end + END_OF_HEADERS.length);
      // "The ICAP client MUST then send the rest", and another answer comes.
      if (head.status === CONTINUE) this.#onContinue();
      else this.#head = { ...head, ...partsOf(head) };
    }
  }

  #takeBody(body: ChunkReader, piece: Buffer): IcapAnswer | undefined {
    const isWhole = body.take(piece);
    return isWhole && this.#head !== undefined ? this.#whole(this.#head) : undefined;
  }

  #whole({ status, headers, hasBody }: Head & Parts): IcapAnswer {
    const bodySha256 = hasBody ? this.#hash.digest('hex') : undefined;
    return { status, headers, httpStatus: this.#httpStatus, bodySha256 };
  }
}

function headOf(text: string): Head {
  const [first = '', ...lines] = text.split('\r\n');
  const status = STATUS_LINE.exec(first)?.[1];
  if (status === undefined) throw new ScannerFailed('its answer is not ICAP');
  const headers = new Map<string, string>();
  let last = '';
  for (const line of lines) {
    const isFolded = /^[ \t]/.test(line);
    const colon = line.indexOf(':');
    if (!isFolded) last = line.slice(0, Math.max(colon, 0)).trim().toLowerCase();
    const value = isFolded ? `${headers.get(last) ?? ''} ${line.trim()}` : line.slice(colon + 1).trim();
    if (last !== '') headers.set(last, value);
  }
  return { status: Number(status), headers };
}

/** RFC 3507, 4.4.1: the `Encapsulated` header says where each part begins; the body is the last one. */
function partsOf({ status, headers }: Head): Parts {
  const encapsulated = headers.get('encapsulated') ?? '';
  const parts = new Map<string, number>();
  for (const part of encapsulated.split(',', 8)) {
    const [, name, offset] = /^\s*([a-z-]+)=(\d{1,6})\s*$/.exec(part.toLowerCase()) ?? [];
    if (name !== undefined) parts.set(name, Number(offset));
  }
  const bodyAt = parts.get('res-body') ?? parts.get('req-body') ?? parts.get('opt-body');
  const headerBytes = bodyAt ?? parts.get('null-body') ?? 0;
  if (headerBytes > MOST_HEADER_BYTES) throw new ScannerFailed('the headers of its answer are too long');
  // "204" has no body, whatever it says.
  if (status === 204) return { headerBytes: 0, httpAnswerAt: undefined, hasBody: false };
  return { headerBytes, httpAnswerAt: parts.get('res-hdr'), hasBody: bodyAt !== undefined };
}
