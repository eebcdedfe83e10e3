/**
 * Scanners behind ICAP: https://www.rfc-editor.org/rfc/rfc3507
 *
 * 1. `OPTIONS` says which method the service takes, how much of a file it wants to see first, and by `ISTag` which
 *    signatures it knows.
 * 2. The file is sent as the body of an HTTP answer (`RESPMOD`), or of a request where the service takes only those
 *    (`REQMOD`): first the preview, and the rest where the service asks for it.
 * 3. "204 No modifications needed" says that it is clean. What changes the file, or has a header that tells of malware,
 *    says that it is infected. Some services send the file back in place of a 204: the same bytes are clean.
 */

import { createHash, type Hash } from 'node:crypto';
import { connect, isIP, type Socket } from 'node:net';
import { connect as connectTls, getCACertificates } from 'node:tls';
import { cleanName, type EngineAnswer, type ScanEngine, type ScannedBytes, ScannerFailed } from './engine.ts';
import { exchange } from './exchange.ts';
import { type IcapAnswer, IcapAnswerReader } from './icap-answer.ts';
import { hostText } from './scanner-address.ts';

export interface IcapWhere {
  readonly protocol: 'icap' | 'icaps';
  readonly host: string;
  readonly port: number;
  readonly service: string;
  /** PEM: who may have signed the service's certificate, besides those that are always believed. */
  readonly ca: string | undefined;
}

/** What the service says of itself. */
interface Service {
  readonly method: 'RESPMOD' | 'REQMOD';
  /** How many bytes it wants to see first. */
  readonly preview: number | undefined;
  readonly version: string;
}

const MOST_PREVIEW = 64 * 1_024;
const HTTP_REQUEST = 'GET http://matrix/media HTTP/1.1\r\nHost: matrix\r\n\r\n';
const LAST_CHUNK = Buffer.from('0\r\n\r\n');
/** "ieof": the preview was the whole body. */
const LAST_CHUNK_OF_ALL = Buffer.from('0; ieof\r\n\r\n');
const CRLF = Buffer.from('\r\n');
const THREAT_HEADERS = ['x-infection-found', 'x-virus-id', 'x-virus-name', 'x-violations-found'];

export class Icap implements ScanEngine {
  readonly #where: IcapWhere;
  #service: Service | undefined;

  constructor(where: IcapWhere) {
    this.#where = where;
  }

  async version(signal: AbortSignal): Promise<string> {
    this.#service = await this.#askService(signal);
    return this.#service.version;
  }

