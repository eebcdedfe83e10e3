/** Memory of a server that has just started, answered once, and rested for five seconds; and as the image starts it. */

import { setTimeout as sleep } from 'node:timers/promises';
import { peakResidentBytes, residentBytes } from '#bench/lib/process-tree.ts';
import { type Figures, type Scenario, temporaryFolder } from '#bench/lib/scenario.ts';
import { megabytes } from '#bench/lib/statistics.ts';
import { bundle } from '#bench/servers/bundle.ts';
import type { ServerKind } from '#bench/servers/server.ts';

const REST_MS = 5_000;

export const idle: Scenario = {
  name: 'idle',
  about: 'resident memory after a start, one answer and 5 s of rest',
  ratios: ['rss_mb'],
  limits: { rss_mb: { atMost: 130 }, bundle_rss_mb: { atMost: 120 } },
  run,
};

async function run(kind: ServerKind): Promise<Figures> {
  const figures = await memoryOf(kind);
  if (kind.name !== 'kurir') return figures;
  await bundle.prepare();
  return { ...figures, bundle_rss_mb: (await memoryOf(bundle)).rss_mb };
}

async function memoryOf(kind: ServerKind): Promise<{ rss_mb: number | null; peak_rss_mb: number | null }> {
  using folder = temporaryFolder();
  // The second start is the usual one: the database is there, and so is compiled code.
  await (await kind.start(folder.path)).stop();
  const server = await kind.start(folder.path);
  await sleep(REST_MS);
  const figures = {
    rss_mb: megabytes(residentBytes(server.pid)),
    peak_rss_mb: megabytes(peakResidentBytes(server.pid)),
  };
  await server.stop();
  console.log(
    `  ${kind.name}: ${figures.rss_mb} MB resident, ${figures.peak_rss_mb} MB at most since the start`,
  );
  return figures;
}
