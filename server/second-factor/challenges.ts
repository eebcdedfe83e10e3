import type { Clock } from '#rooms/context.ts';
import { Lru } from '#storage/lru.ts';

const MOST = 10_000;
const LIFETIME_MS = 5 * 60_000;

/** What passkeys are to sign, by the browser that asked; each is good once. In memory: who is caught by a restart asks again. */
export class Challenges {
  readonly #clock: Clock;
  readonly #byBrowser = new Lru<string, { readonly challenge: string; readonly expiresTs: number }>({
    maxEntries: MOST,
  });

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  set(browser: string, challenge: string): void {
    this.#byBrowser.set(browser, { challenge, expiresTs: this.#clock.now() + LIFETIME_MS });
  }

  take(browser: string): string | undefined {
    const kept = this.#byBrowser.get(browser);
    this.#byBrowser.delete(browser);
    return kept !== undefined && kept.expiresTs > this.#clock.now() ? kept.challenge : undefined;
  }
}
