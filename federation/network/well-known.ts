/**
 * `https://<hostname>/.well-known/matrix/server`: where a server name delegates to.
 * https://spec.matrix.org/v1.19/server-server-api/#resolving-server-names, step 3
 */

import type { IncomingMessage } from 'node:http';
import { parseLoose } from '#keys/canonical-json.ts';
import { isServerName, type ServerName } from '#keys/ids.ts';
import { isObject, stringAt } from '#keys/json.ts';
import { Lru } from '#storage/lru.ts';
import type { Dialer } from './dial.ts';
import { getOverHttps } from './https-get.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

const DEFAULT_TTL_MS = 24 * HOUR;
const SHORTEST_TTL_MS = 5 * MINUTE;
/** "Servers should additionally impose a maximum cache time for responses: 48 hours is recommended." */
const LONGEST_TTL_MS = 48 * HOUR;
/** "Errors are recommended to be cached for up to an hour, and servers are encouraged to exponentially back off" */
const FIRST_ERROR_TTL_MS = MINUTE;
const LONGEST_ERROR_TTL_MS = HOUR;

const DEADLINE_MS = 10_000;
const MOST_REDIRECTS = 5;
const MOST_BYTES = 50 * 1024;
const MOST_ENTRIES = 10_000;

/** What a server name delegates to, or why it does not. `ttlMs`: how long the answer may be kept. */
export type Delegation =
  | { readonly kind: 'delegated'; readonly server: ServerName; readonly ttlMs: number }
  | {
      readonly kind: 'error';
      readonly problem: DelegationProblem;
      readonly reason: string;
      /** Of the answer. */
      readonly status?: number;
      /** What the connection failed with. */
      readonly cause?: unknown;
    };

/**
 * - `unreachable`: no connection, no certificate that we trust, or no answer in time
 * - `status`: an answer with another status than 200
 * - `redirects`: too many, or to something other than HTTPS
 * - `content`: no JSON, no valid `m.server`, or too much of it
 */
export type DelegationProblem = 'unreachable' | 'status' | 'redirects' | 'content';

interface Entry {
  readonly server: ServerName | undefined;
  /** When to ask again, and until when a delegation outlives errors, in milliseconds of the clock. */
  readonly freshUntil: number;
  readonly usableUntil: number;
  readonly errors: number;
}

/** Delegations, asked once and kept as long as the answer allows. */
export class WellKnown {
  readonly #fetch: (hostname: string) => Promise<Delegation>;
  readonly #clock: { now(): number };
  readonly #entries = new Lru<string, Entry>({ maxEntries: MOST_ENTRIES });
  readonly #flights = new Map<string, Promise<ServerName | undefined>>();

  constructor(fetch: (hostname: string) => Promise<Delegation>, clock: { now(): number }) {
    this.#fetch = fetch;
    this.#clock = clock;
  }

  /** The server that `hostname` delegates to; undefined where it answers with an error or not at all. */
  async delegationOf(hostname: string): Promise<ServerName | undefined> {
    const entry = this.#entries.get(hostname);
    if (entry !== undefined && entry.freshUntil > this.#clock.now()) return entry.server;
    const running = this.#flights.get(hostname);
    if (running !== undefined) return running;
    const flight = this.#ask(hostname, entry).finally(() => this.#flights.delete(hostname));
    this.#flights.set(hostname, flight);
    return flight;
  }

  async #ask(hostname: string, before: Entry | undefined): Promise<ServerName | undefined> {
    const answer = await this.#fetch(hostname);
    const entry = entryOf(answer, before, this.#clock.now());
    this.#entries.set(hostname, entry);
    return entry.server;
  }
}

function entryOf(answer: Delegation, before: Entry | undefined, now: number): Entry {
  if (answer.kind === 'delegated') {
    return {
      server: answer.server,
      freshUntil: now + answer.ttlMs,
      usableUntil: now + LONGEST_TTL_MS,
      errors: 0,
    };
  }
  // A delegation that was valid a short while ago outlives an outage of the web server.
  const usableUntil = before?.usableUntil ?? 0;
  const errors = Math.min((before?.errors ?? 0) + 1, 10);
  return {
    server: usableUntil > now ? before?.server : undefined,
    freshUntil: now + Math.min(FIRST_ERROR_TTL_MS * 2 ** (errors - 1), LONGEST_ERROR_TTL_MS),
    usableUntil,
    errors,
  };
}

/**
 * Asks `hostname` itself, following redirects over HTTPS. Never rejects. `port` is 443 except in tests. `ca`: PEM
 * certificates of the only authorities that are trusted for it; unless given, the usual ones.
 */
export async function fetchDelegation(
  dialer: Dialer,
  hostname: string,
  port = 443,
  ca?: string,
): Promise<Delegation> {
  const signal = AbortSignal.timeout(DEADLINE_MS);
  const options = { accept: 'application/json', signal, ...(ca !== undefined && { ca }) };
  try {
    let url = new URL(`https://${hostname}:${port}/.well-known/matrix/server`);
    for (let hop = 0; hop <= MOST_REDIRECTS; hop += 1) {
      // One after the other: each answer says where the next one is.
      const response = await getOverHttps(dialer, url, options);
      const status = response.statusCode ?? 0;
      const { location } = response.headers;
      if (status === 200) return await readDelegation(response);
      response.destroy();
      if (status < 300 || status > 399 || location === undefined) {
        return { ...failed('status', `status ${status}`), status };
      }
      const next = URL.parse(location, url.href);
      if (next?.protocol !== 'https:') return failed('redirects', 'a redirect to something other than HTTPS');
      url = next;
    }
    return failed('redirects', 'too many redirects');
  } catch (error) {
    return { ...failed('unreachable', error instanceof Error ? error.message : String(error)), cause: error };
  }
}

async function readDelegation(response: IncomingMessage): Promise<Delegation> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of response) {
    if (!Buffer.isBuffer(chunk)) continue;
    length += chunk.length;
    if (length > MOST_BYTES) return failed('content', 'the answer is too large');
    chunks.push(chunk);
  }
  const body = parseLoose(Buffer.concat(chunks));
  if (body.kind === 'invalid') return failed('content', 'the answer is not JSON');
  const server = isObject(body.value) ? stringAt(body.value, 'm.server') : undefined;
  if (!isServerName(server)) return failed('content', 'the answer has no valid m.server');
  return { kind: 'delegated', server, ttlMs: ttlOf(response) };
}

/** How long the answer may be kept, by Cache-Control, else Expires, else a day; within our own bounds. */
function ttlOf(response: IncomingMessage): number {
  const cacheControl = response.headers['cache-control']?.toLowerCase() ?? '';
  const maxAge = /(?:^|[\s,])max-age="?(\d{1,10})/.exec(cacheControl)?.[1];
  if (/(?:^|[\s,])no-(?:store|cache)/.test(cacheControl)) return SHORTEST_TTL_MS;
  if (maxAge !== undefined) return clampTtl(Number(maxAge) * 1000);
  const { expires, date } = response.headers;
  if (expires === undefined) return DEFAULT_TTL_MS;
  const lifetime = Date.parse(expires) - Date.parse(date ?? '');
  return Number.isNaN(lifetime) ? SHORTEST_TTL_MS : clampTtl(lifetime);
}

function clampTtl(ttlMs: number): number {
  return Math.min(Math.max(ttlMs, SHORTEST_TTL_MS), LONGEST_TTL_MS);
}

function failed(problem: DelegationProblem, reason: string): Delegation & { kind: 'error' } {
  return { kind: 'error', problem, reason };
}
