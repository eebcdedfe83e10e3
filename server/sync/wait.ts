/** Requests that wait: each until its time is over, its client is gone, too many newer ones wait, or the server stops. */

import type { ServerResponse } from 'node:http';

/** Of one device; when one more comes, the oldest is answered. */
const MOST_OF_DEVICE = 4;

export class LongPolls {
  /** By device, oldest first. */
  readonly #waiting = new Map<string, Set<AbortController>>();
  readonly #shutdown: AbortSignal;

  constructor(shutdown: AbortSignal) {
    this.#shutdown = shutdown;
    shutdown.addEventListener('abort', () => this.#endAll(), { once: true });
  }

  /** Runs `job` with a signal that is aborted when it is time to answer. */
  async hold<T>(
    device: string,
    { timeoutMs, response }: { readonly timeoutMs: number; readonly response: ServerResponse },
    job: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const controller = new AbortController();
    const end = () => controller.abort();
    if (this.#shutdown.aborted) end();
    this.#enter(device, controller);
    const timer = setTimeout(end, timeoutMs);
    response.once('close', end);
    try {
      return await job(controller.signal);
    } finally {
      clearTimeout(timer);
      response.off('close', end);
      this.#leave(device, controller);
    }
  }

  #enter(device: string, controller: AbortController): void {
    const waiting = this.#waiting.get(device) ?? new Set();
    this.#waiting.set(device, waiting);
    const [oldest] = waiting;
    if (waiting.size >= MOST_OF_DEVICE && oldest !== undefined) {
      waiting.delete(oldest);
      oldest.abort();
    }
    waiting.add(controller);
  }

  #leave(device: string, controller: AbortController): void {
    const waiting = this.#waiting.get(device);
    waiting?.delete(controller);
    if (waiting?.size === 0) this.#waiting.delete(device);
  }

  #endAll(): void {
    for (const waiting of this.#waiting.values()) {
      for (const controller of waiting) controller.abort();
    }
  }
}
