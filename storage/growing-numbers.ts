/**
 * A list of integers in +-2^53 that grows without being copied: an array of that length would leave each of its
 * shorter versions behind, as much garbage again as it is long.
 */

const CHUNK = 8_192;

export class GrowingNumbers {
  readonly #chunks: Float64Array[] = [];
  #length = 0;

  get length(): number {
    return this.#length;
  }

  push(value: number): void {
    const at = this.#length % CHUNK;
    if (at === 0) this.#chunks.push(new Float64Array(CHUNK));
    const chunk = this.#chunks.at(-1);
    if (chunk !== undefined) chunk[at] = value;
    this.#length += 1;
  }

  /** The number at an index; `missing` where there is none. */
  at(index: number, missing = 0): number {
    if (index < 0 || index >= this.#length) return missing;
    return this.#chunks[Math.floor(index / CHUNK)]?.[index % CHUNK] ?? missing;
  }

  /** Replaces the number at an index, which must be there. */
  set(index: number, value: number): void {
    const chunk = index < this.#length ? this.#chunks[Math.floor(index / CHUNK)] : undefined;
    if (chunk === undefined) throw new RangeError(`there is no number ${index}`);
    chunk[index % CHUNK] = value;
  }

  *[Symbol.iterator](): Generator<number> {
    for (let index = 0; index < this.#length; index++) yield this.at(index);
  }
}
