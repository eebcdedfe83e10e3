import { setTimeout as sleep } from 'node:timers/promises';
import { cpuMs } from '#bench/lib/process-tree.ts';
import type { RunningServer } from '#bench/servers/server.ts';

const QUIET_MS = 500;
const QUIET_CPU_MS = 20;
const SETTLE_WITHIN_MS = 300_000;

/** Waits until the server does nothing by itself: after the rooms were written it has devices to look through. */
export async function settle(server: RunningServer, thenStops = false): Promise<void> {
  const until = performance.now() + SETTLE_WITHIN_MS;
  for (let used = Number.POSITIVE_INFINITY; used > QUIET_CPU_MS && performance.now() < until; ) {
    const before = cpuMs(server.pid) ?? Number.NaN;
    await sleep(QUIET_MS);
    used = (cpuMs(server.pid) ?? Number.NaN) - before;
  }
  if (thenStops) await server.stop();
}
