/** Long work on the main thread, in slices between which requests get their turn. */

import { setImmediate } from 'node:timers/promises';

/** Long enough that taking turns costs little, short enough that nobody notices. */
const SLICE_MS = 8;
const PORTION = 200;

/** The slices of one piece of work. */
export class Slices {
  #began = performance.now();

  /** Lets others have their turn, where the present slice has lasted long enough. Cheap where it has not. */
  readonly rest = async (): Promise<void> => {
    if (performance.now() - this.#began < SLICE_MS) return;
    await setImmediate();
    this.#began = performance.now();
  };
}

/** The items in portions that a database reads within a few milliseconds. */
export function* portionsOf<T>(items: Iterable<T>, size = PORTION): Generator<T[], void, void> {
  let portion: T[] = [];
  for (const item of items) {
    portion.push(item);
    if (portion.length < size) continue;
    yield portion;
    portion = [];
  }
  if (portion.length > 0) yield portion;
}
