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

  /**
   * Runs the job when a lane is free, first come first served. Rejects with `LanesFull` at once if too many wait, and
   * with the signal's reason where it ends the wait; a job that runs is not its affair.
   */
  async run<T>(job: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    signal?.throwIfAborted();
    await this.#turn(signal);
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

  /** A lane that is ours, unless the signal ends the wait for it. */
  #turn(signal: AbortSignal | undefined): Promise<void> {
    return new Promise<void>((resolve, reject) => {
      let isIn = false;
      const start = (): void => {
        isIn = true;
        signal?.removeEventListener('abort', giveUp);
        resolve();
      };
      const giveUp = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(start), 1);
        reject(signal?.reason);
      };
      this.enter(start);
      if (!isIn) signal?.addEventListener('abort', giveUp, { once: true });
    });
  }

  /** Hands the lane on to the next in line, so that nobody overtakes. */
  leave(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#running -= 1;
    else next();
  }
}
