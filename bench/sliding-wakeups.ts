/** As `sync-wakeups`, by sliding sync: the members of a room wait as Element X does, and each event ends all the waits. */

import type { Scenario, ScenarioOptions } from '#bench/lib/scenario.ts';
import { ELEMENT_X } from '#bench/sliding-initial.ts';
import { measureWakeups } from '#bench/sync-wakeups.ts';

export const slidingWakeups: Scenario = {
  name: 'sliding-wakeups',
  about: '1,000 long polls of sliding sync that events end, one after the other (--size: fewer)',
  ratios: [],
  limits: {
    deliveries_per_s: { atLeast: 12_000 },
    wrong_answers: { atMost: 0 },
  },
  run: (_: unknown, options: ScenarioOptions) =>
    measureWakeups({ filter: JSON.stringify(ELEMENT_X), sliding: true }, options),
};
