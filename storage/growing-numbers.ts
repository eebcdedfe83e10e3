/**
 * A list of integers that grows without being copied: an array of that length would leave each of its shorter versions
 * behind, as much garbage again as it is long.
 */

const CHUNK_BITS = 13;
const CHUNK = 1 << CHUNK_BITS;
const IN_CHUNK = CHUNK - 1;

/** Integers of 32 bits, or those in +-2^53. */
type Kind = Int32ArrayConstructor | Float64ArrayConstructor;

export class GrowingNumbers {
  readonly #kind: Kind;
  readonly #chunks: InstanceType<Kind>[] = [];
  #length = 0;

  constructor(kind: Kind = Int32Array) {
    this.#kind = kind;
  }

  get length(): number {
    return this.#length;
  }

  push(value: number): void {
    const at = this.#length & IN_CHUNK;
    if (at === 0) this.#chunks.push(new this.#kind(CHUNK));
    const chunk = this.#chunks[this.#length >>> CHUNK_BITS];
    if (chunk !== undefined) chunk[at] = value;
    this.#length += 1;
  }

  /** The number at an index; `missing` where there is none. */
  at(index: number, missing = 0): number {
    if (index < 0 || index >= this.#length) return missing;
    return this.#chunks[index >>> CHUNK_BITS]?.[index & IN_CHUNK] ?? missing;
  }

  /** Replaces the number at an index, which must be there. */
  set(index: number, value: number): void {
    const chunk = index < this.#length ? this.#chunks[index >>> CHUNK_BITS] : undefined;
    if (chunk === undefined) throw new RangeError(`there is no number ${index}`);
    chunk[index & IN_CHUNK] = value;
  }

  *[Symbol.iterator](): Generator<number> {
    for (let index = 0; index < this.#length; index++) yield this.at(index);
  }
}
