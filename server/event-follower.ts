/**
 * Somebody who reads on from where they were: every event that clients may see, of all rooms, once, in the order in
 * which the server came to know it. For the search index, push gateways, application services, the audit log.
 *
 * 1. The events after the cursor are read, at most a batch of them.
 * 2. `prepare` does, outside of any transaction, what takes time, and answers what is to be written.
 * 3. `apply` writes that, in one transaction together with the cursor. So a crash repeats nothing and loses nothing.
 *
 * Between 2 and 3 an event may be redacted or deleted: `apply` sees what is so by then.
 */

import type { RoomsContext } from '#rooms/context.ts';
import { loadNids } from '#rooms/load.ts';
import type { StoredEvent } from '#rooms/stored-event.ts';
import * as arrivals from '#storage/arrivals.ts';
import { cursors } from '#storage/cursors.ts';
import type { Tx } from '#storage/database.ts';

export interface Following<Prepared> {
  /** Of the cursor. Where there is no such cursor yet, what was there before is not read. */
  readonly name: string;
  /** Events that are read at once. */
  readonly batch: number | (() => number);
  /** How long to wait for more events before they are read: the longer, the fewer transactions. */
  readonly lingerMs: number;
  /** True where memberships in rooms that the server is not in are wanted, too: events without a position. */
  readonly withOutOfBand?: boolean;
  /** What is to be written for these events, the oldest arrival first; undefined for nothing. */
  prepare(events: readonly StoredEvent[], signal: AbortSignal): Promise<Prepared | undefined>;
  /** Writes it. Must await `tx` only. */
  apply(tx: Tx, prepared: Prepared): Promise<void>;
}

interface Waiter {
  readonly position: number;
  readonly end: () => void;
}

interface Restart {
  readonly body: (tx: Tx) => Promise<void>;
  readonly done: PromiseWithResolvers<void>;
}

const FIRST_RETRY_MS = 1_000;
const LAST_RETRY_MS = 60_000;
/** Events that need nothing written; after so many the cursor is written all the same. */
const MOST_UNWRITTEN = 10_000;

export class EventFollower<Prepared> {
  readonly #ctx: RoomsContext;
  readonly #following: Following<Prepared>;
  readonly #stopping = new AbortController();
  readonly #waiters = new Set<Waiter>();
  readonly #restarts: Restart[] = [];
  #position = 0;
  #unwritten = 0;
  /** Ends the present wait or pause. */
  #wake: (() => void) | undefined;
  #running: Promise<void> = Promise.resolve();

  constructor(ctx: RoomsContext, following: Following<Prepared>) {
    this.#ctx = ctx;
    this.#following = following;
  }

  /** Begins, or goes on after a restart of the server. */
  start(): void {
    this.#running = this.#run();
  }

