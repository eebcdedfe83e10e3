/**
 * How a resolution is computed: as a generator, which stops after each bounded portion of its work, and where it needs
 * more of the room than it was given. Whoever runs it decides what happens then: tests go on at once, a server lets
 * others have a turn, and loads what is wanted.
 */
import type { EventId } from '#keys/ids.ts';

/** What a resolution needs before it can go on. */
export type Wanted =
  /** These events in the graph; with `chains`, the whole auth chains of them too. */
  | { readonly kind: 'events'; readonly eventIds: Iterable<EventId>; readonly chains: boolean }
  /** What the states agree on under these keys, or at all, in the unconflicted state map. */
  | { readonly kind: 'agreed'; readonly keys: ReadonlySet<string> | 'all' };

/** A computation in bounded portions; between two of them it says what it wants, or, by `undefined`, nothing. */
export type Steps<T> = Generator<Wanted | undefined, T, void>;

/** How many small things to do at once: well under a millisecond. */
export const PORTION = 256;

/** Does something with each of the items, also with those that are added to a set or a map while it is walked. */
export function* forEach<T>(items: Iterable<T>, act: (item: T) => void, portion = PORTION): Steps<void> {
  let done = 0;
  for (const item of items) {
    act(item);
    done += 1;
    if (done % portion === 0) yield;
  }
}

/** The result of a computation that has all that it wants, at once. */
export function atOnce<T>(steps: Steps<T>): T {
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
  }
}
