/**
 * Tells one service what happens: https://spec.matrix.org/v1.19/application-service-api/#pushing-events
 *
 * 1. What happened after the cursor becomes a transaction (`compose.ts`), which is written down with the cursor.
 * 2. It is sent until the service takes it: word for word the same, under the same id, however often and for how long.
 * 3. What came meanwhile becomes the next one, which takes its place on disk.
 *
 * So there is one transaction at a time in memory and on disk, a crash loses nothing, and what comes twice comes under
 * the same id.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import * as news from '#storage/appservice-news.ts';
import * as appservices from '#storage/appservices.ts';
import { cursors } from '#storage/cursors.ts';
import { compose, type Listener } from './compose.ts';
import type { NewsContext } from './context.ts';
import { DEVICE_KEYS, KeyCounts } from './device-news.ts';
import { EphemeralChanges, RECEIPT_KEYS } from './ephemeral-news.ts';
import { Interest } from './interest.ts';

export interface DeliveryStatus {
  /** Transactions that were taken since the start. */
  readonly taken: number;
  /** The one that was not taken yet; undefined where there is none. */
  readonly waiting:
    | {
        readonly txnId: string;
        readonly createdTs: number;
        readonly attempts: number;
        /** What became of the last attempt; undefined before its end. */
        readonly problem: string | undefined;
      }
    | undefined;
}

const TIMEOUT_MS = 60_000;
const FIRST_RETRY_MS = 1_000;
const LAST_RETRY_MS = 5 * 60_000;
/** So long what comes is gathered. */
const LINGER_MS = 5;
/** Positions without news after which the cursor is written all the same. */
const MOST_UNWRITTEN = 10_000;

export class Delivery {
  readonly #ctx: NewsContext;
  readonly #listener: Listener;
  readonly #stopping = new AbortController();
  #running: Promise<void> = Promise.resolve();
  #waiting: appservices.WaitingTransaction | undefined;
  #position = 0;
  #written = 0;
  #attempts = 0;
  #taken = 0;
  #problem: string | undefined;
  /** Ends the present pause. */
  #wake: (() => void) | undefined;

  constructor(ctx: NewsContext, { service, isAnothers }: Pick<Listener, 'service' | 'isAnothers'>) {
    this.#ctx = ctx;
    const { receivesEphemeral } = service.registration;
    this.#listener = {
      service,
      isAnothers,
      interest: new Interest(ctx, service),
      changes: receivesEphemeral ? new EphemeralChanges(ctx, () => this.#onChange()) : undefined,
      keyCounts: new KeyCounts(),
    };
  }

  start(): void {
    this.#running = this.#run();
  }

