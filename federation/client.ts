/** The one client for requests to other servers: resolves, dials, signs, limits; failures are values. */

import type { IncomingHttpHeaders } from 'node:http';
import { encodeCanonical } from '#keys/canonical-json.ts';
import type { ServerName } from '#keys/ids.ts';
import { integerAt, isObject, type JsonObject, stringAt } from '#keys/json.ts';
import type { SigningKey } from '#keys/signing-key.ts';
import type { Backoff } from './backoff.ts';
import type { CertificateFacts } from './fault.ts';
import { ConsumerFailed, collect, consumeUpTo } from './network/answer-body.ts';
import type { Connections, Question } from './network/connections.ts';
import { CertificateRefused, type Dialer } from './network/dial.ts';
import { Pools } from './network/pools.ts';
import { type Destination, NotAPartner, type ServerResolver } from './network/resolve.ts';
import { TimeLimit } from './network/time-limit.ts';
import { formatXMatrix } from './x-matrix.ts';

export interface FederationRequest {
  readonly server: ServerName;
  readonly method: 'GET' | 'PUT' | 'POST';
  /** From `/_matrix/` on, with each segment percent-encoded. */
  readonly path: string;
  readonly query?: Readonly<Record<string, string | number | readonly string[] | undefined>>;
  /** A string is canonical JSON already. */
  readonly body?: JsonObject | string;
  /** For the whole request, in milliseconds; 30,000 unless given. */
  readonly timeoutMs?: number;
  /** The largest answer that is read; 16 MiB unless given. */
  readonly maxBytes?: number;
  readonly signal?: AbortSignal;
  /** Without the `Authorization` header. */
  readonly unsigned?: boolean;
  /** The `Authorization` header in place of our signature. */
  readonly authorization?: string;
  /** Our own name is meant, too: the request goes out to our public address, to see whether it comes back. */
  readonly ourselves?: boolean;
  /** What is asked for; JSON unless given. */
  readonly accept?: string;
  /** The longest pause before and within the answer, in milliseconds; without it only `timeoutMs` counts. */
  readonly idleMs?: number;
  /**
   * `obey` (the default): not sent while the server is left alone. `ignore`: sent anyway, because somebody waits
   * for it. `caller`: sent, and what becomes of it is not noted: the caller does both.
   */
  readonly backoff?: 'obey' | 'ignore' | 'caller';
}

/**
 * - `backoff`: not sent, the server is being left alone
 * - `invalid_server`: not sent, no server name or our own
 * - `not_a_partner`: not sent and not looked up, since only partners are called
 * - `unreachable`: no connection, no certificate that we trust, or cut off
 * - `timeout`: no whole answer in time
 * - `aborted`: the caller's signal
 * - `too_large`: the answer is larger than `maxBytes`
 * - `bad_answer`: not the answer of a Matrix server
 * - `refused`: an answer with an error status
 */
export type FailureReason =
  | 'backoff'
  | 'invalid_server'
  | 'not_a_partner'
  | 'unreachable'
  | 'timeout'
  | 'aborted'
  | 'too_large'
  | 'bad_answer'
  | 'refused';

export interface FederationFailure {
  readonly kind: 'failed';
  readonly reason: FailureReason;
  readonly status?: number;
  readonly errcode?: string;
  /** When the server, or the back-off, allows another attempt; at most an hour. */
  readonly retryAfterMs?: number;
  /** The body of a refusal, where it is a JSON object. */
  readonly body?: JsonObject;
  readonly message: string;
  /** Of the error that the connection failed with, such as `ECONNREFUSED` (see `fault.ts`). */
  readonly code?: string;
  /** The certificate that was not accepted. */
  readonly certificate?: CertificateFacts;
  /** By the `Date` header of the answer: the server's time in milliseconds since 1970. */
  readonly serverTs?: number;
}

export type FederationAnswer =
  | { readonly kind: 'ok'; readonly status: number; readonly bytes: Buffer; readonly serverTs?: number }
  | FederationFailure;

/** As `FederationAnswer`, with what was made of the body. */
export type FederationStreamed<T> =
  | { readonly kind: 'ok'; readonly status: number; readonly value: T; readonly serverTs?: number }
  | FederationFailure;

/** Takes the body of an answer, with its headers. Where the body fails it should let that error pass. */
export type ConsumeAnswer<T> = (body: AsyncIterable<Buffer>, headers: IncomingHttpHeaders) => Promise<T>;

export interface FederationClientOptions {
  readonly serverName: ServerName;
  /** Its `keyPair` is read for each request: it may be rotated. */
  readonly signingKey: Pick<SigningKey, 'keyPair'>;
  readonly resolver: ServerResolver;
  readonly dialer: Dialer;
  readonly backoff: Backoff;
  readonly userAgent?: string;
}

