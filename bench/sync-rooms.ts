/**
 * /sync of users of 10 to 5,000 rooms: whether an answer with news of one room, and a poll that waits for nothing,
 * cost more for those of many. The rooms are written through `rooms/`; what is measured is a server's CPU.
 */

import { registerAccount } from '#bench/lib/accounts.ts';
import { openRooms, SERVER, userOf } from '#bench/lib/open-rooms.ts';
import { cpuMs } from '#bench/lib/process-tree.ts';
import { type Figures, type Scenario, temporaryFolder } from '#bench/lib/scenario.ts';
import { exponent, round } from '#bench/lib/statistics.ts';
import { writeRoom } from '#bench/lib/written-rooms.ts';
import { startKurir } from '#bench/servers/kurir.ts';
import type { RunningServer } from '#bench/servers/server.ts';
import type { RoomId } from '#keys/ids.ts';

const MOST = 5_000;
const COUNTS = [10, 100, 1_000, 5_000];
const ROOMS_AT_ONCE = 50;
const SYNCS = 600;
const WARM_UP = 200;

export const syncRooms: Scenario = {
  name: 'sync-rooms',
  about:
    'users of 10 to 5,000 rooms: how the cost of an answer with news, and of an idle poll, grows (--size: to fewer)',
  ratios: [],
  limits: {
    news_exponent: { atMost: 0.1 },
    own_exponent: { atMost: 0.1 },
    idle_exponent: { atMost: 0.1 },
  },
  run,
};

async function run(_: unknown, { size = MOST }: { size?: number | undefined }): Promise<Figures> {
  using folder = temporaryFolder();
  const counts = COUNTS.filter((count) => count <= size);
  const shared = await writeRooms(folder.path, counts);
  const server = await startKurir(folder.path, { env: { KURIR_SERVER_NAME: SERVER } });
  const figures: Record<string, number | null> = {};
  const costs: Record<string, number[]> = { news: [], own: [], idle: [] };
  for (const [index, count] of counts.entries()) {
    const cost = await measure(server, `user.number${index + 1}`, shared);
    for (const [name, us] of Object.entries(cost)) {
      costs[name]?.push(us);
      figures[`${name}_us_${count}`] = round(us, 0);
    }
    const { news, own, idle } = cost;
    console.log(
      `  ${count} rooms: CPU ${round(news, 0)} us an answer with news of a room, ${round(own, 0)} us one`,
    );
    console.log(`  after a change of the user's own, with that change, ${round(idle, 0)} us an idle poll`);
  }
  await server.stop();
  for (const [name, us] of Object.entries(costs))
    figures[`${name}_exponent`] = round(exponent(counts, us), 3);
  return figures;
}

/** User 1 is in the first rooms, user 2 in these and more, and so on. Answers the room where all are. */
async function writeRooms(folder: string, counts: readonly number[]): Promise<RoomId> {
  await using opened = await openRooms(folder);
  const { ctx } = opened;
  const rooms = Array.from(
    { length: counts.at(-1) ?? 0 },
    (_, number): RoomId => `!r${number}:${ctx.serverName}`,
  );
  for (let from = 0; from < rooms.length; from += ROOMS_AT_ONCE) {
    const some = rooms.slice(from, from + ROOMS_AT_ONCE);
    await Promise.all(
      some.map((roomId, index) => {
        const members = counts.map((count, number) =>
          from + index < count ? userOf(number + 1) : undefined,
        );
        return writeRoom(ctx, roomId, { members: members.filter((userId) => userId !== undefined) });
      }),
    );
  }
  const [first] = rooms;
  if (first === undefined) throw new Error('there is no room');
  return first;
}

/** Microseconds of CPU for each request. */
async function measure(
  server: RunningServer,
  name: string,
  shared: RoomId,
): Promise<Record<'news' | 'own' | 'idle', number>> {
  const { connection, token } = await registerAccount(server, name);
  const get = async (path: string): Promise<Record<string, unknown>> => {
    const { status, body } = await connection.request('GET', path, { token });
    if (status !== 200) throw new Error(`${path} answered ${status}: ${body.slice(0, 300)}`);
    return JSON.parse(body);
  };
  const filter = encodeURIComponent('{"room":{"timeline":{"limit":1},"state":{"lazy_load_members":true}}}');
  const sync = `/_matrix/client/v3/sync?filter=${filter}`;
  const { next_batch: since } = await get(sync);
  const path = `/_matrix/client/v3/rooms/${encodeURIComponent(shared)}/send/m.room.message/${name}`;
  await connection.request('PUT', path, { token, body: { msgtype: 'm.text', body: 'news' } });
  // The same request again and again: nothing but the answer is measured.
  const news = await costOf(server, () => get(`${sync}&since=${since}`));
  const account = `/_matrix/client/v3/user/${encodeURIComponent(`@${name}:${SERVER}`)}/account_data/bench`;
  let { next_batch: now } = await get(`${sync}&since=${since}`);
  const own = await costOf(server, async () => {
    await connection.request('PUT', account, { token, body: { now } });
    now = (await get(`${sync}&since=${now}`)).next_batch;
  });
  const idle = await costOf(server, () => get(`${sync}&since=${now}&timeout=1`));
  connection.close();
  return { news, own, idle };
}

async function costOf(server: RunningServer, work: () => Promise<unknown>): Promise<number> {
  for (let number = 0; number < WARM_UP; number++) await work();
  const before = cpuMs(server.pid) ?? Number.NaN;
  for (let number = 0; number < SYNCS; number++) await work();
  return (((cpuMs(server.pid) ?? Number.NaN) - before) * 1_000) / SYNCS;
}
