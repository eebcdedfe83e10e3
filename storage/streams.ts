/**
 * Positions: one counter for everything that clients and consumers follow. A position is taken inside the
 * write of what it names (`allocate`), or for news that is only in memory (`announce`), and is published in
 * order: `upto()` never passes a position whose write is still open.
 *
 * Positions never repeat and never go back, though those of `announce` are not written anywhere: they are
 * reserved in blocks, and a process starts above every position that an earlier one may have used. Hence
 * the rule that nothing above the reserved bound is ever published.
 */

import type { Database, Tx } from './database.ts';
import { type Follower, KnownFollower, type Waiter } from './follower.ts';
import { Lru } from './lru.ts';
import { RecentNews } from './recent-news.ts';
import { Reservation } from './reservation.ts';
import { sql } from './sql.ts';

export type { Follower, Waiter } from './follower.ts';

/** Whom a position may concern: `room:!x`, `user:@a:b`, `outgoing`. */
export type Hint = readonly string[];

const BLOCK = 10_000;
const HEADROOM = 5_000;
const HISTORY_BLOCK = 1_000;
const KNOWN_KEYS = 100_000;
const RECALLED_KEYS = 60_000;
const RETRY_MS = 1_000;
/** In a turn of the loop: of a large room all at once would fill the memory with answers that are half made. */
const WOKEN_AT_ONCE = 50;
const NO_KEYS: ReadonlySet<string> = new Set();

const reservedBounds = sql<[], { id: string; upto: number }>(
  'streams.reserved',
  'SELECT id, upto FROM stream_reserve ORDER BY id',
);
/** A position that was taken and is not published yet. */
interface Taken {
  readonly position: number;
  hint: Hint;
  settled: boolean;
}

