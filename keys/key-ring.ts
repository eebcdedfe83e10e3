/**
 * The public keys of other servers: https://spec.matrix.org/v1.19/server-server-api/#retrieving-server-keys
 *
 * A key is looked for in memory, then by `load` (what we stored), then by `fetch` (what the network says). One
 * look-up a server at a time; whoever comes meanwhile waits for it. What is kept is bounded.
 */

import { BoundedMap } from './bounded-map.ts';
import { type PublicKey, publicKeyFrom } from './ed25519.ts';
import type { KeyId, ServerName } from './ids.ts';
import {
  capped,
  contradicts,
  isUsable,
  type KnownKeys,
  LONGEST_VALIDITY,
  merge,
  refreshTsOf,
  type Wanted,
} from './key-validity.ts';
import type { ServerKeys } from './server-key-document.ts';
import type { SigningKey } from './signing-key.ts';

/** What the key ring needs from the layers above. */
export interface KeySource {
  /** What was stored of a server. */
  load(server: ServerName): Promise<ServerKeys | undefined>;
  /** Keeps what was fetched, in place of what was stored of this server. */
  store(keys: ServerKeys): Promise<void>;
  /**
   * Told of a document that is not believed, because it gives a key that is still valid other bytes under the same id.
   */
  contradicted?(fetched: ServerKeys): Promise<void>;
  /** The published keys, verified; undefined where nobody answers. One call at a time for a server. */
  fetch(server: ServerName, keyIds: readonly KeyId[], signal?: AbortSignal): Promise<ServerKeys | undefined>;
  readonly clock: { now(): number };
  readonly own: { readonly serverName: ServerName; readonly signingKey: SigningKey };
  /**
   * The only keys that are accepted of a server, unpadded Base64 by id, as the operator pinned them: it is not asked
   * for others, and they are valid until they are pinned no more. Undefined for a server that publishes its own.
   */
  readonly pinned?: (server: ServerName) => ReadonlyMap<KeyId, string> | undefined;
  /** Told of what `load`, `store` or `fetch` threw while nobody waited; a process warning unless given. */
  readonly reportError?: (error: unknown) => void;
}

export interface KeyQuery {
  /** The time in milliseconds at which the key must have been valid: `origin_server_ts`, or now for a request. */
  readonly atTs: number;
  /** Room versions 5 and later, and requests. Without it a key that the server ever published will do. */
  readonly strictValidity: boolean;
  /** Ends the caller's wait (it rejects with the signal's reason), not the look-up, which others may share. */
  readonly signal?: AbortSignal;
  /** The server has just called us, so it is up: its back-off counts one minute at most. */
  readonly calledUs?: boolean;
}

/** A key that is to be in memory before `cachedKeyFor` is asked for it. */
export interface KeyRequest {
  readonly server: ServerName;
  readonly keyId: KeyId;
  readonly atTs: number;
}

interface Attempts {
  /** How many in a row brought nothing. */
  readonly failures: number;
  readonly lastTs: number;
}

const MINUTE = 60_000;
const FIRST_BACKOFF = MINUTE;
const LONGEST_BACKOFF = 60 * MINUTE;
/** After a good answer: a key id made up by somebody else cannot make us flood the server. */
const SETTLED = 10_000;
const FETCH_TIMEOUT = 30_000;
const MAX_SERVERS = 10_000;
const ENSURE_AT_ONCE = 20;

export class KeyRing {
  readonly #source: KeySource;
  readonly #known = new BoundedMap<ServerName, KnownKeys>(MAX_SERVERS);
  readonly #attempts = new BoundedMap<ServerName, Attempts>(MAX_SERVERS);
  readonly #flights = new Map<ServerName, Promise<void>>();
  readonly #closing = new AbortController();

  constructor(source: KeySource) {
    this.#source = source;
  }

