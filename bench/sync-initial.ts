/**
 * The first /sync of users of 300 rooms with 300 members each: by the profiles of clients, alone and many at once, with
 * nothing in the server's memory and with what the first answers have left there.
 */

import { Connection } from '#bench/lib/connection.ts';
import { openRooms, SERVER, userOf } from '#bench/lib/open-rooms.ts';
import { cpuMs, peakResidentBytes } from '#bench/lib/process-tree.ts';
import { type Figures, type Scenario, temporaryFolder } from '#bench/lib/scenario.ts';
import { settle } from '#bench/lib/settle.ts';
import { median, megabytes, round } from '#bench/lib/statistics.ts';
import { tokenOf, writeDevices, writeRoom } from '#bench/lib/written-rooms.ts';
import { startKurir } from '#bench/servers/kurir.ts';
import type { RunningServer } from '#bench/servers/server.ts';
import type { RoomId } from '#keys/ids.ts';

const ROOMS = 300;
const MEMBERS = 300;
const MESSAGES = 25;
const ROOMS_AT_ONCE = 10;
const AT_ONCE = [1, 20];

/** The number is the limit of the timeline; T: members are loaded lazily, F: all are told. Element Web's is 20T. */
const PROFILES: Readonly<Record<string, object>> = {
  '1T': profile(1, true),
  '5T': profile(5, true),
  '10F': profile(10, false),
  '20T': profile(20, true),
};

export const syncInitial: Scenario = {
  name: 'sync-initial',
  about: `the first /sync of users of ${ROOMS} rooms of ${MEMBERS} members, by profiles of clients (--size: fewer rooms)`,
  ratios: [],
  limits: { ms_20T_cold: { atMost: 1_000 }, ms_20T_1: { atMost: 1_000 } },
  run,
};

function profile(limit: number, lazy: boolean): object {
  return { room: { timeline: { limit }, state: { lazy_load_members: lazy } } };
}

async function run(_: unknown, { size = ROOMS }: { size?: number | undefined }): Promise<Figures> {
  using folder = temporaryFolder();
  await write(folder.path, size);
  const figures: Record<string, number | null> = {};
  const start = () => startKurir(folder.path, { env: { KURIR_SERVER_NAME: SERVER } });
  await settle(await start(), true);
  for (const name of Object.keys(PROFILES)) {
    // Each of these with nothing in memory.
    const server = await start();
    await settle(server);
    const cold = await measure(server, name, 1);
    figures[`ms_${name}_cold`] = round(cold.ms, 0);
    figures[`mb_${name}`] = megabytes(cold.bytes);
    console.log(
      `  ${name}, nothing in memory: ${round(cold.ms, 0)} ms, CPU ${round(cold.cpuMs, 0)} ms, ${megabytes(cold.bytes)} MB`,
    );
    await server.stop();
  }
  const server = await start();
  // Once for nothing: code that is new runs slower.
  await measure(server, '20T', 1);
  for (const name of Object.keys(PROFILES)) {
    for (const users of AT_ONCE) {
      const { ms, cpuMs: cpu } = await measure(server, name, users);
      figures[`ms_${name}_${users}`] = round(ms, 0);
      figures[`cpu_ms_${name}_${users}`] = round(cpu / users, 0);
      console.log(`  ${name}, ${users} at once: ${round(ms, 0)} ms, CPU ${round(cpu / users, 0)} ms each`);
    }
  }
  figures.peak_rss_mb = megabytes(peakResidentBytes(server.pid));
  console.log(`  ${figures.peak_rss_mb} MB resident at most`);
  await server.stop();
  return figures;
}

async function write(folder: string, rooms: number): Promise<void> {
  const started = performance.now();
  await using opened = await openRooms(folder);
  const members = Array.from({ length: MEMBERS }, (_, number) => userOf(number));
  for (let from = 0; from < rooms; from += ROOMS_AT_ONCE) {
    const some = Array.from({ length: Math.min(ROOMS_AT_ONCE, rooms - from) }, (_, index) => from + index);
    await Promise.all(
      some.map((number) => {
        const roomId: RoomId = `!r${number}:${SERVER}`;
        return writeRoom(opened.ctx, roomId, { members, messages: MESSAGES });
      }),
    );
  }
  await writeDevices(opened.ctx.db, members);
  console.log(`  ${rooms} rooms written after ${round((performance.now() - started) / 1_000, 0)} s`);
}

/** How long the answers took, the CPU of all of them, and how large one is. */
async function measure(
  server: RunningServer,
  name: string,
  users: number,
): Promise<{ readonly ms: number; readonly cpuMs: number; readonly bytes: number }> {
  const filter = encodeURIComponent(JSON.stringify(PROFILES[name]));
  const path = `/_matrix/client/v3/sync?filter=${filter}`;
  const clients = await Promise.all(
    Array.from({ length: users }, async (_, number) => {
      return { connection: await Connection.open(server.url), token: tokenOf(userOf(number)) };
    }),
  );
  const took: number[] = [];
  let bytes = 0;
  const before = cpuMs(server.pid) ?? Number.NaN;
  await Promise.all(
    clients.map(async ({ connection, token }) => {
      const started = performance.now();
      const { status, body } = await connection.request('GET', path, { token });
      if (status !== 200) throw new Error(`/sync answered ${status}: ${body.slice(0, 300)}`);
      took.push(performance.now() - started);
      bytes = body.length;
    }),
  );
  const used = (cpuMs(server.pid) ?? Number.NaN) - before;
  for (const { connection } of clients) connection.close();
  return { ms: median(took) ?? Number.NaN, cpuMs: used, bytes };
}