export class Streams {
  readonly #db: Database;
  readonly #live: Reservation;
  readonly #history: Reservation;
  /** What is not published, in order, from `#head` on. */
  readonly #taken: Taken[] = [];
  #head = 0;
  /** Those published longest ago are dropped first, however often they are asked for. */
  readonly #last = new Lru<string, number>({ maxEntries: KNOWN_KEYS, onEvict: (_, at) => this.#evicted(at) });
  /** Of keys that are not known any more, as they were read from the database. */
  readonly #recalled = new Lru<string, { readonly position: number; readonly asOf: number }>({
    maxEntries: RECALLED_KEYS,
  });
  readonly #followers = new Map<string, Set<KnownFollower>>();
  readonly #listeners = new Map<string, Set<(position: number) => void>>();
  readonly #awake = new Map<Waiter, KnownFollower>();
  readonly #called = new Set<(position: number) => void>();
  readonly #recent: RecentNews;
  #upto: number;
  #evictedUpto: number;
  #waking = false;
  #timer: NodeJS.Timeout | undefined;
  #reserving = false;
  #closed = false;

  static async open(db: Database): Promise<Streams> {
    const bounds = new Map((await db.all(reservedBounds)).map((row) => [row.id, row.upto]));
    const streams = new Streams(db, bounds.get('live') ?? 0, bounds.get('history') ?? 0);
    await streams.#reserve();
    return streams;
  }

  private constructor(db: Database, live: number, history: number) {
    this.#db = db;
    this.#live = new Reservation('live', live, BLOCK);
    this.#history = new Reservation('history', history, HISTORY_BLOCK);
    this.#upto = live;
    // What earlier processes published is not known by its keys.
    this.#evictedUpto = live;
    this.#recent = new RecentNews(live);
  }

  /** The next position, inside the write of what it names; `hint` is announced once that is committed. */
  allocate(tx: Tx, hint: Hint): number {
    const taken = this.#take(hint, false);
    this.#live.reserveIn(tx, taken.position);
    tx.afterCommit(() => this.#settle(taken));
    tx.afterRollback(() => {
      taken.hint = [];
      this.#settle(taken);
    });
    return taken.position;
  }

  /** The next position, for news that lives in memory only (typing, presence); published at once. */
  announce(hint: Hint): number {
    const { position } = this.#take(hint, true);
    this.#publish();
    return position;
  }

  /** The next position of history that was fetched later: -1, -2, ... Nobody waits for it. */
  allocateHistory(tx: Tx): number {
    const position = this.#history.take();
    this.#history.reserveIn(tx, position);
    return -position;
  }

  /** The highest position below which nothing is pending: what a reader may read up to, and a token may say. */
  upto(): number {
    return this.#upto;
  }

  /** The last published position of a key, or undefined if it is not known. */
  lastPositionOf(key: string): number | undefined {
    return this.#last.peek(key);
  }

  /** False where it is certain that nothing concerned the key at a position above `since`. */
  mayConcern(key: string, since: number): boolean {
    return this.#isNewer(key, since);
  }

  /** True where it is known when something last concerned the key. */
  knows(key: string): boolean {
    return this.#lastOf(key) !== undefined;
  }

  /**
   * Tells when something last concerned a key that is not known any more, such as after a restart, as far as it is
   * stored; `asOf` is `upto()` from before that was read. What only announcements have told is not looked at.
   */
  recall(key: string, position: number, asOf: number): void {
    this.#recalled.set(key, { position, asOf });
  }

  /**
   * The keys that something concerned after a position, the latest first. Undefined where that is not known any more,
   * or more than `most` positions would have to be looked at.
   */
  keysSince(since: number, most: number): ReadonlySet<string> | undefined {
    return since >= this.#upto ? NO_KEYS : this.#recent.keysSince(since, most);
  }

  /** True where everything is known that happened after the position: not after a restart, nor a long time. */
  remembers(since: number): boolean {
    return this.#recent.covers(since);
  }

  /** Keys to wait for. */
  follow(keys: Iterable<string>): Follower {
    const follower = new KnownFollower();
    this.#add(follower, keys);
    return follower;
  }

  /** Follows other keys from now on; who waits goes on waiting, for these. */
  refollow(follower: Follower, keys: Iterable<string>): void {
    if (!(follower instanceof KnownFollower)) throw new TypeError('a follower of other streams');
    const wanted = new Set(keys);
    for (const key of follower.keys) {
      if (wanted.has(key)) continue;
      removeFrom(this.#followers, key, follower);
      follower.keys.delete(key);
    }
    this.#add(follower, wanted);
  }

  /** Nobody will wait with this follower again; those who still do are not disturbed. */
  release(follower: Follower): void {
    if (!(follower instanceof KnownFollower)) throw new TypeError('a follower of other streams');
    follower.isReleased = true;
    if (follower.waiters.size === 0) this.#end(follower);
  }

  /**
   * Waits until something concerns one of the keys at a position above `since`, which may be the case
   * already. `since` is what the caller has read up to: `upto()`, taken before it read.
   */
  wait(since: number, keys: Iterable<string> | Follower, signal: AbortSignal): Promise<'woken' | 'aborted'> {
    if (signal.aborted || this.#closed) return Promise.resolve('aborted');
    const isKnown = keys instanceof KnownFollower;
    const follower = isKnown
      ? keys
      : this.#add(new KnownFollower(), Symbol.iterator in keys ? keys : keys.keys);
    follower.isReleased ||= !isKnown;
    return new Promise((resolve) => {
      const abort = () => {
        this.leave(follower, waiter);
        resolve('aborted');
      };
      const waiter: Waiter = {
        end: (how) => {
          signal.removeEventListener('abort', abort);
          resolve(how);
        },
      };
      signal.addEventListener('abort', abort, { once: true });
      if (!this.await(since, follower, waiter)) this.#dismiss(follower, waiter, 'woken');
    });
  }

  /**
   * The same without a promise: ends `waiter` once. False, and nothing more will be told, where something concerned one
   * of the keys already. Whoever waits no longer must `leave`.
   */
  await(since: number, follower: Follower, waiter: Waiter): boolean {
    if (!(follower instanceof KnownFollower)) throw new TypeError('a follower of other streams');
    if (this.#closed) {
      waiter.end('aborted');
      return true;
    }
    if (this.#concernsAny(follower.keys, since)) return false;
    this.#begin(follower);
    follower.waiters.add(waiter);
    return true;
  }

  /** Ends a wait without a word. */
  leave(follower: Follower, waiter: Waiter): void {
    if (!(follower instanceof KnownFollower)) throw new TypeError('a follower of other streams');
    this.#awake.delete(waiter);
    follower.waiters.delete(waiter);
    if (follower.isReleased && follower.waiters.size === 0) this.#end(follower);
  }

  /** Calls `listener` after positions of `key` were published, once for a turn of the loop. */
  subscribe(key: string, listener: (position: number) => void): () => void {
    addTo(this.#listeners, key, listener);
    return () => removeFrom(this.#listeners, key, listener);
  }

  /** Ends every wait. Positions cannot be taken any more. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#listeners.clear();
    const followers = new Set([...this.#followers.values()].flatMap((set) => [...set]));
    for (const follower of followers) {
      for (const waiter of [...follower.waiters]) this.#dismiss(follower, waiter, 'aborted');
    }
  }

  #dismiss(follower: KnownFollower, waiter: Waiter, how: 'woken' | 'aborted'): void {
    this.leave(follower, waiter);
    waiter.end(how);
  }

  #add(follower: KnownFollower, keys: Iterable<string>): KnownFollower {
    for (const key of keys) {
      if (follower.keys.has(key)) continue;
      follower.keys.add(key);
      addTo(this.#followers, key, follower);
    }
    return follower;
  }

  #begin(follower: KnownFollower): void {
    if (follower.isFollowing) return;
    follower.isFollowing = true;
    for (const key of follower.keys) addTo(this.#followers, key, follower);
  }

  #end(follower: KnownFollower): void {
    follower.isFollowing = false;
    for (const key of follower.keys) removeFrom(this.#followers, key, follower);
  }

  /** By whichever are fewer: what happened since, or the keys. */
  #concernsAny(keys: ReadonlySet<string>, since: number): boolean {
    const recent = this.keysSince(since, keys.size);
    if (recent === undefined) return keys.values().some((key) => this.#isNewer(key, since));
    return recent.values().some((key) => keys.has(key));
  }

  #take(hint: Hint, settled: boolean): Taken {
    if (this.#closed) throw new Error('the streams are closed');
    const taken = { position: this.#live.take(), hint, settled };
    this.#taken.push(taken);
    if (this.#live.headroom < HEADROOM) this.#reserveSoon();
    return taken;
  }

  #settle(taken: Taken): void {
    taken.settled = true;
    this.#publish();
  }

  /** Publishes what is settled, in order, up to the first position whose write is still open. */
  #publish(): void {
    for (let next = this.#taken[this.#head]; next; next = this.#taken[this.#head]) {
      if (!next.settled || next.position > this.#live.durable) break;
      this.#head += 1;
      this.#upto = next.position;
      this.#recent.add(next.position, next.hint);
      for (const key of next.hint) this.#touch(key, next.position);
    }
    if (this.#head === this.#taken.length || this.#head > 1_000) {
      this.#taken.splice(0, this.#head);
      this.#head = 0;
    }
  }

  #touch(key: string, position: number): void {
    this.#last.set(key, position);
    for (const follower of this.#followers.get(key) ?? []) {
      for (const waiter of follower.waiters) this.#awake.set(waiter, follower);
    }
    for (const listener of this.#listeners.get(key) ?? []) this.#called.add(listener);
    if (this.#awake.size > 0 || this.#called.size > 0) this.#wakeSoon();
  }

  #wakeSoon(): void {
    if (this.#waking) return;
    this.#waking = true;
    setImmediate(() => this.#wake());
  }

  #wake(): void {
    this.#waking = false;
    const listeners = [...this.#called];
    this.#called.clear();
    for (const [waiter, follower] of this.#awake.entries().take(WOKEN_AT_ONCE))
      this.#dismiss(follower, waiter, 'woken');
    if (this.#awake.size > 0) this.#wakeSoon();
    // Each for itself: a listener that throws must not keep the news from the others.
    for (const listener of listeners) queueMicrotask(() => listener(this.#upto));
  }

  #isNewer(key: string, since: number): boolean {
    const last = this.#lastOf(key);
    return last === undefined ? since < this.#evictedUpto : last > since;
  }

  #lastOf(key: string): number | undefined {
    const last = this.#last.peek(key);
    if (last !== undefined || this.#recalled.size === 0) return last;
    const recalled = this.#recalled.peek(key);
    // Whatever came after it was read is known, or was evicted.
    return recalled === undefined || recalled.asOf < this.#evictedUpto ? undefined : recalled.position;
  }

  #evicted(position: number): void {
    this.#evictedUpto = Math.max(this.#evictedUpto, position);
  }

  /** Reserves the next block by a write of its own. Positions above the bound wait for it. */
  async #reserve(): Promise<void> {
    await this.#db.write('streams.reserve', (tx) => this.#live.reserveMore(tx));
    this.#publish();
  }

  #reserveSoon(delayMs = 0): void {
    if (this.#reserving) return;
    this.#reserving = true;
    // Not in this turn: the position may have been taken inside a write.
    this.#timer = setTimeout(() => {
      if (this.#closed) return;
      this.#reserve().then(
        () => {
          this.#reserving = false;
        },
        () => {
          // A full or failed disk, which every other write reports: what is above the bound waits for it.
          this.#reserving = false;
          this.#reserveSoon(RETRY_MS);
        },
      );
    }, delayMs).unref();
  }
}

function addTo<T>(sets: Map<string, Set<T>>, key: string, member: T): void {
  const set = sets.get(key);
  if (set) set.add(member);
  else sets.set(key, new Set([member]));
}

function removeFrom<T>(sets: Map<string, Set<T>>, key: string, member: T): void {
  const set = sets.get(key);
  if (set?.delete(member) && set.size === 0) sets.delete(key);
}
