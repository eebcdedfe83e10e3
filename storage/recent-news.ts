/** What the last positions of the stream concerned, in their order. */

interface News {
  readonly position: number;
  readonly keys: readonly string[];
}

const MOST = 16_384;

export class RecentNews {
  #news: News[] = [];
  /** All after this position is here. */
  #from: number;
  /** What was answered last: all whom an event wakes ask from the same position. */
  #answered:
    | { readonly since: number; readonly keys: ReadonlySet<string>; readonly looked: number }
    | undefined;

  constructor(from: number) {
    this.#from = from;
  }

  /** Notes what a position concerns; it is above all that were noted before. */
  add(position: number, keys: readonly string[]): void {
    if (keys.length === 0) return;
    this.#answered = undefined;
    this.#news.push({ position, keys });
    if (this.#news.length < 2 * MOST) return;
    this.#news = this.#news.slice(-MOST);
    this.#from = (this.#news[0]?.position ?? position) - 1;
  }

  /** True where all is known that was concerned after the position. */
  covers(since: number): boolean {
    return since >= this.#from;
  }

  /**
   * The keys that were concerned after a position, those concerned last first. Undefined where that is not known, or
   * more positions than `most` would have to be looked at.
   */
  keysSince(since: number, most: number): ReadonlySet<string> | undefined {
    if (!this.covers(since)) return undefined;
    if (this.#answered?.since === since)
      return this.#answered.looked > most ? undefined : this.#answered.keys;
    const keys = new Set<string>();
    let looked = 0;
    for (let at = this.#news.length - 1; at >= 0; at--) {
      const news = this.#news[at];
      if (news === undefined || news.position <= since) break;
      looked += 1;
      if (looked > most) return undefined;
      for (const key of news.keys) keys.add(key);
    }
    this.#answered = { since, keys, looked };
    return keys;
  }
}