  get status(): DeliveryStatus {
    const { txnId, createdTs } = this.#waiting ?? {};
    const isWaiting = txnId !== undefined && createdTs !== undefined;
    return {
      taken: this.#taken,
      waiting: isWaiting ? { txnId, createdTs, attempts: this.#attempts, problem: this.#problem } : undefined,
    };
  }

  /** Tries again at once: the service has shown that it is there. */
  retry(): void {
    if (this.#attempts > 0) this.#wake?.();
  }

  /** Stops; the next process goes on where this one was. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping.abort();
    this.#wake?.();
    this.#listener.changes?.[Symbol.dispose]();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping;
    const { service } = this.#listener;
    let failures = 0;
    let isRead = false;
    while (!signal.aborted) {
      try {
        if (!isRead) await this.#read();
        isRead = true;
        // One after the other: "The events sent to the application service should be linearised".
        await this.#step();
        failures = 0;
      } catch (error) {
        if (signal.aborted) return;
        failures += 1;
        this.#ctx.log.error(
          { err: error, appservice: service.id },
          'a service was not told: it is tried again',
        );
        await this.#rest(retryMs(failures));
      }
    }
  }

  async #read(): Promise<void> {
    const { db, streams } = this.#ctx;
    const { id } = this.#listener.service;
    this.#waiting = await appservices.waiting(db, id);
    const known = await cursors.find(db, appservices.cursorOf(id));
    this.#position = known ?? streams.upto();
    this.#written = this.#position;
    // Written down, so that a process that ends before the first event loses none.
    if (known === undefined) await this.#write(this.#position);
  }

  /** Sends what waits, and makes the next transaction. */
  async #step(): Promise<void> {
    if (this.#waiting !== undefined && !(await this.#isTaken(this.#waiting))) {
      await this.#rest(retryMs(this.#attempts));
      return;
    }
    const { db, clock } = this.#ctx;
    const { id } = this.#listener.service;
    const { body, upto, messages } = await compose(this.#ctx, this.#listener, this.#position);
    if (body === undefined) {
      if (this.#waiting !== undefined || upto - this.#written >= MOST_UNWRITTEN) await this.#write(upto);
      this.#position = Math.max(this.#position, upto);
      await this.#news();
      return;
    }
    const createdTs = clock.now();
    // Of a database that was put back to an earlier time the positions come again: the time makes the id another one.
    const next = { txnId: `${createdTs}-${upto}`, body, createdTs };
    await db.write('appservices.next', async (tx) => {
      await appservices.setWaiting(tx, id, next);
      if (messages.length > 0) await news.deleteMessages(tx, messages);
      await cursors.set(tx, appservices.cursorOf(id), upto);
    });
    this.#became(next, upto);
  }

  #became(waiting: appservices.WaitingTransaction | undefined, position: number): void {
    this.#waiting = waiting;
    this.#position = position;
    this.#written = position;
    this.#attempts = 0;
    this.#problem = undefined;
  }

  /** Writes how far everything is told: nothing waits any more. */
  async #write(position: number): Promise<void> {
    const { id } = this.#listener.service;
    await this.#ctx.db.write('appservices.taken', async (tx) => {
      await appservices.taken(tx, id);
      await cursors.set(tx, appservices.cursorOf(id), position);
    });
    this.#became(undefined, position);
  }

  async #isTaken({ txnId, body }: appservices.WaitingTransaction): Promise<boolean> {
    const { service } = this.#listener;
    const encoded = encodeURIComponent(txnId);
    const answer = await service.caller.call({
      method: 'PUT',
      path: `/v1/transactions/${encoded}`,
      formerPath: `/transactions/${encoded}`,
      body,
      timeoutMs: TIMEOUT_MS,
      signal: this.#stopping.signal,
    });
    if (answer.kind === 'answered' && answer.status >= 200 && answer.status < 300) {
      if (this.#attempts > 0) {
        this.#ctx.log.info(
          { appservice: service.id, attempts: this.#attempts },
          'a service takes news again',
        );
      }
      this.#taken += 1;
      return true;
    }
    if (this.#stopping.signal.aborted) return false;
    this.#attempts += 1;
    this.#problem = answer.kind === 'answered' ? `it answers ${answer.status}` : answer.reason;
    if (this.#attempts === 1) {
      const fields = { appservice: service.id, reason: this.#problem };
      this.#ctx.log.warn(fields, 'a service does not take its transaction: it is tried again');
    }
    return false;
  }

  /** Waits until something may concern the service, and a little longer. */
  async #news(): Promise<void> {
    const { streams } = this.#ctx;
    const { changes, service } = this.#listener;
    const { receivesEphemeral, receivesDevices } = service.registration;
    if (changes?.isEmpty === false) return;
    const keys = ['events'];
    if (receivesEphemeral) keys.push(...RECEIPT_KEYS);
    if (receivesDevices) keys.push(...DEVICE_KEYS);
    const waiting = new AbortController();
    this.#wake = () => waiting.abort();
    if (this.#stopping.signal.aborted) waiting.abort();
    const how = await streams.wait(this.#position, keys, waiting.signal);
    this.#wake = undefined;
    // Closed streams wake nobody any more.
    const isEnded = how === 'aborted' && !waiting.signal.aborted;
    await this.#rest(isEnded ? FIRST_RETRY_MS : LINGER_MS);
  }

  #onChange(): void {
    // Not from the pause after a failure: what has changed is told with the next transaction.
    if (this.#attempts === 0) this.#wake?.();
  }

  /** Until the time is over, or somebody asks for the next attempt. */
  async #rest(ms: number): Promise<void> {
    if (this.#stopping.signal.aborted) return;
    const pause = new AbortController();
    this.#wake = () => pause.abort();
    await sleep(ms, undefined, { signal: pause.signal }).catch(() => undefined);
    this.#wake = undefined;
  }
}

function retryMs(failures: number): number {
  return Math.min(LAST_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.min(failures - 1, 20));
}
