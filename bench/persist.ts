/** Events into one room and into 64 rooms through `rooms/`: sent by our users, and received from other servers. */

import fs from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { draftOf, MIX } from '#bench/lib/message-mix.ts';
import { type OpenRooms, openRooms, send, userOf } from '#bench/lib/open-rooms.ts';
import { type Figures, type Scenario, temporaryFolder } from '#bench/lib/scenario.ts';
import { round } from '#bench/lib/statistics.ts';
import { folderBytes } from '#bench/servers/server.ts';
import type { RoomId, UserId } from '#keys/ids.ts';
import type { RoomsContext } from '#rooms/context.ts';
import type { Event } from '#rooms/event.ts';
import { checkIngress } from '#rooms/ingress.ts';
import { receive } from '#rooms/receive.ts';
import { getRoom } from '#rooms/room.ts';
import { startRoom } from '#rooms/start-room.ts';
import { rulesOf } from '#rooms/versions.ts';
import * as rooms from '#storage/rooms.ts';
import { roomOf, type TestRoom } from '#test/harness/room-builder.ts';

const SENT = 20_000;
const RECEIVED = 5_000;
const AT_ONCE = 64;
const MEMBERS = 10;
/** Few enough that the log is not copied back meanwhile, so that its length is what was written. */
const WAL_EVENTS = 500;
/** The writer empties its log after two seconds without work. */
const IDLE_MS = 4_000;

export const persistScenario: Scenario = {
  name: 'persist',
  about:
    'events into 1 and into 64 rooms through rooms/: sent and received, with CPU, log, statements, bytes',
  ratios: [],
  limits: {
    database_bytes_per_event: { atMost: 2_200 },
    database_bytes_per_event_64_rooms: { atMost: 2_200 },
  },
  run,
};

async function run(): Promise<Figures> {
  console.log(`  ${MIX}`);
  const figures: Record<string, number | null> = {};
  for (const count of [1, 64]) {
    const suffix = count === 1 ? '' : '_64_rooms';
    const sent = await sendInto(count);
    const received = await receiveInto(count);
    for (const [name, value] of Object.entries({ ...sent, ...received })) figures[`${name}${suffix}`] = value;
    console.log(`  ${count} room${count === 1 ? '' : 's'}: ${sent.sends_per_s} sends/s,`);
    console.log(`  CPU ${sent.cpu_us_per_send} us, ${sent.statements_per_send} statements, log`);
    console.log(`  ${sent.wal_bytes_per_send} bytes (alone ${sent.wal_bytes_per_lone_send}) a send;`);
    console.log(`  ${received.received_per_s} received/s, CPU ${received.cpu_us_per_received} us,`);
    console.log(
      `  ${received.statements_per_received} statements; database ${sent.database_bytes_per_event} bytes an event`,
    );
  }
  return figures;
}

async function sendInto(count: number): Promise<Figures> {
  using folder = temporaryFolder();
  const opened = await openRooms(folder.path);
  const { ctx } = opened;
  const roomIds: RoomId[] = [];
  for (let room = 0; room < count; room++) roomIds.push(await createRoom(ctx, room));
  const setUp = await emptyLog(folder.path);
  let next = 0;
  const sendMany = (events: number, atOnce: number) =>
    inLanes(events, atOnce, () => {
      const number = next++;
      const roomId = roomIds[number % roomIds.length] ?? '!';
      const sender = userOf(Math.floor(number / count) % MEMBERS);
      return send(ctx, draftOf(number, { roomId, sender, moderator: userOf(0) }));
    });
  await sendMany(2_000, AT_ONCE);
  await emptyLog(folder.path);
  await sendMany(WAL_EVENTS, 1);
  const lone = logBytes(folder.path);
  await emptyLog(folder.path);
  await sendMany(WAL_EVENTS * 2, AT_ONCE);
  const together = logBytes(folder.path);
  const measured = await measure(opened, SENT, () => sendMany(SENT, AT_ONCE));
  await opened[Symbol.asyncDispose]();
  return {
    sends_per_s: measured.perSecond,
    cpu_us_per_send: measured.cpuUs,
    statements_per_send: measured.statements,
    wal_bytes_per_send: round(together / (WAL_EVENTS * 2), 0),
    wal_bytes_per_lone_send: round(lone / WAL_EVENTS, 0),
    database_bytes_per_event: round((folderBytes(folder.path) - setUp) / next, 0),
  };
}

