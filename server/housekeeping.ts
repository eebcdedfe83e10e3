import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Clock, Log } from '#rooms/context.ts';
import * as clientTransactions from '#storage/client-transactions.ts';
import type { Database } from '#storage/database.ts';

const DAY_MS = 24 * 60 * 60_000;
/** A client that was away for longer sends anew what it does not know to have arrived. */
const TRANSACTIONS_KEPT_MS = 7 * DAY_MS;
const ROWS_AT_ONCE = 500;

/** Deletes what need not be kept, when it is started and once a day, a little at a time. */
export class Housekeeping {
  readonly #db: Database;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #stopping = new AbortController();
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> = Promise.resolve();

  constructor({ db, clock, log }: { readonly db: Database; readonly clock: Clock; readonly log: Log }) {
    this.#db = db;
    this.#clock = clock;
    this.#log = log;
  }

  start(): void {
    this.#timer = setInterval(() => this.#begin(), DAY_MS).unref();
    this.#begin();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer);
    this.#stopping.abort();
    await this.#running;
  }

  #begin(): void {
    this.#running = this.#running
      .then(() => forgetOldTransactions(this.#db, this.#clock, this.#stopping.signal))
      .catch((error: unknown) => this.#log.error({ err: error }, 'old rows could not be deleted'));
  }
}

/** Forgets the transactions of clients that are older than a week. */
export async function forgetOldTransactions(db: Database, clock: Clock, signal: AbortSignal): Promise<void> {
  const before = clock.now() - TRANSACTIONS_KEPT_MS;
  while (!signal.aborted) {
    // In portions, so that nobody waits long for the one writer.
    const deleted = await db.write('housekeeping.transactions', (tx) =>
      clientTransactions.deleteBefore(tx, before, ROWS_AT_ONCE),
    );
    if (deleted < ROWS_AT_ONCE) return;
    await nextTurn();
  }
}
