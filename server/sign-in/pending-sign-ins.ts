import type { UserId } from '#keys/ids.ts';
import type { Clock } from '#rooms/context.ts';
import { Lru } from '#storage/lru.ts';

/** Somebody who has shown their password, and is to do one thing more. */
export interface PendingSignIn {
  readonly userId: UserId;
  /** Of the password that was shown, where this server knows it: another one is not what has been shown. */
  readonly passwordHash: string | undefined;
  readonly step: 'show' | 'set_up';
  /** The path to go on to afterwards. */
  readonly next: string;
  readonly expiresTs: number;
}

const MOST = 10_000;
const LIFETIME_MS = 10 * 60_000;

/** Those whom only the second factor keeps from being signed in, by browser. In memory: a restart makes them begin again. */
export class PendingSignIns {
  readonly #clock: Clock;
  readonly #byVisitor = new Lru<string, PendingSignIn>({ maxEntries: MOST });

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  begin(visitorId: string, pending: Omit<PendingSignIn, 'expiresTs'>): void {
    this.#byVisitor.set(visitorId, { ...pending, expiresTs: this.#clock.now() + LIFETIME_MS });
  }

  of(visitorId: string): PendingSignIn | undefined {
    const pending = this.#byVisitor.get(visitorId);
    return pending !== undefined && pending.expiresTs > this.#clock.now() ? pending : undefined;
  }

  end(visitorId: string): void {
    this.#byVisitor.delete(visitorId);
  }
}
