/**
 * Long polls that an event ends: all members of a room wait, one more sends, and the next event comes when all have the
 * one before. A delivery is an answer of /sync with the event, and the request that waits for the next.
 */

import { type Deliveries, LongPollers } from '#bench/lib/long-pollers.ts';
import { openRooms, SERVER, userOf } from '#bench/lib/open-rooms.ts';
import { cpuMs, peakResidentBytes } from '#bench/lib/process-tree.ts';
import { type Figures, type Scenario, type ScenarioOptions, temporaryFolder } from '#bench/lib/scenario.ts';
import { megabytes, percentile, round } from '#bench/lib/statistics.ts';
import { tokenOf, writeDevices, writeRoom } from '#bench/lib/written-rooms.ts';
import { startKurir } from '#bench/servers/kurir.ts';
import type { RunningServer } from '#bench/servers/server.ts';
import type { RoomId, UserId } from '#keys/ids.ts';
import type { RoomsContext } from '#rooms/context.ts';

const CLIENTS = 1_000;
const WARM_UP_S = 3;
const ROOM: RoomId = `!room:${SERVER}`;
/** As Element Web has it. */
export const ELEMENT_FILTER = '{"room":{"timeline":{"limit":20},"state":{"lazy_load_members":true}}}';

export const syncWakeups: Scenario = {
  name: 'sync-wakeups',
  about: `${CLIENTS} long polls of the members of a room that events end, one after the other (--size: fewer)`,
  ratios: [],
  limits: {
    deliveries_per_s: { atLeast: 15_000 },
    cpu_us_per_delivery: { atMost: 65 },
    wrong_answers: { atMost: 0 },
  },
  run,
};

function run(_: unknown, options: ScenarioOptions): Promise<Figures> {
  return measureWakeups({ filter: ELEMENT_FILTER, sliding: false }, options);
}

/** What the clients ask for, and what is written before the server starts. */
export interface Asked {
  readonly filter: string;
  readonly sliding: boolean;
  readonly prepare?: (ctx: RoomsContext, members: readonly UserId[]) => Promise<void>;
}

/** The figures for one way to ask: the filter of /sync, or the body of sliding sync. */
export async function measureWakeups(
  asked: Asked,
  { seconds, size = CLIENTS }: ScenarioOptions,
): Promise<Figures> {
  using folder = temporaryFolder();
  const members = Array.from({ length: size + 1 }, (_, number) => userOf(number));
  await write(folder.path, members, asked.prepare);
  const server = await startKurir(folder.path, { env: { KURIR_SERVER_NAME: SERVER } });
  const { usedMs, ...done } = await measure(server, asked, { tokens: members.map(tokenOf), seconds });
  const figures = {
    clients: size,
    sends: done.sends,
    deliveries: done.deliveries,
    wrong_answers: done.wrong,
    deliveries_per_s: round((done.deliveries / done.elapsedMs) * 1_000, 0),
    cpu_us_per_delivery: round((usedMs / done.deliveries) * 1_000, 1),
    client_cpu_us_per_delivery: round((done.cpuMs / done.deliveries) * 1_000, 1),
    latency_p50_ms: round(percentile(done.latencies, 0.5), 1),
    latency_p99_ms: round(percentile(done.latencies, 0.99), 1),
    peak_rss_mb: megabytes(peakResidentBytes(server.pid)),
  };
  console.log(`  ${figures.deliveries_per_s} deliveries/s, CPU ${figures.cpu_us_per_delivery} us each`);
  console.log(`  (and ${figures.client_cpu_us_per_delivery} us in the clients, on the same cores),`);
  console.log(`  from the sending p50 ${figures.latency_p50_ms} ms, p99 ${figures.latency_p99_ms} ms`);
  await server.stop();
  return figures;
}

async function measure(
  { url, pid }: RunningServer,
  { filter, sliding }: Asked,
  { tokens, seconds }: { readonly tokens: readonly string[]; readonly seconds: number },
): Promise<Deliveries & { readonly usedMs: number }> {
  const [sender = '', ...waiting] = tokens;
  await using clients = await LongPollers.start({ url, tokens: waiting, filter, sliding });
  await clients.send({ roomId: ROOM, token: sender, seconds: WARM_UP_S });
  const before = cpuMs(pid) ?? Number.NaN;
  const done = await clients.send({ roomId: ROOM, token: sender, seconds });
  return { ...done, usedMs: (cpuMs(pid) ?? Number.NaN) - before };
}

async function write(folder: string, members: readonly UserId[], prepare: Asked['prepare']): Promise<void> {
  await using opened = await openRooms(folder);
  await writeRoom(opened.ctx, ROOM, { members });
  await writeDevices(opened.ctx.db, members);
  await prepare?.(opened.ctx, members);
}
