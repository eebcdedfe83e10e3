/** How many random cases a property is tried on: few in `npm test`, many in `npm run test:long`. */
import type { TestContext } from 'node:test';
import fc from 'fast-check';
import { isLongRun, ROUNDS } from './long-run.ts';

/** `KURIR_TEST_SEED`, or one of its own for each process. */
export const seed = Number(process.env.KURIR_TEST_SEED ?? Date.now() % 0x7fffffff);

/** For properties that are tried by `fc.assert`: on cases of the same seed, too. */
fc.configureGlobal({ seed });

export { fc };

/** How many cases are tried where usually there are so many. */
export function casesOf({ usual, inLongRun = usual }: Omit<Tries, 'of'>): number {
  return Math.ceil(isLongRun ? inLongRun * ROUNDS : usual);
}

export interface Tries {
  /** How many cases in `npm test`. */
  readonly usual: number;
  /** How many in each round of a long run, where that is another number. */
  readonly inLongRun?: number;
  /** What the cases are, for what is printed. */
  readonly of: string;
}

/**
 * Tries a property on random cases, and says with which seed and on how many. A failure prints the seed and the
 * smallest case that fails; `KURIR_TEST_SEED` makes the same cases again, `KURIR_TEST_ROUNDS` as many times more.
 */
export async function tryOn<T>(
  t: TestContext,
  cases: fc.Arbitrary<T>,
  tries: Tries,
  property: (value: T) => void | Promise<void>,
): Promise<void> {
  const numRuns = casesOf(tries);
  await fc.assert(
    fc.asyncProperty(cases, async (value) => {
      await property(value);
    }),
    { seed, numRuns },
  );
  t.diagnostic(`seed ${seed}, ${numRuns} ${tries.of}, 0 disagreements`);
}
