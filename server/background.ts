import type { Log } from '#rooms/context.ts';

/** Work that goes on after its request was answered. The server waits for it before it closes. */
export class Background {
  readonly #log: Log;
  readonly #running = new Set<Promise<void>>();

  constructor(log: Log) {
    this.#log = log;
  }

  /** Lets `work` go on; what it fails with is logged with `failure` as the message. */
  run(work: Promise<void>, failure: string): void {
    const running = work
      .catch((error: unknown) => this.#log.error({ err: error }, failure))
      .finally(() => this.#running.delete(running));
    this.#running.add(running);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#running);
  }
}