const MIB = 1024 * 1024;
const DEFAULT_TIMEOUT_MS = 30_000;
const DEFAULT_MAX_BYTES = 16 * MIB;
const MAX_REFUSAL_BYTES = 64 * 1024;
const LONGEST_RETRY_AFTER_MS = 60 * 60_000;
/** A proxy's word that the server behind it does not answer. */
const OUTAGE_STATUS: ReadonlySet<number> = new Set([429, 502, 503, 504]);

export class FederationClient {
  readonly #options: FederationClientOptions;
  readonly #pools: Pools;
  readonly #disposed = new AbortController();

  constructor(options: FederationClientOptions) {
    this.#options = options;
    this.#pools = new Pools(options.dialer);
  }

  /** Sends a request and reads the whole answer. Never rejects for what the network or the peer does. */
  async request(request: FederationRequest): Promise<FederationAnswer> {
    const answer = await this.stream(request, collect);
    if (answer.kind === 'failed') return answer;
    const { value: bytes, ...rest } = answer;
    return { ...rest, bytes };
  }

  /**
   * Sends a request and hands its answer's body on while it arrives, as fast as `consume` takes it; the time limit is
   * for both. Where the answer breaks off, or is too large, `consume` sees its body fail and should let that error
   * pass. Rejects only with what `consume` throws of its own.
   */
  async stream<T>(request: FederationRequest, consume: ConsumeAnswer<T>): Promise<FederationStreamed<T>> {
    const { server, backoff = 'obey' } = request;
    if (server === this.#options.serverName && request.ourselves !== true)
      return failure('invalid_server', 'this is our own server name');
    if (backoff === 'obey') {
      const retryAfterMs = await this.#options.backoff.remainingMs(server);
      if (retryAfterMs > 0)
        return { ...failure('backoff', 'the server did not answer lately'), retryAfterMs };
    }
    const answer = await this.#attempt(request, consume);
    if (backoff !== 'caller') await this.#note(server, answer);
    return answer;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#disposed.abort();
    this.#pools[Symbol.dispose]();
  }

  async #attempt<T>(request: FederationRequest, consume: ConsumeAnswer<T>): Promise<FederationStreamed<T>> {
    const timeoutMs = request.timeoutMs ?? DEFAULT_TIMEOUT_MS;
    using limit = new TimeLimit(timeoutMs, [this.#disposed.signal, request.signal]);
    try {
      const destination = await limit.race(this.#options.resolver.resolve(request.server));
      if (destination === undefined) return failure('invalid_server', 'not a server name');
      const connections = this.#pools.of(request.server, destination);
      return await this.#send(connections, request, { destination, signal: limit.signal, consume });
    } catch (error) {
      if (error instanceof ConsumerFailed) throw error.cause;
      if (error instanceof NotAPartner) return failure('not_a_partner', error.message);
      if (limit.isOver) return failure('timeout', 'no answer in time');
      if (limit.signal.aborted) return failure('aborted', 'the request was given up');
      return { ...failure('unreachable', messageOf(error)), ...factsOf(error) };
    }
  }

  async #send<T>(
    connections: Connections,
    request: FederationRequest,
    {
      destination,
      signal,
      consume,
    }: {
      readonly destination: Destination;
      readonly signal: AbortSignal;
      readonly consume: ConsumeAnswer<T>;
    },
  ): Promise<FederationStreamed<T>> {
    const path = `${request.path}${queryOf(request.query)}`;
    const content = typeof request.body === 'object' ? encodeCanonical(request.body) : request.body;
    const question: Question = {
      method: request.method,
      path,
      headers: {
        host: destination.hostHeader,
        'user-agent': this.#options.userAgent ?? 'Kurir',
        accept: request.accept ?? 'application/json',
        ...(content !== undefined && { 'content-type': 'application/json' }),
        ...(request.unsigned !== true && {
          authorization: request.authorization ?? this.#authorization(request, path, content),
        }),
      },
      body: content,
      signal,
      idleMs: request.idleMs,
    };
    return connections.ask(question, async (response) => {
      const { statusCode: status = 0, headers } = response;
      const serverTs = timeOf(headers.date);
      if (status < 200 || status >= 300) {
        const refusal = await consumeUpTo(response, MAX_REFUSAL_BYTES, collect);
        return { ...refusalOf(status, refusal?.value, headers['retry-after']), ...serverTs };
      }
      const taken = await consumeUpTo(response, request.maxBytes ?? DEFAULT_MAX_BYTES, (body) =>
        consume(body, headers),
      );
      return taken === undefined
        ? failure('too_large', 'the answer is too large')
        : { kind: 'ok', status, value: taken.value, ...serverTs };
    });
  }

  /** https://spec.matrix.org/v1.19/server-server-api/#request-authentication: the keys in canonical order. */
  #authorization({ server, method }: FederationRequest, uri: string, content: string | undefined): string {
    const { serverName: origin, signingKey } = this.#options;
    const { keyPair } = signingKey;
    const target = encodeCanonical({ destination: server, method, origin, uri });
    const signed = content === undefined ? target : `{"content":${content},${target.slice(1)}`;
    return formatXMatrix({ origin, destination: server, key: keyPair.keyId, sig: keyPair.sign(signed) });
  }

  async #note(server: ServerName, answer: FederationStreamed<unknown>): Promise<void> {
    const { backoff } = this.#options;
    if (answer.kind === 'ok') {
      await backoff.succeeded(server);
      return;
    }
    switch (answer.reason) {
      case 'refused':
        // An error of the request is a sign of life.
        if (isOutage(answer)) await backoff.failed(server, answer.retryAfterMs);
        else await backoff.succeeded(server);
        return;
      case 'unreachable':
      case 'timeout':
      case 'bad_answer':
        await backoff.failed(server);
        return;
      default:
        return;
    }
  }
}

