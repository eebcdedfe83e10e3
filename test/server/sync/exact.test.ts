/**
 * Invariant: what a client makes of the answers of /sync is what there is, whoever writes, on whichever server, and
 * whatever answers are lost, asked for again or interleaved, also when the server is started again in between.
 */

import { test } from 'node:test';
import { casesOf, seed } from '#test/harness/rounds.ts';
import { live } from './exact-life.ts';
import { ExactReader, type Manner } from './exact-reader.ts';

const LAZY = { lazy_load_members: true };
const ALL: Manner = { name: 'all', filter: { room: { timeline: { limit: 1000 } } } };
const MANNERS: readonly Manner[] = [
  ALL,
  { name: 'short', filter: { room: { timeline: { limit: 3 } } } },
  { name: 'state after', filter: { room: { timeline: { limit: 4 } } }, after: true },
  { name: 'lazy', filter: { room: { timeline: { limit: 5 }, state: LAZY } } },
  { name: 'lazy, state after', filter: { room: { timeline: { limit: 2 }, state: LAZY } }, after: true },
  { name: 'messages', filter: { room: { timeline: { limit: 4, types: ['m.room.message'] } } } },
];

for (let round = 0; round < casesOf({ usual: 1, inLongRun: 0.5 }); round++) {
  const roundSeed = seed + round;
  test(`sync: increments are exact (seed ${roundSeed})`, () =>
    live(roundSeed, ({ users }, fleet) =>
      users.map((user, index) => {
        const manner = MANNERS[(index + roundSeed) % MANNERS.length] ?? ALL;
        return new ExactReader(fleet.at(index % 2), user, manner);
      }),
    ));
}
