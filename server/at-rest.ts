/**
 * What a start has needed, or many who came at once, stays in memory: V8 collects when more is asked for, and of a server
 * at rest nothing is. So it is told to, when there is next to nothing to do: after the start, which gives back some 40 MB
 * of 150, and where it has grown by much since, as by the first requests of 5,000 clients: some 50 MB of 260.
 */

import { performance } from 'node:perf_hooks';
import { getHeapSpaceStatistics } from 'node:v8';

/** Longer than it takes until connections whose requests wait rest (`http/resting.ts`), which leaves much to collect. */
const LOOK_EVERY_MS = 2_000;
/** The share of the time in which something is done. */
const AT_REST = 0.05;
/** What comes and goes while little is done is V8's own affair: it does that in small steps, and here all waits. */
const GROWN_BYTES = 32 * 1_024 * 1_024;
/** Such a pause is some tenths of a second: in a fiftieth of the time at most. */
const PAUSE_FACTOR = 50;
const OLD_SPACES: ReadonlySet<string> = new Set(['old_space', 'large_object_space']);

/** Needs `--expose-gc`, which run.js and the image give; without it nothing is done. */
export function collectAtRest(): void {
  const { gc } = globalThis;
  if (gc === undefined) return;
  let before = performance.eventLoopUtilization();
  let leftBytes = Number.NEGATIVE_INFINITY;
  let notBefore = 0;
  setInterval(() => {
    const now = performance.eventLoopUtilization();
    const { utilization } = performance.eventLoopUtilization(now, before);
    before = now;
    const began = performance.now();
    if (utilization > AT_REST || began < notBefore || oldBytes() - leftBytes < GROWN_BYTES) return;
    // Only this flavor gives back the pages of what is new in memory, too: V8 keeps them for the next burst.
    gc({ type: 'major', execution: 'sync', flavor: 'last-resort' });
    const ended = performance.now();
    notBefore = ended + PAUSE_FACTOR * (ended - began);
    leftBytes = oldBytes();
  }, LOOK_EVERY_MS).unref();
}

/** What is not new in memory. */
function oldBytes(): number {
  const spaces = getHeapSpaceStatistics().filter(({ space_name: name }) => OLD_SPACES.has(name));
  return spaces.reduce((sum, { space_size: size }) => sum + size, 0);
}