/** What a Matrix server refuses with a reason of its own, such as `M_NOT_YET_UPLOADED` with 504, is no outage. */
function isOutage({ status = 0, errcode = 'M_UNKNOWN' }: FederationFailure): boolean {
  return OUTAGE_STATUS.has(status) && (status === 429 || errcode === 'M_UNKNOWN');
}

/** A failure without an answer. */
export function failure(reason: FailureReason, message: string): FederationFailure {
  return { kind: 'failed', reason, message };
}

function refusalOf(status: number, bytes: Buffer | undefined, retryAfter: unknown): FederationFailure {
  if (status < 400) return { ...failure('bad_answer', `status ${status}`), status };
  const body = bytes === undefined ? undefined : parseObject(bytes);
  const errcode = body === undefined ? undefined : stringAt(body, 'errcode');
  const retryAfterMs = retryAfterOf(body, retryAfter);
  return {
    kind: 'failed',
    reason: 'refused',
    status,
    message: (body === undefined ? undefined : stringAt(body, 'error'))?.slice(0, 500) ?? `status ${status}`,
    ...(errcode !== undefined && { errcode: errcode.slice(0, 100) }),
    ...(retryAfterMs !== undefined && { retryAfterMs }),
    ...(body !== undefined && { body }),
  };
}

function retryAfterOf(body: JsonObject | undefined, header: unknown): number | undefined {
  const fromHeader =
    typeof header === 'string' && /^\d{1,9}$/.test(header) ? Number(header) * 1000 : undefined;
  const ms = fromHeader ?? (body === undefined ? undefined : integerAt(body, 'retry_after_ms'));
  return ms === undefined ? undefined : Math.min(Math.max(ms, 0), LONGEST_RETRY_AFTER_MS);
}

function timeOf(date: unknown): { serverTs: number } | undefined {
  const ts = typeof date === 'string' ? Date.parse(date) : Number.NaN;
  return Number.isNaN(ts) ? undefined : { serverTs: ts };
}

/** What the error of a connection tells besides its message. */
export function factsOf(error: unknown): Pick<FederationFailure, 'code' | 'certificate'> {
  if (!(error instanceof Error)) return {};
  const code = 'code' in error && typeof error.code === 'string' ? error.code : undefined;
  const certificate = error instanceof CertificateRefused ? error.certificate : undefined;
  if (code === undefined && error.cause !== undefined) return factsOf(error.cause);
  return { ...(code !== undefined && { code }), ...(certificate !== undefined && { certificate }) };
}

function parseObject(bytes: Buffer): JsonObject | undefined {
  try {
    const value: unknown = JSON.parse(bytes.toString());
    return isObject(value) ? value : undefined;
  } catch {
    // Not a Matrix error: the status says all there is to know.
    return undefined;
  }
}

function queryOf(query: FederationRequest['query']): string {
  const parts = Object.entries(query ?? {}).flatMap(([name, value]) => {
    if (value === undefined) return [];
    const values = Array.isArray(value) ? value : [value];
    return values.map((each) => `${encodeURIComponent(name)}=${encodeURIComponent(String(each))}`);
  });
  return parts.length === 0 ? '' : `?${parts.join('&')}`;
}

/** What went wrong, with what was behind it. */
export function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error ? `${error.message}: ${error.cause.message}` : error.message;
}