  async scan({ size, pieces }: ScannedBytes, signal: AbortSignal): Promise<EngineAnswer> {
    const service = this.#service ?? (await this.#askService(signal));
    const sent = createHash('sha256');
    const wanted = Promise.withResolvers<boolean>();
    const reader = new IcapAnswerReader(() => wanted.resolve(true));
    const send = this.#modification(service, {
      size,
      pieces: hashed(pieces, sent),
      isWanted: wanted.promise,
    });
    try {
      const answer = await exchange({ ...this.#exchange(signal), send, take: (piece) => reader.take(piece) });
      return verdictOf(answer, sent);
    } finally {
      // Nobody waits any more to send the rest.
      wanted.resolve(false);
    }
  }

  async #askService(signal: AbortSignal): Promise<Service> {
    const reader = new IcapAnswerReader(() => undefined);
    const send = one(`${this.#requestLine('OPTIONS')}Encapsulated: null-body=0\r\n\r\n`);
    const answer = await exchange({ ...this.#exchange(signal), send, take: (piece) => reader.take(piece) });
    if (answer.status !== 200) throw new ScannerFailed(`it answers ${answer.status} to OPTIONS`);
    const methods = (answer.headers.get('methods') ?? '').toUpperCase().split(/[\s,]+/, 8);
    const method = methods.includes('RESPMOD') ? 'RESPMOD' : 'REQMOD';
    if (!methods.includes(method)) throw new ScannerFailed('it has neither RESPMOD nor REQMOD');
    const preview = answer.headers.get('preview');
    return {
      method,
      preview:
        preview !== undefined && /^\d{1,9}$/.test(preview)
          ? Math.min(Number(preview), MOST_PREVIEW)
          : undefined,
      version: cleanName(answer.headers.get('istag') ?? answer.headers.get('service') ?? 'unknown'),
    };
  }

  /** A request with the file as its body. */
  async *#modification(
    { method, preview }: Service,
    body: ScannedBytes & { readonly isWanted: Promise<boolean> },
  ): AsyncGenerator<Buffer> {
    const http = httpHeaders(method, body.size);
    const previewed = preview === undefined ? '' : `Preview: ${Math.min(preview, body.size)}\r\n`;
    yield Buffer.from(
      `${this.#requestLine(method)}Allow: 204\r\n${previewed}Encapsulated: ${http.encapsulated}\r\n\r\n${http.text}`,
    );
    let left = preview ?? Number.POSITIVE_INFINITY;
    for await (const piece of body.pieces) {
      const first = piece.subarray(0, left);
      yield* chunk(first);
      left -= first.length;
      if (first.length === piece.length) continue;
      yield LAST_CHUNK;
      if (!(await body.isWanted)) return;
      left = Number.POSITIVE_INFINITY;
      yield* chunk(piece.subarray(first.length));
    }
    // Where the rest was asked for, or no preview announced, the body ends as any other.
    yield left === Number.POSITIVE_INFINITY ? LAST_CHUNK : LAST_CHUNK_OF_ALL;
  }

  #requestLine(method: string): string {
    const { host, port, service } = this.#where;
    const authority = `${hostText(host)}:${port}`;
    return `${method} icap://${authority}${service} ICAP/1.0\r\nHost: ${authority}\r\nUser-Agent: Kurir\r\nConnection: close\r\n`;
  }

  #exchange(signal: AbortSignal): { readonly open: () => Socket; readonly signal: AbortSignal } {
    return { open: () => this.#open(), signal };
  }

  #open(): Socket {
    const { protocol, host, port, ca } = this.#where;
    if (protocol === 'icap') return connect({ host, port, noDelay: true });
    return connectTls({
      ...{ host, port, minVersion: 'TLSv1.2' },
      ...(isIP(host) === 0 && { servername: host }),
      ...(ca !== undefined && { ca: [...getCACertificates('default'), ca] }),
    });
  }
}

function httpHeaders(
  method: Service['method'],
  size: number,
): { readonly text: string; readonly encapsulated: string } {
  const about = `Content-Type: application/octet-stream\r\nContent-Length: ${size}\r\n\r\n`;
  if (method === 'REQMOD') {
    const text = `POST http://matrix/media HTTP/1.1\r\nHost: matrix\r\n${about}`;
    return { text, encapsulated: `req-hdr=0, req-body=${text.length}` };
  }
  const text = `${HTTP_REQUEST}HTTP/1.1 200 OK\r\n${about}`;
  return { text, encapsulated: `req-hdr=0, res-hdr=${HTTP_REQUEST.length}, res-body=${text.length}` };
}

function verdictOf(answer: IcapAnswer, sent: Hash): EngineAnswer {
  const { status, headers, httpStatus, bodySha256 } = answer;
  const threat = threatIn(headers);
  if (threat !== undefined && (status === 200 || status === 204))
    return { kind: 'infected', signature: threat };
  if (status === 204) return { kind: 'clean' };
  if (status !== 200) throw new ScannerFailed(`it answers ${status}`);
  const isUnchanged = bodySha256 === sent.digest('hex') && (httpStatus === undefined || httpStatus === 200);
  return isUnchanged
    ? { kind: 'clean' }
    : { kind: 'infected', signature: `blocked (${httpStatus ?? 'changed'})` };
}

/** The name of what was found: these headers are no standard, but what the scanners send. */
function threatIn(headers: ReadonlyMap<string, string>): string | undefined {
  for (const name of THREAT_HEADERS) {
    const value = headers.get(name);
    if (value === undefined || value === '') continue;
    // The number of what was found.
    if (name === 'x-violations-found' && /^0\b/.test(value)) continue;
    const threat = cleanName(/\bThreat=([^;]*)/i.exec(value)?.[1] ?? value);
    return threat === '' ? 'unnamed' : threat;
  }
  return undefined;
}

function* chunk(bytes: Buffer): Generator<Buffer> {
  if (bytes.length === 0) return;
  yield Buffer.from(`${bytes.length.toString(16)}\r\n`);
  yield bytes;
  yield CRLF;
}

async function* hashed(pieces: AsyncIterable<Buffer>, hash: Hash): AsyncGenerator<Buffer> {
  for await (const piece of pieces) {
    hash.update(piece);
    yield piece;
  }
}

async function* one(text: string): AsyncGenerator<Buffer> {
  yield Buffer.from(text);
}
