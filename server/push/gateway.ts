/**
 * Requests to push gateways: https://spec.matrix.org/v1.19/push-gateway-api/#post_matrixpushv1notify
 *
 * Who names a gateway is any user: none is reached at an address of a private network unless the operator has named its
 * host, no redirect is followed, and what it answers is read up to a bound, for as long as a deadline allows.
 */

import { isIP } from 'node:net';
import { createSecureContext, getCACertificates } from 'node:tls';
import { AddressGuard } from '#federation/network/address-guard.ts';
import { collect, consumeUpTo } from '#federation/network/answer-body.ts';
import { LazyAgent } from '#federation/network/lazy-agent.ts';
import { parseLoose } from '#keys/canonical-json.ts';
import type { JsonObject } from '#keys/json.ts';
import { isObject, own } from '#keys/json.ts';
import { Lanes } from '#keys/lanes.ts';
import { Lru } from '#storage/lru.ts';

export interface Failed {
  readonly kind: 'failed';
  readonly reason: string;
  /** It does not answer at all; else it has refused this request. */
  readonly isAway: boolean;
  /** How long it asks to be left alone. */
  readonly waitMs?: number;
}

export type Notified =
  | { readonly kind: 'taken' }
  /** The pusher is to be removed. */
  | { readonly kind: 'rejected' }
  | Failed;

export interface Post {
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | Buffer;
  /** Asked when it is its turn: a gateway that was found to be away is not asked. */
  readonly isStillWanted: () => boolean;
}

export type Posted =
  | {
      readonly kind: 'answered';
      readonly status: number;
      /** Undefined for one that is too long. */
      readonly body: Buffer | undefined;
      readonly retryAfter: string | undefined;
    }
  | Failed;

export interface GatewayOptions {
  /** Hosts that may have addresses of private networks. */
  readonly privateHosts: readonly string[];
  /** PEM certificates that are trusted besides the platform's. */
  readonly ca: string | undefined;
}

const TIMEOUT_MS = 10_000;
const MOST_BYTES = 64 * 1024;
const CONNECTIONS = 16;
const MOST_ORIGINS = 1_000;
const MOST_HEADER_BYTES = 16 * 1024;

export class Gateways {
  readonly #guard = new AddressGuard({ allowPrivate: false });
  readonly #privateHosts: ReadonlySet<string>;
  readonly #guarded: LazyAgent;
  readonly #trusted: LazyAgent;
  /** So that one that hangs holds up nobody but its own users. */
  readonly #lanes = new Lru<string, Lanes>({ maxEntries: MOST_ORIGINS });
  readonly #stopping: AbortSignal;

  constructor({ privateHosts, ca }: GatewayOptions, stopping: AbortSignal) {
    this.#privateHosts = new Set(privateHosts.map((host) => host.toLowerCase()));
    const trusted = ca === undefined ? undefined : [...getCACertificates('default'), ca];
    // Made once: to read that many certificates for each connection takes 20 ms.
    const trust = trusted === undefined ? {} : { secureContext: createSecureContext({ ca: trusted }) };
    this.#guarded = agentWith({ ...trust, lookup: this.#guard.lookup });
    this.#trusted = agentWith(trust);
    this.#stopping = stopping;
  }

  /** Tells a gateway of something for one pushkey. */
  async notify(
    url: URL,
    pushkey: string,
    notification: JsonObject,
    isStillWanted: () => boolean,
  ): Promise<Notified> {
    const headers = { 'content-type': 'application/json' };
    const posted = await this.post(url, { headers, body: JSON.stringify({ notification }), isStillWanted });
    if (posted.kind === 'failed') return posted;
    const { status, body } = posted;
    if (status !== 200) return { kind: 'failed', reason: `it answers ${status}`, isAway: status >= 500 };
    return body !== undefined && rejectedIn(body).includes(pushkey)
      ? { kind: 'rejected' }
      : { kind: 'taken' };
  }

  /** Posts to a gateway, or to a push service, as soon as it is its turn. */
  async post(url: URL, { isStillWanted, ...request }: Post): Promise<Posted> {
    const lanes = this.#lanes.get(url.origin) ?? new Lanes(CONNECTIONS, Number.POSITIVE_INFINITY);
    this.#lanes.set(url.origin, lanes);
    return lanes.run(async () => {
      if (!isStillWanted()) return { kind: 'failed', reason: 'it is left alone for a while', isAway: false };
      return this.#post(url, request);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.#guarded, this.#trusted].map((agent) => agent[Symbol.asyncDispose]()));
  }

  async #post(url: URL, { headers, body }: Omit<Post, 'isStillWanted'>): Promise<Posted> {
    const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
    const isNamed = this.#privateHosts.has(host);
    // A lookup is not made for an IP address, so it is checked here.
    if (!isNamed && isIP(host) !== 0 && !this.#guard.allows(host))
      return { kind: 'failed', reason: 'its address is not allowed', isAway: true };
    const deadline = AbortSignal.timeout(TIMEOUT_MS);
    try {
      const { agent, request } = await (isNamed ? this.#trusted : this.#guarded).open();
      const answer = await request(url, {
        method: 'POST',
        dispatcher: agent,
        headers,
        body,
        signal: AbortSignal.any([deadline, this.#stopping]),
      });
      const retryAfter = answer.headers['retry-after'];
      const read = await consumeUpTo(answer.body, MOST_BYTES, collect);
      return {
        ...{ kind: 'answered', status: answer.statusCode, body: read?.value },
        retryAfter: typeof retryAfter === 'string' ? retryAfter : undefined,
      };
    } catch (error) {
      const reason = deadline.aborted ? `no answer within ${TIMEOUT_MS / 1_000} s` : reasonOf(error);
      return { kind: 'failed', reason, isAway: true };
    }
  }
}

function agentWith(connect: object): LazyAgent {
  return new LazyAgent({
    connect: { timeout: TIMEOUT_MS, ...connect },
    connections: CONNECTIONS,
    pipelining: 1,
    headersTimeout: TIMEOUT_MS,
    bodyTimeout: TIMEOUT_MS,
    maxHeaderSize: MOST_HEADER_BYTES,
  });
}

/** "A list of all pushkeys given in the notification request that are not valid." */
function rejectedIn(body: Buffer): readonly string[] {
  const parsed = parseLoose(body);
  const rejected = parsed.kind === 'ok' && isObject(parsed.value) ? own(parsed.value, 'rejected') : undefined;
  return Array.isArray(rejected) ? rejected.filter((key) => typeof key === 'string') : [];
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { cause } = error;
  return cause instanceof Error ? `${error.message}: ${cause.message}` : error.message;
}
