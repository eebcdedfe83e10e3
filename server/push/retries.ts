import type { UserId } from '#keys/ids.ts';
import { Lru } from '#storage/lru.ts';

const FIRST_MS = 1_000;
const LAST_MS = 60 * 60_000;
const MOST_KEYS = 100_000;
/** So that a thousand users of one gateway do not come back in one moment. */
const SPREAD = 0.2;

/** "the homeserver SHOULD retry for a reasonable amount of time using exponential backoff": of pushers, and of gateways. */
export class Retries implements Disposable {
  readonly #wake: (userId: UserId) => void;
  /** By the process's own clock. */
  readonly #failed = new Lru<string, { readonly failures: number; readonly until: number }>({
    maxEntries: MOST_KEYS,
  });
  /** For each user the earliest: whoever is woken says again what they still wait for. */
  readonly #timers = new Map<UserId, { readonly timer: NodeJS.Timeout; readonly at: number }>();

  constructor(wake: (userId: UserId) => void) {
    this.#wake = wake;
  }

  mayTry(key: string): boolean {
    return performance.now() >= (this.#failed.peek(key)?.until ?? 0);
  }

  /** How often it has failed since it last succeeded. */
  failuresOf(key: string): number {
    return this.#failed.peek(key)?.failures ?? 0;
  }

  succeeded(key: string): void {
    this.#failed.delete(key);
  }

  /** It failed once more; the user is woken when it may be tried again, `leastMs` from now or later. */
  failed(key: string, userId: UserId, leastMs = 0): void {
    const failures = (this.#failed.peek(key)?.failures ?? 0) + 1;
    const pause = Math.min(LAST_MS, Math.max(leastMs, FIRST_MS * 2 ** Math.min(failures - 1, 20)));
    this.#failed.set(key, { failures, until: performance.now() + pause });
    this.waitFor(userId, [key]);
  }

  /** Wakes the user when all of the keys may be tried again, or earlier where they wait for others, too. */
  waitFor(userId: UserId, keys: readonly string[]): void {
    const until = Math.max(...keys.map((key) => this.#failed.peek(key)?.until ?? 0));
    const now = performance.now();
    const ms = Math.max(0, until - now) * (1 + SPREAD * Math.random()) + 1;
    const set = this.#timers.get(userId);
    if (set !== undefined && set.at <= now + ms) return;
    clearTimeout(set?.timer);
    const timer = setTimeout(() => {
      this.#timers.delete(userId);
      this.#wake(userId);
    }, ms).unref();
    this.#timers.set(userId, { timer, at: now + ms });
  }

  [Symbol.dispose](): void {
    for (const { timer } of this.#timers.values()) clearTimeout(timer);
    this.#timers.clear();
  }
}
