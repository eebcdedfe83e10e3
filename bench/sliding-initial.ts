/**
 * The first answer of sliding sync: the 20 rooms that were active last of users of 1,000 and of 5,000 rooms, as Element X
 * asks; of users whom the server has not seen since it started, and of the same ones again.
 */

import { Connection } from '#bench/lib/connection.ts';
import { openRooms, SERVER, userOf } from '#bench/lib/open-rooms.ts';
import { cpuMs } from '#bench/lib/process-tree.ts';
import { type Figures, type Scenario, temporaryFolder } from '#bench/lib/scenario.ts';
import { settle } from '#bench/lib/settle.ts';
import { median, round } from '#bench/lib/statistics.ts';
import { tokenOf, writeDevices, writeRoom } from '#bench/lib/written-rooms.ts';
import { startKurir } from '#bench/servers/kurir.ts';
import type { RunningServer } from '#bench/servers/server.ts';
import type { RoomId, UserId } from '#keys/ids.ts';

const COUNTS = [1_000, 5_000];
/** Of each count, that each is new to the server once. */
const USERS = 7;
const MESSAGES = 5;
const ROOMS_AT_ONCE = 50;
const PATH = '/_matrix/client/unstable/org.matrix.simplified_msc3575/sync?set_presence=offline';
const TYPES = [
  ...['name', 'encryption', 'topic', 'avatar', 'canonical_alias', 'power_levels', 'join_rules', 'tombstone'],
  ...['create', 'history_visibility'],
];
/** As Element X has it. */
export const ELEMENT_X = {
  conn_id: 'room-list',
  lists: {
    all_rooms: {
      ranges: [[0, 19]],
      timeline_limit: 1,
      required_state: [
        ...TYPES.map((type) => [`m.room.${type}`, '']),
        ...[
          ['m.room.member', '$LAZY'],
          ['m.room.member', '$ME'],
          ['org.matrix.msc3401.call.member', '*'],
          ['io.element.functional_members', ''],
          ['m.space.parent', '*'],
          ['m.space.child', '*'],
        ],
      ],
    },
  },
  extensions: {
    account_data: { enabled: true },
    receipts: { enabled: true, rooms: ['*'] },
    typing: { enabled: true },
  },
};

export const slidingInitial: Scenario = {
  name: 'sliding-initial',
  about: 'the first 20 rooms by sliding sync, of users of 1,000 and 5,000 rooms (--size: fewer than 5,000)',
  ratios: [],
  limits: { ms_1000_cold: { atMost: 50 }, ms_5000_cold: { atMost: 60 } },
  run,
};

async function run(_: unknown, { size = 5_000 }: { size?: number | undefined }): Promise<Figures> {
  using folder = temporaryFolder();
  const counts = COUNTS.filter((count) => count <= size);
  await write(folder.path, counts);
  const server = await startKurir(folder.path, { env: { KURIR_SERVER_NAME: SERVER } });
  const figures: Record<string, number | null> = {};
  await settle(server);
  // Code that is new runs slower: one user of each kind is for nothing.
  for (const [index] of counts.entries()) await measure(server, usersOf(index).slice(0, 1));
  for (const [index, count] of counts.entries()) {
    const users = usersOf(index).slice(1);
    for (const kind of ['cold', 'warm']) {
      const { ms, cpuMs: cpu, bytes } = await measure(server, users);
      figures[`ms_${count}_${kind}`] = round(ms, 1);
      figures[`cpu_ms_${count}_${kind}`] = round(cpu, 1);
      console.log(
        `  ${count} rooms, ${kind === 'cold' ? 'new to the server' : 'again'}: ${round(ms, 1)} ms, CPU ${round(cpu, 1)} ms, ${bytes} bytes`,
      );
    }
  }
  await server.stop();
  return figures;
}

function usersOf(index: number): UserId[] {
  return Array.from({ length: USERS }, (_, number) => userOf(index * USERS + number));
}

/** All users are in the first rooms, those of more rooms also in the others. */
async function write(folder: string, counts: readonly number[]): Promise<void> {
  const started = performance.now();
  await using opened = await openRooms(folder);
  const most = counts.at(-1) ?? 0;
  for (let from = 0; from < most; from += ROOMS_AT_ONCE) {
    const some = Array.from({ length: Math.min(ROOMS_AT_ONCE, most - from) }, (_, index) => from + index);
    await Promise.all(
      some.map((number) => {
        const roomId: RoomId = `!r${number}:${SERVER}`;
        const members = counts.flatMap((count, index) => (number < count ? usersOf(index) : []));
        return writeRoom(opened.ctx, roomId, { members, messages: MESSAGES });
      }),
    );
  }
  await writeDevices(
    opened.ctx.db,
    counts.flatMap((_, index) => usersOf(index)),
  );
  console.log(`  ${most} rooms written after ${round((performance.now() - started) / 1_000, 0)} s`);
}

/** The median of the answers, one after the other, and the CPU of each. */
async function measure(
  server: RunningServer,
  users: readonly UserId[],
): Promise<{ readonly ms: number; readonly cpuMs: number; readonly bytes: number }> {
  const connection = await Connection.open(server.url);
  const took: number[] = [];
  let bytes = 0;
  const before = cpuMs(server.pid) ?? Number.NaN;
  for (const user of users) {
    const started = performance.now();
    const { status, body } = await connection.request('POST', PATH, {
      token: tokenOf(user),
      body: ELEMENT_X,
    });
    if (status !== 200) throw new Error(`the answer was ${status}: ${body.slice(0, 300)}`);
    took.push(performance.now() - started);
    bytes = body.length;
  }
  const used = (cpuMs(server.pid) ?? Number.NaN) - before;
  connection.close();
  return { ms: median(took) ?? Number.NaN, cpuMs: used / users.length, bytes };
}
