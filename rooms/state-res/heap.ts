/**
 * A binary heap that hands out the smallest item first. It also sorts, in as many small steps as there are items, which
 * the `sort` of an array does not.
 */
export class Heap<T> {
  readonly #compare: (x: T, y: T) => number;
  readonly #items: T[] = [];

  constructor(compare: (x: T, y: T) => number) {
    this.#compare = compare;
  }

  push(item: T): void {
    let at = this.#items.length;
    this.#items.push(item);
    while (at > 0) {
      const parentAt = (at - 1) >> 1;
      const parent = this.#items[parentAt];
      if (parent === undefined || this.#compare(parent, item) <= 0) break;
      this.#items[at] = parent;
      at = parentAt;
    }
    this.#items[at] = item;
  }

  pop(): T | undefined {
    const smallest = this.#items[0];
    const last = this.#items.pop();
    if (last !== undefined && this.#items.length > 0) this.#sink(last);
    return smallest;
  }

  /** All items, the smallest first; also those that are put in meanwhile. */
  *drain(): Generator<T, void, void> {
    for (let next = this.pop(); next !== undefined; next = this.pop()) yield next;
  }

  /** Puts an item in at the top, and moves it down to its place. */
  #sink(item: T): void {
    let at = 0;
    for (;;) {
      const childAt = this.#smallerChild(2 * at + 1);
      const child = this.#items[childAt];
      if (child === undefined || this.#compare(item, child) <= 0) break;
      this.#items[at] = child;
      at = childAt;
    }
    this.#items[at] = item;
  }

  #smallerChild(leftAt: number): number {
    const left = this.#items[leftAt];
    const right = this.#items[leftAt + 1];
    return left !== undefined && right !== undefined && this.#compare(right, left) < 0 ? leftAt + 1 : leftAt;
  }
}
