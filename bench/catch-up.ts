/**
 * What 415 servers missed in an outage, 4,500 events each: how long until all of them are up to date after it, by the
 * newest events of each room, and by all of them in order.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import { roomWith, sendMessages } from '#bench/lib/large-room.ts';
import type { Figures, Scenario } from '#bench/lib/scenario.ts';
import { round } from '#bench/lib/statistics.ts';
import { lookupPeers, VirtualPeers } from '#bench/lib/virtual-peers.ts';
import { createAuthority } from '#test/harness/certificates.ts';
import { startSending } from '#test/harness/outbound.ts';

const SERVERS = 415;
const EVENTS = 4_500;
const LONGEST_MS = 600_000;

export const catchUp: Scenario = {
  name: 'catch-up',
  about: `${EVENTS} events that ${SERVERS} servers missed: time until all are up to date`,
  ratios: [],
  limits: { latest_seconds: { atMost: 60 } },
  run,
};

async function run(): Promise<Figures> {
  const latest = await measure('latest');
  const full = await measure('full');
  return {
    ...Object.fromEntries(Object.entries(latest).map(([name, value]) => [`latest_${name}`, value])),
    ...Object.fromEntries(Object.entries(full).map(([name, value]) => [`full_${name}`, value])),
  };
}

async function measure(replay: 'latest' | 'full'): Promise<Record<string, number | null>> {
  const authority = await createAuthority();
  await using peers = await VirtualPeers.start(authority);
  await using server = await startSending(authority, { lookup: lookupPeers, replayOf: () => replay });
  const names = Array.from({ length: SERVERS }, (_, index) => `s${index}.peers.test:${peers.port}`);
  const room = await roomWith(server, names, 1);
  await peers.setListening(false);
  const bodies = Array.from({ length: EVENTS - 1 }, (_, index) => `message ${index}`);
  await sendMessages(server, room, bodies);
  await sendMessages(server, room, ['last']);
  await peers.setListening(true);
  const before = await peers.seen();
  const cpu = process.cpuUsage();
  const began = performance.now();
  await server.restart();
  let seen = await peers.seen();
  while (seen.finished < SERVERS && performance.now() - began < LONGEST_MS) {
    await sleep(100);
    seen = await peers.seen();
  }
  const { user, system } = process.cpuUsage(cpu);
  const figures = {
    seconds: round((performance.now() - began) / 1000, 2),
    servers_done: seen.finished,
    pdus: seen.pdus - before.pdus,
    transactions: seen.transactions - before.transactions,
    cpu_s: round((user + system) / 1e6, 2),
    peers_cpu_s: round((seen.cpuMs - before.cpuMs) / 1000, 2),
    rss_mb: round(process.memoryUsage().rss / 1024 / 1024, 0),
  };
  console.log(
    `  ${replay}: ${figures.servers_done} servers after ${figures.seconds} s, ${figures.pdus} events in ` +
      `${figures.transactions} transactions, ${figures.cpu_s} s CPU (the peers: ${figures.peers_cpu_s} s)`,
  );
  return figures;
}
