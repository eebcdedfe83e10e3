import type { UserId } from '#keys/ids.ts';
import { Lru } from './lru.ts';

interface Bucket {
  tokens: number;
  /** When `tokens` was right, by the same clock as `now`. */
  at: number;
}

/** Changes of a user that are announced at once; a person makes fewer. */
const BURST = 10;
const REFILL_MS = 10_000;
const MOST_USERS = 50_000;

/**
 * How often it is announced how a user is: each time wakes everybody who shares a room with them, and is sent to their
 * servers. Who changes all the time is announced now and then, as they are by then.
 */
export class PresencePace {
  readonly #buckets = new Lru<UserId, Bucket>({ maxEntries: MOST_USERS });

  /** True where a change of the user may be announced now, which then is counted. `now`: in milliseconds, steadily. */
  takes(userId: UserId, now: number): boolean {
    const bucket = this.#buckets.get(userId) ?? { tokens: BURST, at: now };
    bucket.tokens = Math.min(BURST, bucket.tokens + (now - bucket.at) / REFILL_MS);
    bucket.at = now;
    this.#buckets.set(userId, bucket);
    if (bucket.tokens < 1) return false;
    bucket.tokens -= 1;
    return true;
  }
}
