/**
 * State resolution of two forks, by the number of events that they conflict in: CPU time, the longest turn
 * of the main thread (by its CPU time), and how both grow. Once as the pure computation, and once with a database: two forward
 * extremities of a stored room, of which nothing is in memory.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import { type ForkedRoom, forkedRoom } from '#bench/lib/forked-room.ts';
import type { Figures, Scenario } from '#bench/lib/scenario.ts';
import { round } from '#bench/lib/statistics.ts';
import { TurnSampler } from '#bench/lib/turns.ts';
import type { EventId } from '#keys/ids.ts';
import type { RoomsContext } from '#rooms/context.ts';
import { splitStateMapKey } from '#rooms/event.ts';
import { groupOf, newEvent } from '#rooms/persist.ts';
import { groupRef, resolveStates, stateIds } from '#rooms/resolve-state.ts';
import { getRoom, type Room } from '#rooms/room.ts';
import { createRoomCache } from '#rooms/room-cache.ts';
import { portionsOf, Slices } from '#rooms/slices.ts';
import { conflictsOf } from '#rooms/state-res/conflicts.ts';
import { resolution, resolve } from '#rooms/state-res/resolve.ts';
import * as events from '#storage/events.ts';
import * as rooms from '#storage/rooms.ts';
import type { StateGroup } from '#storage/state-groups.ts';
import { nidsOf } from '#storage/state-keys.ts';
import { openRooms } from '#test/harness/rooms.ts';

const SIZES = [1_000, 10_000, 100_000];

export const stateRes: Scenario = {
  name: 'state-res',
  about: 'state resolution of two forks in conflict, by the number of conflicted events',
  ratios: [],
  limits: {
    stored_10000_cpu_s: { atMost: 1 },
    stored_10000_longest_turn_ms: { atMost: 50 },
    // n log n from the smallest size to the largest is a power of 1.11.
    stored_exponent: { atMost: 1.15 },
  },
  run,
};

interface Measured {
  readonly cpuS: number;
  readonly turnMs: number;
}

async function run(): Promise<Figures> {
  const figures: Record<string, number | null> = {};
  const measured = { pure: new Map<number, Measured>(), stored: new Map<number, Measured>() };
  // What is measured is compiled code.
  await measurePure(forkedRoom(2_000));
  for (const size of SIZES) {
    const room = forkedRoom(size);
    measured.pure.set(size, await measurePure(room));
    measured.stored.set(size, await measureStored(room));
    for (const [kind, bySize] of Object.entries(measured)) {
      const { cpuS, turnMs } = bySize.get(size) ?? { cpuS: Number.NaN, turnMs: Number.NaN };
      figures[`${kind}_${size}_cpu_s`] = round(cpuS, 3);
      figures[`${kind}_${size}_longest_turn_ms`] = round(turnMs, 1);
      console.log(
        `  ${kind.padEnd(6)} ${String(size).padStart(7)} events: ${round(cpuS, 3)} s CPU, ` +
          `no turn longer than ${round(turnMs, 1)} ms`,
      );
    }
  }
  for (const [kind, bySize] of Object.entries(measured)) {
    const exponent = exponentOf(bySize);
    figures[`${kind}_exponent`] = round(exponent, 3);
    console.log(`  ${kind}: CPU time grows with the number of events to the power of ${round(exponent, 2)}`);
  }
  return figures;
}

/** The computation alone, in slices as the server runs it. */
async function measurePure({ rules, events, sides }: ForkedRoom): Promise<Measured> {
  const byId = new Map(events.map((event) => [event.eventId, event]));
  const conflicts = conflictsOf(sides);
  return measure(async () => {
    const slices = new Slices();
    const steps = resolution(rules, conflicts, { event: (eventId) => byId.get(eventId) });
    while (steps.next().done !== true) await slices.rest();
  });
}