async function createRoom(ctx: RoomsContext, number: number): Promise<RoomId> {
  const rules = rulesOf('11');
  if (rules === undefined) throw new Error('room version 11 is not known');
  const roomId: RoomId = `!room${number}:${ctx.serverName}`;
  const creator = userOf(0);
  const state = (sender: UserId, type: string, stateKey: string, content: object) =>
    ({ roomId, sender, type, stateKey, content: { ...content } }) as const;
  const started = await startRoom(ctx, {
    rules,
    drafts: [
      state(creator, 'm.room.create', '', { room_version: '11' }),
      state(creator, 'm.room.member', creator, { membership: 'join' }),
      state(creator, 'm.room.power_levels', '', { users: { [creator]: 100 } }),
      state(creator, 'm.room.join_rules', '', { join_rule: 'public' }),
    ],
  });
  if (started.kind !== 'started') throw new Error(`no room: ${started.reason}`);
  for (let member = 1; member < MEMBERS; member++) {
    const user = userOf(member);
    await send(ctx, state(user, 'm.room.member', user, { membership: 'join' }));
  }
  return roomId;
}

/** Events of other servers, each after the one before, through the checks on receipt. */
async function receiveInto(count: number): Promise<Figures> {
  using folder = temporaryFolder();
  await using opened = await openRooms(folder.path);
  const { ctx } = opened;
  const built = Array.from({ length: count }, (_, index) =>
    roomOf(`@creator:server${index}.example.org`, { version: '11', join_rule: 'public' }),
  );
  for (const room of built) await takeAll(ctx, room, [...room.events.values()]);
  const each = Math.floor(RECEIVED / count);
  const incoming = built.map((room) =>
    Array.from({ length: each }, (_, index) => room.message(room.creator, `Message ${index} `.repeat(20))),
  );
  const measured = await measure(opened, each * count, async () => {
    await Promise.all(built.map((room, index) => takeAll(ctx, room, incoming[index] ?? [])));
  });
  return {
    received_per_s: measured.perSecond,
    cpu_us_per_received: measured.cpuUs,
    statements_per_received: measured.statements,
  };
}

async function takeAll(ctx: RoomsContext, built: TestRoom, events: readonly Event[]): Promise<void> {
  await ctx.db.write('bench.room', (tx) => rooms.insert(tx, built.roomId, built.rules.version));
  const room = await getRoom(ctx, built.roomId);
  if (room === undefined) throw new Error('the room is not known');
  for (const { json, rules } of events) {
    let ingress = await checkIngress(ctx, rules, json);
    if (ingress.kind === 'missing_keys') {
      await ctx.keyRing.ensure(ingress.keys);
      ingress = await checkIngress(ctx, rules, json);
    }
    if (ingress.kind !== 'verified') throw new Error(`an event was dropped: ${JSON.stringify(ingress)}`);
    const received = await receive(ctx, room, ingress.event, { as: 'live' });
    if (received.kind !== 'accepted') throw new Error(`an event was ${received.kind}: ${received.kind}`);
  }
}

async function measure(
  { counted }: OpenRooms,
  events: number,
  work: () => Promise<void>,
): Promise<{ perSecond: number | null; cpuUs: number | null; statements: number | null }> {
  const [started, cpu, statements] = [performance.now(), process.cpuUsage(), counted.statements];
  await work();
  const used = process.cpuUsage(cpu);
  return {
    perSecond: round((events / (performance.now() - started)) * 1000, 0),
    cpuUs: round((used.user + used.system) / events, 0),
    statements: round((counted.statements - statements) / events, 2),
  };
}

async function inLanes(count: number, lanes: number, work: () => Promise<void>): Promise<void> {
  let left = count;
  const lane = async () => {
    while (left > 0) {
      left -= 1;
      await work();
    }
  };
  await Promise.all(Array.from({ length: lanes }, lane));
}

/** Waits until the log is copied back; answers the bytes of the folder then. */
async function emptyLog(folder: string): Promise<number> {
  await sleep(IDLE_MS);
  if (logBytes(folder) > 0) throw new Error('the log is not empty');
  return folderBytes(folder);
}

function logBytes(folder: string): number {
  const file = path.join(folder, 'kurir.db-wal');
  return fs.existsSync(file) ? fs.statSync(file).size : 0;
}
