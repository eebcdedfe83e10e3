/**
 * Delivery to other servers: one message a second into a room with users of many servers, all of them up, or 30 % of
 * them dead: a third of those refuse connections, a third accept them and say nothing, a third have no address.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import { roomWith, sendMessages } from '#bench/lib/large-room.ts';
import type { Figures, Scenario } from '#bench/lib/scenario.ts';
import { percentile, round } from '#bench/lib/statistics.ts';
import { lookupPeers, VirtualPeers } from '#bench/lib/virtual-peers.ts';
import type { ServerKind } from '#bench/servers/server.ts';
import type { ServerName } from '#keys/ids.ts';
import { createAuthority } from '#test/harness/certificates.ts';
import { freePort } from '#test/harness/free-port.ts';
import { startSending } from '#test/harness/outbound.ts';

const CASES = [
  { destinations: 1, dead: 0 },
  { destinations: 100, dead: 0 },
  { destinations: 1_000, dead: 0 },
  { destinations: 100, dead: 0.3 },
  { destinations: 1_000, dead: 0.3 },
];
const SETTLE_MS = 5_000;

export const fedOut: Scenario = {
  name: 'fed-out',
  about:
    'one message a second to 1 to 1,000 other servers, 30 % of them dead: time until the healthy ones have it',
  ratios: [],
  limits: { '1000_0dead_p99_ms': { atMost: 2_000 }, '1000_30dead_p99_ms': { atMost: 2_000 } },
  run,
};

async function run(_: ServerKind, { seconds }: { seconds: number }): Promise<Figures> {
  const figures: Record<string, number | null> = {};
  for (const each of CASES) {
    const found = await measure(each, seconds);
    const name = `${each.destinations}_${each.dead * 100}dead`;
    for (const [figure, value] of Object.entries(found)) figures[`${name}_${figure}`] = value;
    console.log(`  ${each.destinations} servers, ${each.dead * 100} % dead: ${describe(found)}`);
  }
  return figures;
}

function describe(found: Record<string, number | null>): string {
  return (
    `p50 ${found.p50_ms} ms, p99 ${found.p99_ms} ms (the first message, with its handshakes: p99 ` +
    `${found.first_p99_ms} ms, all within ${found.first_ms} ms), ` +
    `${found.lost} not delivered, ${found.handshakes} handshakes, ${found.rss_mb} MB more, ` +
    `${found.cpu_ms_per_delivery} ms CPU a delivery`
  );
}

async function measure(
  { destinations, dead }: { destinations: number; dead: number },
  seconds: number,
): Promise<Record<string, number | null>> {
  const authority = await createAuthority();
  await using peers = await VirtualPeers.start(authority);
  await using server = await startSending(authority, { lookup: lookupPeers });
  const deadCount = Math.round(destinations * dead);
  const ports = { refuse: await freePort(), silent: peers.silentPort };
  const names = Array.from({ length: destinations }, (_, index): ServerName => {
    if (index >= deadCount) return `s${index}.peers.test:${peers.port}`;
    if (index % 3 === 0) return `s${index}.peers.test:${ports.refuse}`;
    return index % 3 === 1 ? `s${index}.peers.test:${ports.silent}` : `nowhere${index}.test:${peers.port}`;
  });
  const room = await roomWith(server, names, 1);
  const healthy = destinations - deadCount;
  globalThis.gc?.();
  const rss = process.memoryUsage().rss;
  let most = rss;
  // The first message is the one that needs a handshake with each of them.
  await sendMessages(server, room, ['first']);
  await sleep(SETTLE_MS);
  const first = (await peers.seen()).latencies;
  const cpu = process.cpuUsage();
  for (let second = 0; second < seconds; second += 1) {
    const from = performance.now();
    await sendMessages(server, room, [`${second}`]);
    await sleep(Math.max(0, 1_000 - (performance.now() - from)));
    most = Math.max(most, process.memoryUsage().rss);
  }
  const { user, system } = process.cpuUsage(cpu);
  await sleep(SETTLE_MS);
  const seen = await peers.seen();
  const { latencies } = seen;
  return {
    p50_ms: round(percentile(latencies, 0.5), 0),
    p99_ms: round(percentile(latencies, 0.99), 0),
    first_p99_ms: round(percentile(first, 0.99), 0),
    first_ms: first.reduce((longest, latency) => Math.max(longest, latency), 0),
    lost: healthy * seconds - latencies.length,
    handshakes: seen.handshakes,
    rss_mb: round((most - rss) / 1024 / 1024, 0),
    cpu_ms_per_delivery: round((user + system) / 1000 / Math.max(latencies.length, 1), 3),
  };
}
