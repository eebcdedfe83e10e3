/**
 * Wakes somebody who looks for what is due: at the earliest of the times that it is told of, or before, since a clock may
 * be set. So whoever is woken looks what is due by then, and says when the next thing is.
 */

/** So that a clock which is set forward is noticed. */
const LONGEST_SLEEP_MS = 60_000;

export interface DueTimerOptions {
  /** Milliseconds since 1970. */
  readonly clock: { readonly now: () => number };
  readonly wake: () => void;
}

export class DueTimer {
  readonly #options: DueTimerOptions;
  #timer: NodeJS.Timeout | undefined;
  #dueTs = Number.POSITIVE_INFINITY;
  #isStopped = false;

  constructor(options: DueTimerOptions) {
    this.#options = options;
  }

  /** Something is due at this time. It keeps no process alive. */
  set(dueTs: number): void {
    if (this.#isStopped || dueTs >= this.#dueTs) return;
    clearTimeout(this.#timer);
    this.#dueTs = dueTs;
    const ms = Math.min(Math.max(0, dueTs - this.#options.clock.now()), LONGEST_SLEEP_MS);
    this.#timer = setTimeout(() => {
      this.clear();
      this.#options.wake();
    }, ms).unref();
  }

  /** Forgets what it was told: whoever calls it looks by themselves. */
  clear(): void {
    clearTimeout(this.#timer);
    this.#dueTs = Number.POSITIVE_INFINITY;
  }

  /** Wakes nobody any more. */
  stop(): void {
    this.#isStopped = true;
    this.clear();
  }
}
