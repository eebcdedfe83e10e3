/**
 * Requests to a bucket by the S3 protocol: signed, in bounded time, and made again where that may help.
 * https://docs.aws.amazon.com/AmazonS3/latest/API/API_Operations_Amazon_Simple_Storage_Service.html
 */

import type { IncomingHttpHeaders } from 'node:http';
import type { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { getCACertificates } from 'node:tls';
import { AwsV4Signer } from 'aws4fetch';
import { Agent, type Dispatcher, request } from 'undici';
import { NoSpace, PlaceUnavailable } from '#storage/blob-place.ts';
import { collect, consumeUpTo } from '../network/answer-body.ts';

export interface S3Options {
  /** Of the bucket, without a slash at its end. */
  readonly url: string;
  readonly region: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  /** PEM certificates that are trusted besides the platform's. */
  readonly ca: string | undefined;
}

export interface S3Request {
  readonly method: 'GET' | 'HEAD' | 'PUT' | 'DELETE';
  /** Within the bucket; empty for the bucket itself. */
  readonly key: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly headers?: Readonly<Record<string, string>>;
  /** What is sent: made anew for each attempt. */
  readonly body?: { readonly sha256: string; readonly size: number; readonly open: () => Readable };
}

/** What was asked for: `missing` where it is not there, `out_of_range` where it has no such bytes. */
export type S3Answer =
  | {
      readonly kind: 'found';
      readonly headers: IncomingHttpHeaders;
      /** To be read or destroyed. */
      readonly body: Readable;
    }
  | { readonly kind: 'missing' | 'out_of_range' };

/** Files that are read at once: as many as there may be clients that read slowly. */
const MOST_READS = 1_024;
const MOST_OTHERS = 64;
const CONNECT_TIMEOUT_MS = 5_000;
/** The longest pause before and within an answer, and within what is sent. */
const IDLE_MS = 30_000;
const ATTEMPTS = 3;
const FIRST_PAUSE_MS = 200;
/** What took longer than this to fail is not tried again: somebody waits. */
const MOST_SPENT_MS = 10_000;
const MOST_ERROR_BYTES = 16 * 1024;
const NOTHING_SHA256 = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';
const ERROR_CODE = /<Code>([A-Za-z0-9.]{1,100})<\/Code>/;
const FULL: ReadonlySet<string> = new Set(['QuotaExceeded', 'XMinioStorageFull', 'InsufficientStorage']);

export class S3Client {
  readonly #options: S3Options;
  /** Apart from each other, so that slow readers hold up nothing else. */
  readonly #readers: Agent;
  readonly #others: Agent;

  constructor(options: S3Options) {
    this.#options = options;
    this.#readers = agentFor(options, MOST_READS);
    this.#others = agentFor(options, MOST_OTHERS);
  }

  /**
   * Asks for something.
   *
   * @throws NoSpace, PlaceUnavailable with what the bucket said
   */
  async ask(asked: S3Request): Promise<S3Answer> {
    const begun = performance.now();
    for (let attempt = 1; ; attempt += 1) {
      const outcome = await this.#attempt(asked);
      if ('answer' in outcome) return outcome.answer;
      const isOver = attempt === ATTEMPTS || performance.now() - begun > MOST_SPENT_MS;
      if (isOver || !outcome.mayPass) throw outcome.error;
      // One after the other: the next attempt is for when this one failed.
      await sleep(FIRST_PAUSE_MS * 4 ** (attempt - 1));
    }
  }

  /** Asks for something whose answer has no body that matters; false where it is missing. */
  async tell(asked: S3Request): Promise<IncomingHttpHeaders | undefined> {
    const answer = await this.ask(asked);
    if (answer.kind !== 'found') return undefined;
    try {
      // Read to its end, or its connection could not be used again.
      await consumeUpTo(answer.body, MOST_ERROR_BYTES, collect);
    } catch (cause) {
      throw new PlaceUnavailable('the answer of the bucket breaks off', { cause });
    }
    return answer.headers;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.#readers.destroy(), this.#others.destroy()]);
  }

  async #attempt(asked: S3Request): Promise<Attempt> {
    const sent = await this.#send(asked).catch(unanswered);
    if ('error' in sent) return sent;
    const { statusCode: status, headers, body } = sent;
    if (status === 200 || status === 204 || status === 206)
      return { answer: { kind: 'found', headers, body } };
    const said = await errorCodeOf(body);
    if (status === 404 && said !== 'NoSuchBucket' && asked.key !== '') return { answer: { kind: 'missing' } };
    if (status === 416) return { answer: { kind: 'out_of_range' } };
    if (status === 507 || FULL.has(said)) {
      return { error: new NoSpace(`the bucket is full: ${said}`), mayPass: false };
    }
    const error = new PlaceUnavailable(`the bucket refuses: status ${status} ${said}`);
    return { error, mayPass: status >= 500 || status === 429 };
  }

  async #send({ method, key, query = {}, headers = {}, body }: S3Request): Promise<Dispatcher.ResponseData> {
    const { url: base, region, accessKeyId, secretAccessKey } = this.#options;
    const url = new URL(key === '' ? base : `${base}/${key}`);
    for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
    const signed = await new AwsV4Signer({
      ...{ method, url: url.href, accessKeyId, secretAccessKey, region, service: 's3' },
      // The bucket takes nothing that does not have this hash.
      headers: { ...headers, 'x-amz-content-sha256': body?.sha256 ?? NOTHING_SHA256 },
    }).sign();
    const sent = body !== undefined && body.size > 0 ? body.open() : null;
    const length = body === undefined ? {} : { 'content-length': String(body.size) };
    try {
      return await request(signed.url, {
        method,
        headers: { ...Object.fromEntries(signed.headers), ...length },
        body: sent,
        dispatcher: method === 'GET' ? this.#readers : this.#others,
      });
    } finally {
      sent?.destroy();
    }
  }
}

type Attempt = { readonly answer: S3Answer } | Failed;

interface Failed {
  readonly error: Error;
  /** Another attempt may succeed. */
  readonly mayPass: boolean;
}

function unanswered(cause: unknown): Failed {
  const message = cause instanceof Error ? cause.message : String(cause);
  return { error: new PlaceUnavailable(`the bucket does not answer: ${message}`, { cause }), mayPass: true };
}

function agentFor({ ca }: S3Options, connections: number): Agent {
  // The operator has named the host: it may be anywhere.
  return new Agent({
    connect: {
      timeout: CONNECT_TIMEOUT_MS,
      ...(ca !== undefined && { ca: [...getCACertificates('default'), ca] }),
    },
    connections,
    pipelining: 1,
    headersTimeout: IDLE_MS,
    bodyTimeout: IDLE_MS,
  });
}

/** The code in an error's XML, such as `AccessDenied`; empty where there is none. */
async function errorCodeOf(body: Readable): Promise<string> {
  try {
    const text = await consumeUpTo(body, MOST_ERROR_BYTES, collect);
    return ERROR_CODE.exec(text?.value.toString() ?? '')?.[1] ?? '';
  } catch {
    // The status alone says enough.
    return '';
  }
}
