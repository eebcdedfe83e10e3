/**
 * How long the main thread works without giving others a turn, by its own CPU time: what other programs of the machine
 * do in between is not in it, nor is waiting for the disk.
 */
export class TurnSampler implements Disposable {
  #longestMs = 0;
  #last = process.threadCpuUsage();
  #next: NodeJS.Immediate;

  constructor() {
    this.#next = setImmediate(this.#sample);
  }

  /** Milliseconds of CPU time of the longest turn so far. */
  get longestMs(): number {
    return this.#longestMs;
  }

  [Symbol.dispose](): void {
    clearImmediate(this.#next);
  }

  readonly #sample = (): void => {
    const { user, system } = process.threadCpuUsage();
    this.#longestMs = Math.max(this.#longestMs, (user + system - this.#last.user - this.#last.system) / 1000);
    this.#last = { user, system };
    this.#next = setImmediate(this.#sample);
  };
}
