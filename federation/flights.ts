import type { Clock } from '#rooms/context.ts';
import { Lru } from '#storage/lru.ts';

export interface FlightsOptions<T> {
  readonly clock: Clock;
  /** Whether a result is one that the same key gives again for a while. */
  readonly isLasting: (result: T) => boolean;
  /** For how long, in milliseconds. */
  readonly rememberedMs: number;
  /** How many results; those that were asked for last. */
  readonly mostRemembered?: number;
}

const MOST_REMEMBERED = 1_000;

/** Work by keys: each key once at a time, however many ask for it, and what lasts is answered again for a while. */
export class Flights<T> {
  readonly #options: FlightsOptions<T>;
  readonly #running = new Map<string, Promise<T>>();
  readonly #remembered: Lru<string, { readonly until: number; readonly result: T }>;

  constructor(options: FlightsOptions<T>) {
    this.#options = options;
    this.#remembered = new Lru({ maxEntries: options.mostRemembered ?? MOST_REMEMBERED });
  }

  /** How many run. */
  get running(): number {
    return this.#running.size;
  }

  /** True where `run` would begin something. */
  isNew(key: string): boolean {
    return !this.#running.has(key) && this.#known(key) === undefined;
  }

  /** The result of `work`, of the work that runs for this key, or a lasting one of a moment ago. */
  async run(key: string, work: () => Promise<T>): Promise<T> {
    const running = this.#running.get(key);
    if (running !== undefined) return running;
    const known = this.#known(key);
    if (known !== undefined) return known.result;
    const flight = this.#fly(key, work).finally(() => this.#running.delete(key));
    this.#running.set(key, flight);
    return flight;
  }

  async #fly(key: string, work: () => Promise<T>): Promise<T> {
    const result = await work();
    const { isLasting, clock, rememberedMs } = this.#options;
    if (isLasting(result)) this.#remembered.set(key, { until: clock.now() + rememberedMs, result });
    return result;
  }

  #known(key: string): { readonly result: T } | undefined {
    const remembered = this.#remembered.get(key);
    return remembered !== undefined && remembered.until > this.#options.clock.now() ? remembered : undefined;
  }
}
