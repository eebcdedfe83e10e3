/** Requests that wait: each until its time is over, its client is gone, too many newer ones wait, or the server stops. */

import type { ServerResponse } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { Lru } from '#storage/lru.ts';

/** Whatever a client asks for. */
export const LONGEST_WAIT_MS = 60_000;
/** Of one device; when one more comes, the oldest is answered. */
const MOST_OF_DEVICE = 4;
/** No device is answered more often, so that in a busy room news comes in handfuls, not one by one. */
const GATHER_MS = 20;
const MOST_DEVICES = 10_000;

export class LongPolls {
  /** By device, oldest first. */
  readonly #waiting = new Map<string, Set<AbortController>>();
  /** When news was last told to a device, by `performance.now()`. */
  readonly #told = new Lru<string, number>({ maxEntries: MOST_DEVICES });
  readonly #shutdown: AbortSignal;

  constructor(shutdown: AbortSignal) {
    this.#shutdown = shutdown;
    shutdown.addEventListener('abort', () => this.#endAll(), { once: true });
  }

  /** Lets news gather where the device was told some only just now. */
  async gather(device: string): Promise<void> {
    const since = performance.now() - (this.#told.peek(device) ?? Number.NEGATIVE_INFINITY);
    if (since < GATHER_MS && !this.#shutdown.aborted) await sleep(GATHER_MS - since);
  }

  /** Notes that the device is told news now. */
  tell(device: string): void {
    this.#told.set(device, performance.now());
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
