/**
 * Loaded into a measured server by `--import`: how long its event loop was blocked. At each SIGUSR2 it writes the
 * longest block since the one before, in ms, to the file that KURIR_BENCH_LOOP_FILE names.
 */

import fs from 'node:fs';
import { monitorEventLoopDelay } from 'node:perf_hooks';

const RESOLUTION_MS = 2;

const file = process.env.KURIR_BENCH_LOOP_FILE;
if (file !== undefined) {
  const delays = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  delays.enable();
  process.on('SIGUSR2', () => {
    const longest = delays.count === 0 ? 0 : delays.max / 1e6;
    delays.reset();
    fs.writeFileSync(`${file}.new`, String(Math.max(0, longest - RESOLUTION_MS)));
    fs.renameSync(`${file}.new`, file);
  });
}