  /** Resolves with true once everything up to a position is done, with false after `withinMs`. */
  reached(position: number, withinMs: number): Promise<boolean> {
    if (this.#position >= position) return Promise.resolve(true);
    return new Promise((resolve) => {
      const timer = setTimeout(() => settle(false), withinMs);
      const settle = (isReached: boolean) => {
        clearTimeout(timer);
        this.#waiters.delete(waiter);
        resolve(isReached);
      };
      const waiter = { position, end: () => settle(this.#position >= position) };
      this.#waiters.add(waiter);
      this.#wake?.();
    });
  }

  /** Reads everything again from the first event on, after `body`, which undoes what was written for it. */
  restart(body: (tx: Tx) => Promise<void>): Promise<void> {
    if (this.#stopping.signal.aborted) return Promise.reject(new Error('the server is stopping'));
    const done = Promise.withResolvers<void>();
    this.#restarts.push({ body, done });
    this.#wake?.();
    return done.promise;
  }

  /** Finishes the batch that is under way; the next process goes on after it. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping.abort();
    this.#wake?.();
    await this.#running;
    for (const waiter of this.#waiters) waiter.end();
    for (const { done } of this.#restarts) done.reject(new Error('the server is stopping'));
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping;
    let isRead = false;
    let retryMs = FIRST_RETRY_MS;
    while (!signal.aborted) {
      try {
        if (!isRead) await this.#readCursor();
        isRead = true;
        // Batch by batch: each begins where the one before ended.
        await this.#restartIfAsked();
        const isMore = await this.#step();
        retryMs = FIRST_RETRY_MS;
        if (!isMore) await this.#news();
      } catch (error) {
        if (signal.aborted) return;
        const { name } = this.#following;
        this.#ctx.log.error({ err: error, name }, 'events were not followed: it is tried again');
        await this.#rest(retryMs);
        retryMs = Math.min(LAST_RETRY_MS, retryMs * 2);
      }
    }
  }

  async #readCursor(): Promise<void> {
    const { name } = this.#following;
    const known = await cursors.find(this.#ctx.db, name);
    this.#position = known ?? this.#ctx.streams.upto();
    // Written down, so that a process that ends before the first event loses none.
    if (known === undefined) await this.#write(this.#position, undefined);
  }

  /** One batch. True where there may be more. */
  async #step(): Promise<boolean> {
    const { db, streams } = this.#ctx;
    const { prepare, withOutOfBand = false } = this.#following;
    const batch = this.#batch();
    const upto = streams.upto();
    const arrived = await arrivals.page(db, { after: this.#position, upto, limit: batch });
    const isMore = arrived.length === batch;
    const position = isMore ? (arrived.at(-1)?.arrived ?? upto) : upto;
    if (arrived.length > 0) {
      const nids = arrived.map(({ nid }) => nid);
      const loaded = await loadNids(this.#ctx, nids);
      const events = nids
        .map((nid) => loaded.get(nid))
        .filter((stored) => withOutOfBand || stored?.position !== undefined);
      const prepared = await prepare(
        events.filter((stored) => stored !== undefined),
        this.#stopping.signal,
      );
      // What is not finished is begun again by the next process.
      if (this.#stopping.signal.aborted && prepared === undefined) return false;
      this.#unwritten += arrived.length;
      if (prepared !== undefined || this.#unwritten >= MOST_UNWRITTEN) await this.#write(position, prepared);
    }
    this.#position = Math.max(this.#position, position);
    for (const waiter of [...this.#waiters]) if (waiter.position <= this.#position) waiter.end();
    return isMore;
  }

  #batch(): number {
    const { batch } = this.#following;
    return typeof batch === 'number' ? batch : batch();
  }

  async #write(position: number, prepared: Prepared | undefined): Promise<void> {
    const { name, apply } = this.#following;
    await this.#ctx.db.write(`follow.${name}`, async (tx) => {
      if (prepared !== undefined) await apply(tx, prepared);
      await cursors.set(tx, name, position);
    });
    this.#unwritten = 0;
  }

  async #restartIfAsked(): Promise<void> {
    for (let asked = this.#restarts[0]; asked !== undefined; asked = this.#restarts[0]) {
      const { body } = asked;
      await this.#ctx.db.write(`restart.${this.#following.name}`, async (tx) => {
        await body(tx);
        await cursors.set(tx, this.#following.name, arrivals.BEFORE_ALL);
      });
      this.#position = arrivals.BEFORE_ALL;
      this.#restarts.shift();
      asked.done.resolve();
    }
  }

  /** Waits until there is something to read, and a little longer, unless somebody waits for it. */
  async #news(): Promise<void> {
    if (this.#isAwaited() || this.#stopping.signal.aborted) return;
    const waiting = new AbortController();
    this.#wake = () => waiting.abort();
    const { signal } = this.#stopping;
    const how = await this.#ctx.streams.wait(this.#position, ['events'], waiting.signal);
    this.#wake = undefined;
    const isAsked = waiting.signal.aborted || this.#isAwaited();
    if (!isAsked && !signal.aborted)
      await this.#rest(how === 'woken' ? this.#following.lingerMs : FIRST_RETRY_MS);
  }

  /** Somebody waits for a position that is published, or for a new beginning. */
  #isAwaited(): boolean {
    const upto = this.#ctx.streams.upto();
    return this.#restarts.length > 0 || [...this.#waiters].some(({ position }) => position <= upto);
  }

  /** Until the time is over, or somebody asks for something. */
  #rest(ms: number): Promise<void> {
    if (ms === 0 || this.#stopping.signal.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const end = () => {
        clearTimeout(timer);
        this.#wake = undefined;
        resolve();
      };
      const timer = setTimeout(end, ms);
      this.#wake = end;
    });
  }
}
