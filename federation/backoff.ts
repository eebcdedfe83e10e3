/** How long a server that does not answer is left alone. Survives restarts for servers that events are sent to. */

import type { ServerName } from '#keys/ids.ts';
import type { Database } from '#storage/database.ts';
import * as destinations from '#storage/destinations.ts';
import { Lru } from '#storage/lru.ts';

const FIRST_WAIT_MS = 2_000;
const LONGEST_WAIT_MS = 60 * 60_000;
/** A server that has been away for a week is tried once a day: most of those do not come back. */
const LONGEST_WAIT_FOR_GONE_MS = 24 * 60 * 60_000;
const GONE_AFTER_MS = 7 * 24 * 60 * 60_000;
const MOST_ENTRIES = 10_000;

export interface BackoffOptions {
  readonly db: Database;
  readonly clock: { now(): number };
  readonly random?: () => number;
}

const ANSWERING: destinations.Outage = { failures: 0, failingSince: 0, retryAt: 0 };

export class Backoff {
  readonly #db: Database;
  readonly #clock: { now(): number };
  readonly #random: () => number;
  readonly #outages = new Lru<ServerName, destinations.Outage>({ maxEntries: MOST_ENTRIES });
  readonly #listeners = new Set<(server: ServerName) => void>();

  constructor(options: BackoffOptions) {
    this.#db = options.db;
    this.#clock = options.clock;
    this.#random = options.random ?? Math.random;
  }

  /** How many milliseconds `server` is still to be left alone; 0 where it may be asked now. */
  async remainingMs(server: ServerName): Promise<number> {
    const outage = await this.#outageOf(server);
    // No longer than the longest wait, should the clock have been set back.
    return Math.min(Math.max(outage.retryAt - this.#clock.now(), 0), longestWait(outage));
  }

  /** When the server's outage began, in milliseconds since 1970; undefined while it answers. */
  async failingSince(server: ServerName): Promise<number | undefined> {
    const { failingSince } = await this.#outageOf(server);
    return failingSince === 0 ? undefined : failingSince;
  }

  /**
   * Notes that the server did not answer, or asked to be left alone for `retryAfterMs`. Each failure doubles the
   * wait; those of requests that ran side by side count as one.
   */
  async failed(server: ServerName, retryAfterMs = 0): Promise<void> {
    const before = await this.#outageOf(server);
    const now = this.#clock.now();
    const askedUntil = now + Math.min(retryAfterMs, LONGEST_WAIT_MS);
    const isCounted = before.retryAt > now;
    if (isCounted && before.retryAt >= askedUntil) return;
    const failures = isCounted ? before.failures : before.failures + 1;
    const failingSince = before.failingSince || now;
    const ownUntil = now + this.#waitAfter(failures, longestWait({ failingSince, retryAt: now }));
    const retryAt = Math.max(askedUntil, isCounted ? before.retryAt : ownUntil);
    await this.#store(server, { failures, failingSince, retryAt });
  }

  /** Notes a sign of life: an answer, or a request of its own. True where the server was being left alone. */
  async succeeded(server: ServerName): Promise<boolean> {
    const before = await this.#outageOf(server);
    if (before.failures === 0) return false;
    await this.#store(server, ANSWERING);
    for (const listener of this.#listeners) listener(server);
    return true;
  }

  /** Calls `listener` for each server that shows a sign of life after an outage; answers how to stop. */
  onRecovery(listener: (server: ServerName) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #waitAfter(failures: number, longest: number): number {
    const wait = Math.min(FIRST_WAIT_MS * 2 ** Math.min(failures - 1, 20), longest);
    // Spread, so that servers which failed together are not all tried again together.
    return Math.round(wait * (0.8 + 0.2 * this.#random()));
  }

  async #outageOf(server: ServerName): Promise<destinations.Outage> {
    const known = this.#outages.get(server);
    if (known !== undefined) return known;
    const stored = (await destinations.of(this.#db, server))?.outage ?? ANSWERING;
    // A failure may have been noted during the read.
    const meanwhile = this.#outages.get(server);
    if (meanwhile !== undefined) return meanwhile;
    this.#outages.set(server, stored);
    return stored;
  }

  async #store(server: ServerName, outage: destinations.Outage): Promise<void> {
    this.#outages.set(server, outage);
    await this.#db.write('destinations.outage', (tx) => destinations.setOutage(tx, server, outage));
  }
}

/** The longest wait that an outage which has lasted until `retryAt` may bring. */
function longestWait({
  failingSince,
  retryAt,
}: Pick<destinations.Outage, 'failingSince' | 'retryAt'>): number {
  return failingSince > 0 && retryAt - failingSince >= GONE_AFTER_MS
    ? LONGEST_WAIT_FOR_GONE_MS
    : LONGEST_WAIT_MS;
}
