/**
 * A signal that is aborted after a time, or with any of the given signals. Once disposed it leaves nothing behind,
 * neither a timer nor a listener on a signal that lives as long as the server.
 */
export class TimeLimit implements Disposable {
  readonly #controller = new AbortController();
  readonly #timer: NodeJS.Timeout;
  readonly #signals: readonly AbortSignal[];
  #isOver = false;

  constructor(ms: number, signals: readonly (AbortSignal | undefined)[]) {
    this.#signals = signals.filter((signal) => signal !== undefined);
    this.#timer = setTimeout(() => {
      this.#isOver = true;
      this.#controller.abort(new Error('the time is over'));
    }, ms).unref();
    for (const signal of this.#signals) signal.addEventListener('abort', this.#abort, { once: true });
    if (this.#signals.some((signal) => signal.aborted)) this.#abort();
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** True once the time was over before a signal was aborted. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /** The promise's outcome, or a rejection if the limit comes first. */
  async race<T>(promise: Promise<T>): Promise<T> {
    const { promise: aborted, reject } = Promise.withResolvers<never>();
    const refuse = (): void => reject(this.signal.reason);
    this.signal.addEventListener('abort', refuse, { once: true });
    if (this.signal.aborted) refuse();
    try {
      return await Promise.race([promise, aborted]);
    } finally {
      this.signal.removeEventListener('abort', refuse);
    }
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    for (const signal of this.#signals) signal.removeEventListener('abort', this.#abort);
  }

  readonly #abort = (): void => this.#controller.abort(new Error('given up'));
}

/**
 * A signal that is aborted where what has begun to come does not go on for a time, or with the given signal. Before
 * anything has come it waits for ever.
 */
export class StallLimit implements Disposable {
  readonly #controller = new AbortController();
  readonly #signal: AbortSignal;
  readonly #ms: number;
  #timer: NodeJS.Timeout | undefined;
  #hasStalled = false;

  constructor(ms: number, signal: AbortSignal) {
    this.#ms = ms;
    this.#signal = signal;
    signal.addEventListener('abort', this.#abort, { once: true });
    if (signal.aborted) this.#abort();
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** True once nothing came for the time. */
  get hasStalled(): boolean {
    return this.#hasStalled;
  }

  /** Something has come: the time that `work` on it takes is ours, and counts from its end anew. */
  async during<T>(work: () => Promise<T>): Promise<T> {
    clearTimeout(this.#timer);
    try {
      return await work();
    } finally {
      this.#timer = setTimeout(() => {
        this.#hasStalled = true;
        this.#abort();
      }, this.#ms).unref();
    }
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    this.#signal.removeEventListener('abort', this.#abort);
  }

  readonly #abort = (): void => this.#controller.abort(new Error('given up'));
}
