import type { Clock, Log } from '#rooms/context.ts';

/** One line in this time, whatever happens: what others do wrong must not fill the disk. */
const INTERVAL_MS = 10_000;

/** A log for what any stranger can bring about: the first of each kind of line in ten seconds, then a count. */
export class QuietLog {
  readonly #log: Log;
  readonly #clock: Clock;
  readonly #lines = new Map<string, { lastTs: number; left: number }>();

  constructor({ log, clock }: { readonly log: Log; readonly clock: Clock }) {
    this.#log = log;
    this.#clock = clock;
  }

  /** Warns; `message` is constant text. `more` in the line counts those that were left out before it. */
  warn(fields: object, message: string): void {
    const now = this.#clock.now();
    const line = this.#lines.get(message) ?? { lastTs: Number.NEGATIVE_INFINITY, left: 0 };
    this.#lines.set(message, line);
    if (Math.abs(now - line.lastTs) < INTERVAL_MS) {
      line.left += 1;
      return;
    }
    this.#log.warn(line.left > 0 ? { ...fields, more: line.left } : fields, message);
    line.lastTs = now;
    line.left = 0;
  }
}
