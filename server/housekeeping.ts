import { setImmediate as nextTurn } from 'node:timers/promises';
import type { MediaContext } from '#federation/media/context.ts';
import { tidyMedia } from '#federation/media/tidy.ts';
import type { Clock } from '#rooms/context.ts';
import * as clientTransactions from '#storage/client-transactions.ts';
import type { Database } from '#storage/database.ts';
import { removeDeletedBackups } from './key-backup.ts';

const DAY_MS = 24 * 60 * 60_000;
/** A client that was away for longer sends anew what it does not know to have arrived. */
const TRANSACTIONS_KEPT_MS = 7 * DAY_MS;
const ROWS_AT_ONCE = 500;

type HousekeepingContext = Pick<MediaContext, 'db' | 'clock' | 'log' | 'media'>;

/** Deletes what need not be kept, when it is started and once a day, a little at a time. */
export class Housekeeping {
  readonly #ctx: HousekeepingContext;
  readonly #stopping = new AbortController();
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> = Promise.resolve();

  constructor(ctx: HousekeepingContext) {
    this.#ctx = ctx;
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
    const { db, clock, log } = this.#ctx;
    const { signal } = this.#stopping;
    this.#running = this.#running
      .then(() => forgetOldTransactions(db, clock, signal))
      .catch((error: unknown) => log.error({ err: error }, 'old rows could not be deleted'))
      .then(() => removeDeletedBackups(db, signal))
      .catch((error: unknown) => log.error({ err: error }, 'deleted backups of keys could not be removed'))
      .then(() => tidyMedia(this.#ctx, signal))
      .catch((error: unknown) => log.error({ err: error }, 'media could not be tidied'));
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
