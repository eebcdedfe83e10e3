import { setTimeout as sleep } from 'node:timers/promises';
import { isLongRun } from './long-run.ts';

/** Far longer than it takes: only a test that fails waits so long. In a long run the machine does much at once. */
export const LONGEST_MS = isLongRun ? 180_000 : 60_000;

/** Waits until the condition holds; fails the test if it does not come to that. */
export async function until(
  condition: () => boolean | Promise<boolean>,
  what = 'the condition',
  { longestMs = LONGEST_MS }: { longestMs?: number } = {},
): Promise<void> {
  const deadline = Date.now() + longestMs;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`${what} did not come true`);
    await sleep(5);
  }
}
