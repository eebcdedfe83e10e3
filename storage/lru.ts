export interface LruOptions<K, V> {
  readonly maxEntries: number;
  /** The most weight to hold, in the unit of `weigh`; without it only entries are counted. */
  readonly maxWeight?: number;
  readonly weigh?: (value: V, key: K) => number;
  /** Called for what is dropped for lack of room; not for what is deleted or replaced. */
  readonly onEvict?: (key: K, value: V) => void;
}

interface Entry<V> {
  readonly value: V;
  readonly weight: number;
  /** When it was last put at the end, counted in such moves. */
  movedAt: number;
}

/**
 * A bounded cache that drops what was used least recently. What is among the most recently used quarter stays where
 * it is when it is used again, and so does everything while the cache is less than half full: to move it each time
 * would cost more than what the cache spares. What is in use has long been moved before it could be its turn to go.
 */
export class Lru<K, V> {
  readonly #options: LruOptions<K, V>;
  /** In order of use: the first is the next to go. */
  readonly #entries = new Map<K, Entry<V>>();
  #weight = 0;
  #moves = 0;
  hits = 0;
  misses = 0;

  constructor(options: LruOptions<K, V>) {
    this.#options = options;
  }

  get size(): number {
    return this.#entries.size;
  }

  get weight(): number {
    return this.#weight;
  }

  /** All values, without any effect on what is dropped next. */
  *values(): Generator<V> {
    for (const { value } of this.#entries.values()) yield value;
  }

  /** The value, which becomes the most recently used. */
  get(key: K): V | undefined {
    const entry = this.#entries.get(key);
    if (!entry) {
      this.misses += 1;
      return undefined;
    }
    this.hits += 1;
    if (this.#moves - entry.movedAt > this.#entries.size >> 2 && this.#isHalfFull()) {
      this.#entries.delete(key);
      this.#entries.set(key, entry);
      this.#moves += 1;
      entry.movedAt = this.#moves;
    }
    return entry.value;
  }

  /** The value, without any effect on what is dropped next. */
  peek(key: K): V | undefined {
    return this.#entries.get(key)?.value;
  }

  /** A value heavier than the whole budget is not kept. */
  set(key: K, value: V): void {
    this.delete(key);
    const { weigh, maxWeight = Number.POSITIVE_INFINITY } = this.#options;
    const weight = weigh ? weigh(value, key) : 1;
    if (weigh && weight > maxWeight) {
      this.#options.onEvict?.(key, value);
      return;
    }
    this.#moves += 1;
    this.#entries.set(key, { value, weight, movedAt: this.#moves });
    this.#weight += weight;
    this.#shrink();
  }

  delete(key: K): boolean {
    const entry = this.#entries.get(key);
    if (!entry) return false;
    this.#weight -= entry.weight;
    return this.#entries.delete(key);
  }

  clear(): void {
    this.#entries.clear();
    this.#weight = 0;
  }

  #isHalfFull(): boolean {
    const { maxEntries, maxWeight = Number.POSITIVE_INFINITY } = this.#options;
    return 2 * this.#entries.size >= maxEntries || 2 * this.#weight >= maxWeight;
  }

  #shrink(): void {
    const { maxEntries, maxWeight = Number.POSITIVE_INFINITY, weigh, onEvict } = this.#options;
    while (this.#entries.size > maxEntries || (weigh && this.#weight > maxWeight)) {
      const [oldest] = this.#entries;
      if (!oldest) return;
      const [key, { value }] = oldest;
      this.delete(key);
      onEvict?.(key, value);
    }
  }
}
