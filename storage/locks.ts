/** `run` refused because too many jobs wait for the same key already. */
export class QueueFull extends Error {
  override readonly name = 'QueueFull';
}

const MAX_WAITING = 1_000;

interface Queue {
  readonly waiting: (() => void)[];
}

/** Runs the jobs of one key one after the other, those of different keys side by side. */
export class KeyedQueue {
  readonly #maxWaiting: number;
  /** Only keys at work have a queue. */
  readonly #queues = new Map<string, Queue>();

  constructor(options: { readonly maxWaiting?: number } = {}) {
    this.#maxWaiting = options.maxWaiting ?? MAX_WAITING;
  }

  /** How many keys have a job running. */
  get size(): number {
    return this.#queues.size;
  }

  /** True where a job of the key is running. */
  isBusy(key: string): boolean {
    return this.#queues.has(key);
  }

  /**
   * Runs `job` when those that came before it for `key` have ended, however they ended.
   *
   * @throws QueueFull if too many wait for the key
   */
  async run<T>(key: string, job: () => Promise<T>): Promise<T> {
    await this.#enter(key);
    try {
      return await job();
    } finally {
      this.#leave(key);
    }
  }

  async #enter(key: string): Promise<void> {
    const queue = this.#queues.get(key);
    if (!queue) {
      this.#queues.set(key, { waiting: [] });
      return;
    }
    if (queue.waiting.length >= this.#maxWaiting) {
      throw new QueueFull(`${queue.waiting.length} jobs are waiting for ${key} already`);
    }
    await new Promise<void>((turn) => queue.waiting.push(turn));
  }

  /** The key goes to the next in line without being free in between. */
  #leave(key: string): void {
    const next = this.#queues.get(key)?.waiting.shift();
    if (next) next();
    else this.#queues.delete(key);
  }
}
