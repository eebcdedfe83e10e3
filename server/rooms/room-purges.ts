import type { RoomsContext } from '#rooms/context.ts';
import { beginForgettingLeft } from '#rooms/purge/forget.ts';
import { type PurgeResult, runPurge } from '#rooms/purge/purge.ts';
import { KeyedQueue } from '#storage/locks.ts';
import * as purges from '#storage/purges.ts';

const DAY_MS = 24 * 60 * 60_000;
const WAITING_MS = 60_000;
const AT_ONCE = 100;

/**
 * Deletes history and rooms in the background: what an earlier process left unfinished, what is asked for, and once
 * a day the rooms that all of our users have left and forgotten.
 */
export class RoomPurges {
  readonly #ctx: RoomsContext;
  readonly #stopping = new AbortController();
  readonly #runs = new KeyedQueue();
  #timer: NodeJS.Timeout | undefined;
  /** Where something waits for other servers. */
  #soon: NodeJS.Timeout | undefined;
  #daily: Promise<void> = Promise.resolve();
  #asked = new Set<Promise<unknown>>();

  constructor(ctx: RoomsContext) {
    this.#ctx = ctx;
  }

  start(): void {
    this.#timer = setInterval(() => this.#begin(), DAY_MS).unref();
    this.#begin();
  }

  /** Goes on with what is to be deleted of a room; undefined where nothing is. One room at a time. */
  run(roomNid: number): Promise<PurgeResult | undefined> {
    const run = this.#runs.run('purge', () => this.#run(roomNid));
    // Whoever asked may be gone: then the log has it.
    const settled = run
      .catch((error: unknown) => this.#ctx.log.error({ err: error, roomNid }, 'a room was not purged'))
      .finally(() => this.#asked.delete(settled));
    this.#asked.add(settled);
    return run;
  }

  /** Notes the rooms that nobody of ours remembers, and goes on with all that is to be deleted. */
  async runAll(): Promise<void> {
    const { signal } = this.#stopping;
    const forgotten = await beginForgettingLeft(this.#ctx, signal);
    if (forgotten > 0)
      this.#ctx.log.info({ rooms: forgotten }, 'rooms are deleted that all users have forgotten');
    for (let after = 0; !signal.aborted; ) {
      const page = await purges.page(this.#ctx.db, after, AT_ONCE);
      for (const { roomNid } of page) {
        after = roomNid;
        // One after the other: nobody waits for it. What one fails with is logged, and keeps no other from going.
        await this.run(roomNid).catch(() => undefined);
      }
      if (page.length < AT_ONCE) return;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer);
    clearTimeout(this.#soon);
    this.#stopping.abort();
    await this.#daily;
    await Promise.all(this.#asked);
  }

  #begin(): void {
    clearTimeout(this.#soon);
    this.#soon = undefined;
    this.#daily = this.#daily
      .then(() => this.runAll())
      .catch((error: unknown) => this.#ctx.log.error({ err: error }, 'rooms could not be purged'));
  }

  async #run(roomNid: number): Promise<PurgeResult | undefined> {
    const result = await runPurge(this.#ctx, roomNid, this.#stopping.signal);
    if (result?.kind === 'waiting' && !this.#stopping.signal.aborted) {
      this.#soon ??= setTimeout(() => this.#begin(), WAITING_MS).unref();
    }
    if (result?.kind === 'done') this.#ctx.log.info({ roomNid, ...result }, 'a room was purged');
    return result;
  }
}
