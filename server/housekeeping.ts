import { setImmediate as nextTurn } from 'node:timers/promises';
import type { MediaContext } from '#federation/media/context.ts';
import { tidyMedia } from '#federation/media/tidy.ts';
import type { Clock } from '#rooms/context.ts';
import * as clientTransactions from '#storage/client-transactions.ts';
import type { Database } from '#storage/database.ts';
import * as slidingConnections from '#storage/sliding-connections.ts';
import * as stickyEvents from '#storage/sticky-events.ts';
import * as urlPreviews from '#storage/url-previews.ts';
import { removeDeletedBackups } from './e2ee-keys/key-backup.ts';
import { forgetUnusedClients } from './oauth/clients.ts';
import { PREVIEWS_KEPT_MS } from './previews/previews.ts';

const DAY_MS = 24 * 60 * 60_000;
/** A client that was away for longer sends anew what it does not know to have arrived. */
const TRANSACTIONS_KEPT_MS = 7 * DAY_MS;
const CONNECTIONS_KEPT_MS = 30 * DAY_MS;
const ROWS_AT_ONCE = 500;
const CONNECTIONS_AT_ONCE = 50;

type HousekeepingContext = Pick<MediaContext, 'db' | 'clock' | 'log' | 'media' | 'serverName'>;

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
      .then(() => forgetOldConnections(db, clock, signal))
      .catch((error: unknown) => log.error({ err: error }, 'old connections could not be deleted'))
      .then(() => forgetSticky(db, clock, signal))
      .catch((error: unknown) => log.error({ err: error }, 'old sticky events could not be forgotten'))
      .then(() => removeDeletedBackups(db, signal))
      .catch((error: unknown) => log.error({ err: error }, 'deleted backups of keys could not be removed'))
      .then(() => forgetUnusedClients(this.#ctx))
      .catch((error: unknown) => log.error({ err: error }, 'unused clients of OAuth could not be forgotten'))
      .then(() => forgetOldPreviews(db, clock, signal))
      .catch((error: unknown) => log.error({ err: error }, 'old previews could not be deleted'))
      .then(() => tidyMedia(this.#ctx, signal))
      .catch((error: unknown) => log.error({ err: error }, 'media could not be tidied'));
  }
}

/** Forgets the transactions of clients that are older than a week. */
export async function forgetOldTransactions(db: Database, clock: Clock, signal: AbortSignal): Promise<void> {
  const before = clock.now() - TRANSACTIONS_KEPT_MS;
  await inPortions(signal, () =>
    db.write('housekeeping.transactions', (tx) => clientTransactions.deleteBefore(tx, before, ROWS_AT_ONCE)),
  );
}

/** Forgets which events were sticky; the events stay. */
async function forgetSticky(db: Database, clock: Clock, signal: AbortSignal): Promise<void> {
  await inPortions(signal, () =>
    db.write('housekeeping.sticky', (tx) => stickyEvents.deleteEnded(tx, clock.now(), ROWS_AT_ONCE)),
  );
}

/** Forgets the connections of sliding sync that nobody has used for a month: clients begin them anew. */
export async function forgetOldConnections(db: Database, clock: Clock, signal: AbortSignal): Promise<void> {
  const before = clock.now() - CONNECTIONS_KEPT_MS;
  await inPortions(signal, () =>
    db.write('housekeeping.connections', (tx) =>
      slidingConnections.removeBefore(tx, before, CONNECTIONS_AT_ONCE),
    ),
  );
}

/** Forgets the previews of links that would be made anew. */
export async function forgetOldPreviews(db: Database, clock: Clock, signal: AbortSignal): Promise<void> {
  const before = clock.now() - PREVIEWS_KEPT_MS;
  await inPortions(signal, () =>
    db.write('housekeeping.previews', (tx) => urlPreviews.removeBefore(tx, before, ROWS_AT_ONCE)),
  );
}

/** So that nobody waits long for the one writer; until there is nothing left to delete. */
async function inPortions(signal: AbortSignal, deleteSome: () => Promise<number>): Promise<void> {
  while (!signal.aborted) {
    if ((await deleteSome()) === 0) return;
    await nextTurn();
  }
}
