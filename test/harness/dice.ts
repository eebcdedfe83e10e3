/** The same numbers for the same seed: each call answers one from 0 up to `sides`. */
export function diceOf(seed: number): (sides: number) => number {
  // xorshift32, which stays where it is at 0.
  let state = seed >>> 0 || 1;
  return (sides) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % sides;
  };
}

/** The items in another order. */
export function shuffled<T>(items: readonly T[], dice: (sides: number) => number): T[] {
  const left = [...items];
  return items.flatMap(() => left.splice(dice(left.length), 1));
}
