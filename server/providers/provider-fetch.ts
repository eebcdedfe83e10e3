/** How identity providers are asked: over TLS, in bounded time and size, and no other hosts than are meant. */

import { getCACertificates } from 'node:tls';
import { AddressGuard } from '#federation/network/address-guard.ts';
import { LazyAgent } from '#federation/network/lazy-agent.ts';

export type Fetch = (url: string, options: FetchOptions) => Promise<Response>;

interface FetchOptions {
  readonly method?: string | undefined;
  readonly headers?: Record<string, string> | Headers | undefined;
  readonly body?: unknown;
  readonly redirect?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

const TIMEOUT_MS = 10_000;
const MAX_ANSWER_BYTES = 1024 * 1024;
const MOST_CONNECTIONS = 8;

/**
 * What OpenID Connect asks by. The issuer's host, and others that the operator names, may be anywhere; hosts that only
 * the provider's answers name must have public addresses.
 */
export class ProviderFetch {
  readonly #trusted: LazyAgent;
  readonly #guarded: LazyAgent;
  readonly #hosts: ReadonlySet<string>;
  readonly #isPlain: boolean;

  constructor(options: {
    readonly issuer: string;
    readonly hosts: readonly string[];
    /** PEM certificates that are trusted besides the platform's. */
    readonly ca: string | undefined;
    readonly allowPrivate: boolean;
  }) {
    const { issuer, hosts, ca, allowPrivate } = options;
    const { protocol, hostname } = new URL(issuer);
    this.#hosts = new Set([hostname, ...hosts]);
    this.#isPlain = protocol === 'http:';
    const trust = ca === undefined ? {} : { ca: [...getCACertificates('default'), ca] };
    this.#trusted = agentWith(trust);
    const guard = new AddressGuard({ allowPrivate });
    this.#guarded = agentWith({ ...trust, lookup: guard.lookup });
    this.#allows = (host) => guard.allows(host);
  }

  readonly #allows: (address: string) => boolean;

  readonly fetch: Fetch = async (url, options) => {
    const { protocol, hostname } = new URL(url);
    const isNamed = this.#hosts.has(hostname);
    if (protocol !== 'https:' && !(this.#isPlain && isNamed)) throw new Error(`${url} is not https`);
    const address = hostname.replace(/^\[(.*)\]$/, '$1');
    // A lookup is not made for an IP address, so it is checked here.
    if (!isNamed && /^[\d.]+$|:/.test(address) && !this.#allows(address)) {
      throw new Error(`${hostname} is not allowed`);
    }
    const signals = [AbortSignal.timeout(TIMEOUT_MS)];
    if (options.signal !== undefined) signals.push(options.signal);
    const { agent, fetch } = await (isNamed ? this.#trusted : this.#guarded).open();
    const response = await fetch(url, {
      method: options.method ?? 'GET',
      headers: headersOf(options.headers),
      body: bodyOf(options.body),
      // Where an answer leads elsewhere, that is not followed: nobody meant that host.
      redirect: 'manual',
      signal: AbortSignal.any(signals),
      dispatcher: agent,
    });
    // Read here, so that the limits hold for the whole of it.
    const bytes = await response.arrayBuffer();
    const { status } = response;
    const isEmpty = status === 204 || status === 304 || status < 200;
    return new Response(isEmpty ? null : bytes, {
      status: status < 200 ? 502 : status,
      headers: Object.fromEntries(response.headers),
    });
  };

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.#trusted, this.#guarded].map((agent) => agent[Symbol.asyncDispose]()));
  }
}

function agentWith(connect: object): LazyAgent {
  return new LazyAgent({
    connect: { timeout: TIMEOUT_MS, ...connect },
    connections: MOST_CONNECTIONS,
    pipelining: 1,
    headersTimeout: TIMEOUT_MS,
    bodyTimeout: TIMEOUT_MS,
    maxResponseSize: MAX_ANSWER_BYTES,
  });
}

function headersOf(headers: FetchOptions['headers']): Record<string, string> {
  return headers instanceof Headers ? Object.fromEntries(headers) : (headers ?? {});
}

function bodyOf(body: unknown): string | Uint8Array | null {
  if (body === undefined || body === null) return null;
  if (body instanceof Uint8Array) return body;
  return String(body);
}
