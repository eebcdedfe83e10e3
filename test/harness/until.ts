import { setTimeout as sleep } from 'node:timers/promises';

const LONGEST_MS = 20_000;

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