  /**
   * The key, if the server published it and it is valid for the query. Undefined where it is not, or where the
   * server does not answer; after that it is left alone for a minute, doubling up to an hour.
   */
  async keyFor(server: ServerName, keyId: KeyId, query: KeyQuery): Promise<PublicKey | undefined> {
    query.signal?.throwIfAborted();
    const wanted = { keyId, atTs: query.atTs, strictValidity: query.strictValidity };
    if (server === this.#source.own.serverName) return this.#ownKey(wanted);
    if (this.#source.pinned?.(server) !== undefined) return this.cachedKeyFor(server, keyId, query);
    if (!this.#isKnown(server, wanted)) {
      // No document can hold that far.
      if (query.strictValidity && query.atTs > this.#source.clock.now() + LONGEST_VALIDITY) return undefined;
      await unlessAborted(this.#lookUp(server, wanted, query.calledUs === true), query.signal);
    } else if (this.#isRefreshDue(server)) {
      this.#lookUp(server, wanted, false).catch((error: unknown) => this.#report(error));
    }
    return this.cachedKeyFor(server, keyId, query);
  }

  /** As `keyFor`, but only from memory, at once. */
  cachedKeyFor(
    server: ServerName,
    keyId: KeyId,
    query: Pick<KeyQuery, 'atTs' | 'strictValidity'>,
  ): PublicKey | undefined {
    const wanted = { keyId, atTs: query.atTs, strictValidity: query.strictValidity };
    if (server === this.#source.own.serverName) return this.#ownKey(wanted);
    const pinned = this.#source.pinned?.(server);
    if (pinned !== undefined) {
      const key = pinned.get(keyId);
      return key === undefined ? undefined : publicKeyFrom(key);
    }
    const known = this.#known.get(server);
    const key = known?.keys.get(keyId);
    return known !== undefined && key !== undefined && isUsable(known, wanted)
      ? publicKeyFrom(key.publicKey)
      : undefined;
  }

  /**
   * Brings what can be had of these keys into memory, those too that are valid at no time so late: they may serve other
   * events. Servers that do not answer are passed over. Rejects with the signal's reason when it is aborted.
   */
  async ensure(requests: readonly KeyRequest[], signal?: AbortSignal): Promise<void> {
    const queue = requests.values();
    const latestTs = this.#source.clock.now() + LONGEST_VALIDITY;
    const lane = async () => {
      for (const { server, keyId, atTs: wantedTs } of queue) {
        const atTs = Math.min(wantedTs, latestTs);
        await this.keyFor(server, keyId, { atTs, strictValidity: true, ...(signal && { signal }) });
      }
    };
    await Promise.all(Array.from({ length: Math.min(ENSURE_AT_ONCE, requests.length) }, lane));
  }

  /** True where nobody answered when keys of the server were last looked up: one that is missing may be there later. */
  isUnanswered(server: ServerName): boolean {
    return (this.#attempts.get(server)?.failures ?? 0) > 0;
  }

  /** Ends the look-ups under way and waits for them. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort();
    await Promise.allSettled(this.#flights.values());
  }

  #ownKey(wanted: Wanted): PublicKey | undefined {
    const { keyPair, oldKeys } = this.#source.own.signingKey;
    if (wanted.keyId === keyPair.keyId) return publicKeyFrom(keyPair.publicKey);
    const old = oldKeys.find((key) => key.keyId === wanted.keyId);
    if (old === undefined || (wanted.strictValidity && wanted.atTs > old.expiredTs)) return undefined;
    return publicKeyFrom(old.publicKey);
  }

  #isKnown(server: ServerName, wanted: Wanted): boolean {
    const known = this.#known.get(server);
    return known !== undefined && isUsable(known, wanted);
  }

  #isRefreshDue(server: ServerName): boolean {
    const known = this.#known.get(server);
    return (
      known !== undefined && this.#source.clock.now() >= refreshTsOf(known) && this.#mayFetch(server, false)
    );
  }

  async #lookUp(server: ServerName, wanted: Wanted, calledUs: boolean): Promise<void> {
    const running = this.#flights.get(server);
    if (running === undefined) return this.#takeOff(server, wanted, calledUs);
    await running;
    // It may have been content with what was stored, which has the key that it wanted and not ours.
    if (this.#isKnown(server, wanted) || !this.#mayFetch(server, calledUs)) return;
    await (this.#flights.get(server) ?? this.#takeOff(server, wanted, calledUs));
  }

  #takeOff(server: ServerName, wanted: Wanted, calledUs: boolean): Promise<void> {
    const flight = this.#fly(server, wanted, calledUs).finally(() => this.#flights.delete(server));
    this.#flights.set(server, flight);
    return flight;
  }

  async #fly(server: ServerName, wanted: Wanted, calledUs: boolean): Promise<void> {
    if (this.#known.get(server) === undefined) {
      const stored = await this.#source.load(server);
      if (stored !== undefined) this.#remember(stored);
      if (this.#isKnown(server, wanted)) return;
    }
    if (!this.#mayFetch(server, calledUs)) return;
    await this.#fetch(server, wanted.keyId);
  }

  async #fetch(server: ServerName, keyId: KeyId): Promise<void> {
    const failures = this.#attempts.get(server)?.failures ?? 0;
    // Counts as failed until it is known to be good, so that a fetch that throws is not repeated at once.
    this.#attempts.set(server, { failures: failures + 1, lastTs: this.#source.clock.now() });
    const signal = AbortSignal.any([this.#closing.signal, AbortSignal.timeout(FETCH_TIMEOUT)]);
    const fetched = await this.#source.fetch(server, [keyId], signal);
    const now = this.#source.clock.now();
    if (fetched === undefined || fetched.serverName !== server) return;
    const known = this.#known.get(server);
    const merged = merge(known, capped(fetched, now), now);
    if (merged === undefined) {
      if (known !== undefined && contradicts(known, fetched)) await this.#source.contradicted?.(fetched);
      return;
    }
    await this.#source.store(merged);
    this.#remember(merged);
    // An answer that is out of date already serves old events, but asking again soon would not help.
    if (merged.validUntilTs > now) this.#attempts.set(server, { failures: 0, lastTs: now });
  }

  #mayFetch(server: ServerName, calledUs: boolean): boolean {
    const attempts = this.#attempts.get(server);
    if (attempts === undefined) return true;
    const longest = calledUs ? FIRST_BACKOFF : LONGEST_BACKOFF;
    const doubled = FIRST_BACKOFF * 2 ** (attempts.failures - 1);
    const pause = attempts.failures === 0 ? SETTLED : Math.min(doubled, longest);
    return this.#source.clock.now() >= attempts.lastTs + pause;
  }

  /** The document stays in storage: memory holds the keys of many servers. */
  #remember({ serverName, validUntilTs, keys, fetchedTs }: ServerKeys): void {
    this.#known.set(serverName, { validUntilTs, keys, fetchedTs });
  }

  #report(error: unknown): void {
    const { reportError } = this.#source;
    if (reportError !== undefined) reportError(error);
    else process.emitWarning(error instanceof Error ? error : String(error));
  }
}

/** The promise's outcome, or the signal's reason if that comes first. */
async function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise;
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const onAbort = () => reject(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
