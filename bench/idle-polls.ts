/** What long polls cost that wait for nothing: the memory of a server before they come and while they wait. */

import { setTimeout as sleep } from 'node:timers/promises';
import { LongPollers } from '#bench/lib/long-pollers.ts';
import { openRooms, SERVER, userOf } from '#bench/lib/open-rooms.ts';
import { cpuMs, residentBytes } from '#bench/lib/process-tree.ts';
import { type Figures, type Scenario, type ScenarioOptions, temporaryFolder } from '#bench/lib/scenario.ts';
import { megabytes, round } from '#bench/lib/statistics.ts';
import { tokenOf, writeDevices, writeRoom } from '#bench/lib/written-rooms.ts';
import { startKurir } from '#bench/servers/kurir.ts';
import type { RunningServer } from '#bench/servers/server.ts';
import type { UserId } from '#keys/ids.ts';

const POLLS = 5_000;
/** Each user is in one. */
const MEMBERS = 50;
/** So many have come and gone before: code and caches that all share are there. */
const WARM_UP = 200;
const REST_MS = 8_000;
const IDLE_MS = 20_000;
const FILTER = '{"room":{"timeline":{"limit":20},"state":{"lazy_load_members":true}}}';

export const idlePolls: Scenario = {
  name: 'idle-polls',
  about: `memory and CPU of ${POLLS} long polls that wait (--size: fewer)`,
  ratios: [],
  limits: { kb_per_poll: { atMost: 20 } },
  run,
};

async function run(_: unknown, { size = POLLS }: ScenarioOptions): Promise<Figures> {
  using folder = temporaryFolder();
  const users = Array.from({ length: size + WARM_UP }, (_, number) => userOf(number));
  await write(folder.path, users);
  const server = await startKurir(folder.path, { env: { KURIR_SERVER_NAME: SERVER } });
  const tokens = users.map(tokenOf);
  await waitWith(server, tokens.slice(size));
  await sleep(REST_MS);
  const before = residentBytes(server.pid) ?? Number.NaN;
  const waiting = await waitWith(server, tokens.slice(0, size));
  const figures = {
    polls: size,
    rss_mb_before: megabytes(before),
    rss_mb_waiting: megabytes(waiting.bytes),
    kb_per_poll: round((waiting.bytes - before) / size / 1_000, 1),
    idle_cpu_ms_per_s: round(waiting.cpuMsPerSecond, 1),
  };
  console.log(
    `  ${figures.rss_mb_before} MB resident, with ${size} waiting polls ${figures.rss_mb_waiting} MB:`,
  );
  console.log(
    `  ${figures.kb_per_poll} KB each, all of them ${figures.idle_cpu_ms_per_s} ms of CPU a second`,
  );
  await server.stop();
  return figures;
}

/** Memory, and CPU of each second, while they wait. */
async function waitWith(
  { url, pid }: RunningServer,
  tokens: readonly string[],
): Promise<{ readonly bytes: number; readonly cpuMsPerSecond: number }> {
  await using _ = await LongPollers.start({ url, tokens, filter: FILTER });
  await sleep(REST_MS);
  const before = cpuMs(pid) ?? Number.NaN;
  await sleep(IDLE_MS);
  const used = (cpuMs(pid) ?? Number.NaN) - before;
  return { bytes: residentBytes(pid) ?? Number.NaN, cpuMsPerSecond: (used / IDLE_MS) * 1_000 };
}

async function write(folder: string, users: readonly UserId[]): Promise<void> {
  await using opened = await openRooms(folder);
  for (let from = 0; from < users.length; from += MEMBERS) {
    // One after the other: this is not what is measured.
    await writeRoom(opened.ctx, `!r${from}:${SERVER}`, { members: users.slice(from, from + MEMBERS) });
  }
  await writeDevices(opened.ctx.db, users);
}
