/** A room whose members join one by one: what their states take on disk, and how long an old one takes to be read. */

import path from 'node:path';
import Sqlite from 'better-sqlite3';
import { type OpenRooms, openRooms, send, userOf } from '#bench/lib/open-rooms.ts';
import { type Figures, type Scenario, temporaryFolder } from '#bench/lib/scenario.ts';
import { median, percentile, round } from '#bench/lib/statistics.ts';
import type { RoomId } from '#keys/ids.ts';
import type { RoomsContext } from '#rooms/context.ts';
import { loadNids } from '#rooms/load.ts';
import { startRoom } from '#rooms/start-room.ts';
import { stateAt } from '#rooms/state.ts';
import { rulesOf } from '#rooms/versions.ts';

const JOINS = 50_000;
const AT_ONCE = 50;
const LOOKUPS = 400;
const WHOLE_LOOKUPS = 20;
/** Tables, and their indexes, that hold states of rooms. */
const STATE_TABLES = ['state_nodes', 'state_keys', 'current_state', 'state_deltas'];

export const stateGrowth: Scenario = {
  name: 'state-growth',
  about: `${JOINS} joins one by one: state storage of each, and a look into the state at any past event`,
  ratios: [],
  limits: { state_bytes_per_join: { atMost: 2_000 }, lookup_p99_ms: { atMost: 5 } },
  run,
};

async function run(_: unknown, { size = JOINS }: { size?: number | undefined }): Promise<Figures> {
  using folder = temporaryFolder();
  const cpu = await joinOneByOne(folder.path, size);
  const tables = tableBytes(path.join(folder.path, 'kurir.db'));
  const state = STATE_TABLES.reduce((sum, table) => sum + (tables.get(table) ?? 0), 0);
  await using opened = await openRooms(folder.path);
  const some = await lookUp(opened, { lookups: LOOKUPS, events: size }, async (ctx, nid) => {
    const keys = [
      { type: 'm.room.power_levels', stateKey: '' },
      { type: 'm.room.member', stateKey: userOf(Math.floor(Math.random() * size)) },
    ];
    await stateOf(ctx, nid, keys);
  });
  const whole = await lookUp(opened, { lookups: WHOLE_LOOKUPS, events: size }, (ctx, nid) =>
    stateOf(ctx, nid),
  );
  const figures = {
    joins: size,
    cpu_us_per_join: round(cpu / size, 0),
    state_bytes_per_join: round(state / size, 0),
    node_bytes_per_join: round((tables.get('state_nodes') ?? 0) / size, 0),
    membership_bytes_per_join: round((tables.get('memberships') ?? 0) / size, 0),
    lookup_p50_ms: round(median(some)),
    lookup_p99_ms: round(percentile(some, 0.99)),
    whole_state_p50_ms: round(median(whole), 1),
  };
  console.log(
    `  ${size} joins, CPU ${figures.cpu_us_per_join} us each: ${figures.state_bytes_per_join} bytes of`,
  );
  console.log(
    `  state, ${figures.node_bytes_per_join} of them for tries, and ${figures.membership_bytes_per_join}`,
  );
  console.log(`  of memberships; two keys of a past state in ${figures.lookup_p50_ms} ms, p99`);
  console.log(
    `  ${figures.lookup_p99_ms} ms, with nothing in memory; a whole one in ${figures.whole_state_p50_ms} ms`,
  );
  return figures;
}

async function joinOneByOne(folder: string, joins: number): Promise<number> {
  await using opened = await openRooms(folder);
  const { ctx } = opened;
  const roomId: RoomId = `!large:${ctx.serverName}`;
  await createRoom(ctx, roomId);
  const before = process.cpuUsage();
  for (let from = 1; from <= joins; from += AT_ONCE) {
    const users = Array.from({ length: Math.min(AT_ONCE, joins + 1 - from) }, (_, index) =>
      userOf(from + index),
    );
    // They wait at the same time, and are written one upon the other.
    await Promise.all(
      users.map((user, index) =>
        send(ctx, {
          ...{ roomId, sender: user, type: 'm.room.member', stateKey: user },
          content: { membership: 'join', displayname: `Member ${from + index}` },
        }),
      ),
    );
  }
  const used = process.cpuUsage(before);
  return used.user + used.system;
}

/** A public room of user 0. */
export async function createRoom(ctx: RoomsContext, roomId: RoomId): Promise<void> {
  const rules = rulesOf('11');
  if (rules === undefined) throw new Error('room version 11 is not known');
  const sender = userOf(0);
  const started = await startRoom(ctx, {
    rules,
    drafts: [
      { roomId, sender, type: 'm.room.create', stateKey: '', content: { room_version: '11' } },
      { roomId, sender, type: 'm.room.member', stateKey: sender, content: { membership: 'join' } },
      { roomId, sender, type: 'm.room.power_levels', stateKey: '', content: { users: { [sender]: 100 } } },
      { roomId, sender, type: 'm.room.join_rules', stateKey: '', content: { join_rule: 'public' } },
    ],
  });
  if (started.kind !== 'started') throw new Error(`no room: ${started.reason}`);
}

/** Milliseconds of each look into the state before an event, any of the room's, with empty caches. */
async function lookUp(
  opened: OpenRooms,
  { lookups, events }: { readonly lookups: number; readonly events: number },
  look: (ctx: RoomsContext, nid: number) => Promise<void>,
): Promise<number[]> {
  const times: number[] = [];
  for (let lookup = 0; lookup < lookups; lookup++) {
    const ctx = opened.cold();
    // The numeric ids of the room's events are 1, 2, 3, ...: the first few are those of its creation.
    const nid = 5 + Math.floor(Math.random() * events);
    const started = performance.now();
    await look(ctx, nid);
    times.push(performance.now() - started);
  }
  return times;
}

async function stateOf(ctx: RoomsContext, nid: number, keys?: Parameters<typeof stateAt>[3]): Promise<void> {
  const stored = (await loadNids(ctx, [nid])).get(nid);
  if (stored === undefined) throw new Error(`there is no event ${nid}`);
  const state = await stateAt(ctx, stored, 'before', keys);
  if (state.length === 0) throw new Error(`nothing is in the state before event ${nid}`);
}

/** The bytes of each table, its indexes among them. */
function tableBytes(file: string): ReadonlyMap<string, number> {
  const db = new Sqlite(file, { readonly: true });
  try {
    const rows = db
      .prepare<[], { table: string; bytes: number }>(
        `SELECT s.tbl_name AS "table", SUM(d.pgsize) AS bytes
         FROM dbstat d JOIN sqlite_schema s ON s.name = d.name GROUP BY s.tbl_name`,
      )
      .all();
    return new Map(rows.map(({ table, bytes }) => [table, bytes]));
  } finally {
    db.close();
  }
}
