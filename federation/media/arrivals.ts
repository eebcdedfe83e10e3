import { TimeLimit } from '../network/time-limit.ts';

/** Media that somebody waits for: https://spec.matrix.org/v1.19/client-server-api/#post_matrixmediav1create */
export class Arrivals {
  readonly #waiting = new Map<string, Set<() => void>>();

  /** Says that a media has been uploaded. */
  arrived(mediaId: string): void {
    for (const wake of this.#waiting.get(mediaId) ?? []) wake();
  }

  /** Begins to listen for a media, before it is looked for: what arrives in between is not missed. */
  expect(mediaId: string): Expected {
    const { promise, resolve } = Promise.withResolvers<void>();
    const listeners = this.#waiting.get(mediaId) ?? new Set();
    this.#waiting.set(mediaId, listeners.add(resolve));
    return {
      within: async (ms, signal) => {
        using limit = new TimeLimit(ms, [signal]);
        limit.signal.addEventListener('abort', () => resolve(), { once: true });
        if (limit.signal.aborted) resolve();
        await promise;
      },
      [Symbol.dispose]: () => {
        listeners.delete(resolve);
        if (listeners.size === 0) this.#waiting.delete(mediaId);
      },
    };
  }
}

/** One who waits. */
export interface Expected extends Disposable {
  /** Resolves when the media has arrived, after `ms`, or when the signal is aborted. */
  within(ms: number, signal: AbortSignal): Promise<void>;
}
