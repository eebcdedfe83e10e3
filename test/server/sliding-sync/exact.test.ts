/**
 * Invariant: what a client makes of the answers of sliding sync is what there is, by both faces, whichever windows it looks
 * through, whatever answers are lost, asked for again or interleaved, also when the server is started again in between.
 */

import { test } from 'node:test';
import { diceOf } from '#test/harness/dice.ts';
import { casesOf, seed } from '#test/harness/rounds.ts';
import { live } from '#test/server/sync/exact-life.ts';
import { SlidingReader } from './exact-reader.ts';
import { FACES } from './face.ts';

for (let round = 0; round < casesOf({ usual: 1, inLongRun: 0.5 }); round++) {
  const roundSeed = seed + round;
  test(`sliding sync: increments are exact (seed ${roundSeed})`, () =>
    live(roundSeed, ({ users, rooms }, fleet) =>
      users.flatMap((client, index) => {
        const number = index + roundSeed;
        const face = FACES[number % 2] ?? 'stable';
        const where = { client, server: fleet.at(index % 2) };
        const dice = diceOf(number + 1);
        const lazy = number % 3 === 0;
        const isOne = number % 4 < 2;
        const device = isOne ? 'with rooms' : 'not';
        const main = new SlidingReader(where, { face, connId: 'rooms', lazy, device }, { rooms, dice });
        if (isOne) return [main];
        const manner = { face, connId: 'encryption', lazy, device: 'alone' } as const;
        return [main, new SlidingReader(where, manner, { rooms, dice })];
      }),
    ));
}