/** With all the reading, as when two extremities are first resolved after a start. */
async function measureStored(forked: ForkedRoom): Promise<Measured> {
  // Its events are made up: neither signed nor hashed.
  await using server = await openRooms({ isDamaged: true });
  const { ctx } = server;
  const { room, groups } = await store(ctx, forked);
  await server.restart();
  const cold = { ...server.ctx, rooms: createRoomCache() };
  const measured = await measure(() => resolveStates(cold, room, groups.map(groupRef)));
  await checkResult(cold, room, forked, groups);
  return measured;
}

async function measure(work: () => Promise<unknown>): Promise<Measured> {
  // What was there before is not to be collected meanwhile.
  await sleep(50);
  using turns = new TurnSampler();
  const before = process.cpuUsage();
  await work();
  const { user, system } = process.cpuUsage(before);
  // The last turn ends with the next sample.
  await sleep(1);
  return { cpuS: (user + system) / 1e6, turnMs: turns.longestMs };
}

/** The slope of the logarithms, by least squares. */
function exponentOf(bySize: ReadonlyMap<number, Measured>): number {
  const points = [...bySize].map(([size, { cpuS }]) => ({ x: Math.log(size), y: Math.log(cpuS) }));
  const mean = (of: (point: { x: number; y: number }) => number) =>
    points.reduce((sum, point) => sum + of(point), 0) / points.length;
  const [x, y] = [mean((point) => point.x), mean((point) => point.y)];
  return mean((point) => (point.x - x) * (point.y - y)) / mean((point) => (point.x - x) ** 2);
}

/** Stores the events, and the states of both sides one upon the state before. */
async function store(
  ctx: RoomsContext,
  { rules, events: made, before, sides }: ForkedRoom,
): Promise<{ room: Room; groups: StateGroup[] }> {
  const [{ roomId } = { roomId: undefined }] = made;
  if (roomId === undefined) throw new Error('the room has no events');
  await ctx.db.write('bench.room', (tx) => rooms.insert(tx, roomId, rules.version));
  const room = await getRoom(ctx, roomId);
  if (room === undefined) throw new Error('the room was not stored');
  for (const portion of portionsOf(made)) {
    const rows = portion.map((event) => newEvent(room, event, OUTLIER));
    await ctx.db.write('bench.events', (tx) => events.insertOutliers(tx, rows));
  }
  const base = await storeState(ctx, 0, before);
  const groups: StateGroup[] = [];
  for (const side of sides) groups.push(await storeState(ctx, base, side, before));
  return { room, groups };
}

const OUTLIER = {
  position: undefined,
  status: 'outlier',
  reason: undefined,
  stateBefore: undefined,
  stateAfter: undefined,
  redactedBy: undefined,
  txn: undefined,
  receivedTs: 1_700_000_000_000,
} as const;

async function storeState(
  ctx: RoomsContext,
  base: StateGroup,
  state: ReadonlyMap<string, EventId>,
  before?: ReadonlyMap<string, EventId>,
): Promise<StateGroup> {
  const changes = new Map(state.entries().filter(([key, eventId]) => before?.get(key) !== eventId));
  for (const portion of portionsOf(changes.keys())) {
    await ctx.db.write('bench.keys', (tx) => nidsOf(tx, portion.map(splitStateMapKey)));
  }
  return ctx.db.write('bench.state', (tx) => groupOf(tx, { base, changes }));
}

/** A benchmark of what gives another result says nothing. */
async function checkResult(
  ctx: RoomsContext,
  room: Room,
  { rules, events, sides }: ForkedRoom,
  groups: readonly StateGroup[],
): Promise<void> {
  const byId = new Map(events.map((event) => [event.eventId, event]));
  const expected = resolve(rules, sides, { event: (eventId) => byId.get(eventId) });
  const resolved = await stateIds(ctx, await resolveStates(ctx, room, groups.map(groupRef)));
  const wrong = [...expected].filter(([key, eventId]) => resolved.get(key) !== eventId);
  if (wrong.length > 0 || resolved.size !== expected.size) throw new Error('the resolved state is another');
}
