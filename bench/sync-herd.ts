/** Thousands of devices that all come back with their tokens when the server has been started again. */

import { Connection } from '#bench/lib/connection.ts';
import { openRooms, SERVER, userOf } from '#bench/lib/open-rooms.ts';
import { cpuMs, peakResidentBytes } from '#bench/lib/process-tree.ts';
import { type Figures, type Scenario, temporaryFolder } from '#bench/lib/scenario.ts';
import { megabytes, percentile, round } from '#bench/lib/statistics.ts';
import { tokenOf, writeDevices, writeRoom } from '#bench/lib/written-rooms.ts';
import { startKurir } from '#bench/servers/kurir.ts';
import type { RunningServer } from '#bench/servers/server.ts';
import type { RoomId, UserId } from '#keys/ids.ts';

const DEVICES = 5_000;
const ROOMS = 500;
const ROOMS_OF_USER = 10;
const CONNECTING_AT_ONCE = 500;
const WITHIN_MS = 30_000;
const FILTER = encodeURIComponent('{"room":{"timeline":{"limit":20},"state":{"lazy_load_members":true}}}');

export const syncHerd: Scenario = {
  name: 'sync-herd',
  about: `${DEVICES} devices come back at once after a restart, with news in all rooms (--size: fewer devices)`,
  ratios: [],
  limits: { all_served_s: { atMost: 10 }, errors: { atMost: 0 } },
  run,
};

async function run(_: unknown, { size = DEVICES }: { size?: number | undefined }): Promise<Figures> {
  using folder = temporaryFolder();
  const members = Array.from({ length: size }, (_, number) => userOf(number));
  await write(folder.path, members);
  const options = { env: { KURIR_SERVER_NAME: SERVER } };
  const first = await startKurir(folder.path, options);
  const since = await tokens(first, members);
  await tellNews(first, members);
  await first.kill();
  const server = await startKurir(folder.path, options);
  const before = cpuMs(server.pid) ?? Number.NaN;
  const started = performance.now();
  const took: number[] = [];
  let errors = 0;
  // Each opens its connection when it comes back, as devices do.
  const coming = members.map(async (userId, index) => {
    const path = `/_matrix/client/v3/sync?filter=${FILTER}&timeout=${WITHIN_MS}&since=${since[index]}`;
    const connection = await Connection.open(server.url);
    const { status, body } = await connection.request('GET', path, { token: tokenOf(userId) });
    if (status !== 200 || !body.includes('news'))
      throw new Error(`answered ${status}: ${body.slice(0, 200)}`);
    took.push(performance.now() - started);
    connection.close();
  });
  for (const came of await Promise.allSettled(coming)) {
    if (came.status === 'fulfilled') continue;
    errors += 1;
    if (errors === 1) console.log(`  ${String(came.reason)}`);
  }
  const figures = {
    devices: size,
    errors,
    all_served_s: round((performance.now() - started) / 1_000),
    served_p50_s: round((percentile(took, 0.5) ?? Number.NaN) / 1_000),
    cpu_ms_per_device: round(((cpuMs(server.pid) ?? Number.NaN) - before) / size),
    peak_rss_mb: megabytes(peakResidentBytes(server.pid)),
  };
  console.log(
    `  ${size} devices served after ${figures.all_served_s} s, half of them after ${figures.served_p50_s} s,`,
  );
  console.log(
    `  ${errors} errors, CPU ${figures.cpu_ms_per_device} ms each, ${figures.peak_rss_mb} MB resident at most`,
  );
  await server.stop();
  return figures;
}

/** Rooms in which each user is in some. */
async function write(folder: string, members: readonly UserId[]): Promise<void> {
  await using opened = await openRooms(folder);
  const rooms = Array.from({ length: ROOMS }, (): UserId[] => []);
  for (const [index, member] of members.entries()) {
    for (let number = 0; number < ROOMS_OF_USER; number++)
      rooms[(index * 7 + number * 53) % ROOMS]?.push(member);
  }
  for (const [number, inRoom] of rooms.entries()) {
    if (inRoom.length > 0) await writeRoom(opened.ctx, roomOf(number), { members: inRoom, messages: 20 });
  }
  await writeDevices(opened.ctx.db, members);
}

function roomOf(number: number): RoomId {
  return `!r${number}:${SERVER}`;
}

async function tokens(server: RunningServer, members: readonly UserId[]): Promise<string[]> {
  const since: string[] = [];
  for (let from = 0; from < members.length; from += CONNECTING_AT_ONCE) {
    const some = members.slice(from, from + CONNECTING_AT_ONCE);
    const answers = await Promise.all(
      some.map(async (userId) => {
        const connection = await Connection.open(server.url);
        // Of no room: only the token is of interest.
        const path = `/_matrix/client/v3/sync?filter=${encodeURIComponent('{"room":{"rooms":[]}}')}`;
        const { body } = await connection.request('GET', path, { token: tokenOf(userId) });
        connection.close();
        return String(JSON.parse(body).next_batch);
      }),
    );
    since.push(...answers);
  }
  return since;
}

/** Each of some says something in one of their rooms. */
async function tellNews(server: RunningServer, members: readonly UserId[]): Promise<void> {
  const connection = await Connection.open(server.url);
  for (const [index, userId] of members.slice(0, ROOMS).entries()) {
    const path = `/_matrix/client/v3/rooms/${encodeURIComponent(roomOf((index * 7) % ROOMS))}/send/m.room.message/news`;
    const body = { msgtype: 'm.text', body: 'news' };
    const { status } = await connection.request('PUT', path, { token: tokenOf(userId), body });
    if (status !== 200) throw new Error(`a send answered ${status}`);
  }
  connection.close();
}
