/** At most `width` jobs at once, and at most `maxWaiting` behind them. */

/** Thrown, as a value to be answered, where as many jobs wait as may. */
export class LanesFull extends Error {
  override readonly name = 'LanesFull';
}

export class Lanes {
  readonly #width: number;
  readonly #maxWaiting: number;
  readonly #waiting: (() => void)[] = [];
  #running = 0;

  constructor(width: number, maxWaiting: number) {
    this.#width = width;
    this.#maxWaiting = maxWaiting;
  }

  /** Runs the job when a lane is free, first come first served. Rejects with `LanesFull` at once if too many wait. */
  async run<T>(job: () => Promise<T>): Promise<T> {
    await new Promise<void>((resolve) => this.enter(resolve));
    try {
      return await job();
    } finally {
      this.leave();
    }
  }

  /**
   * Calls `start` when a lane is free, at once or in its turn: who is called has to `leave`. For jobs without a promise;
   * `run` does both. Throws `LanesFull` if too many wait.
   */
  enter(start: () => void): void {
    if (this.#running < this.#width) {
      this.#running += 1;
      start();
      return;
    }
    if (this.#waiting.length >= this.#maxWaiting) throw new LanesFull('too many jobs are waiting');
    this.#waiting.push(start);
  }

  /** Hands the lane on to the next in line, so that nobody overtakes. */
  leave(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#running -= 1;
    else next();
  }
}
