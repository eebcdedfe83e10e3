/**
 * What a start has needed stays in memory: V8 collects when more is asked for, and of a server at rest nothing is. So it
 * is told to, once, in the first second in which there is next to nothing to do, and nobody waits meanwhile. Some 40 MB
 * of 150 go back to the system.
 */

import { performance } from 'node:perf_hooks';

const LOOK_EVERY_MS = 1_000;
/** The share of the time in which something is done. */
const AT_REST = 0.05;

/** Needs `--expose-gc`, which run.js and the image give; without it nothing is done. */
export function collectAtFirstRest(): void {
  const { gc } = globalThis;
  if (gc === undefined) return;
  let before = performance.eventLoopUtilization();
  const looking = setInterval(() => {
    const now = performance.eventLoopUtilization();
    const { utilization } = performance.eventLoopUtilization(now, before);
    before = now;
    if (utilization > AT_REST) return;
    clearInterval(looking);
    // Only this flavor gives back the pages of what is new in memory, too: V8 keeps them for the next burst.
    gc({ type: 'major', execution: 'sync', flavor: 'last-resort' });
  }, LOOK_EVERY_MS).unref();
}
