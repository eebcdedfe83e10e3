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
    await this.#enter();
    try {
      return await job();
    } finally {
      this.#leave();
    }
  }

  async #enter(): Promise<void> {
    if (this.#running < this.#width) {
      this.#running += 1;
      return;
    }
    if (this.#waiting.length >= this.#maxWaiting) throw new LanesFull('too many jobs are waiting');
    await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  /** Hands the lane on to the next in line, so that nobody overtakes. */
  #leave(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#running -= 1;
    else next();
  }
}
