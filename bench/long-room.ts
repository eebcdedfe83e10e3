/**
 * A room that grows to a million events: whether sending, a page of messages and the state at an old event cost more
 * then. The events are written through the storage layer, in bulk; at each length everything is measured with nothing
 * in memory but what SQLite and the system keep.
 */

import { randomBytes } from 'node:crypto';
import { encryptedContent } from '#bench/lib/message-mix.ts';
import { type OpenRooms, openRooms, send, userOf } from '#bench/lib/open-rooms.ts';
import { type Figures, type Scenario, temporaryFolder } from '#bench/lib/scenario.ts';
import { exponent, median, round } from '#bench/lib/statistics.ts';
import { createRoom } from '#bench/state-growth.ts';
import { encodeCanonical } from '#keys/canonical-json.ts';
import type { EventId, RoomId } from '#keys/ids.ts';
import type { RoomsContext } from '#rooms/context.ts';
import { loadNids } from '#rooms/load.ts';
import { getRoom, type Room } from '#rooms/room.ts';
import { headOf } from '#rooms/room-head.ts';
import { stateAt } from '#rooms/state.ts';
import { page } from '#rooms/timeline.ts';
import { visibleTo } from '#rooms/visibility.ts';
import * as currentState from '#storage/current-state.ts';
import * as eventEdges from '#storage/event-edges.ts';
import * as events from '#storage/events.ts';
import * as rooms from '#storage/rooms.ts';
import { apply, type StateGroup } from '#storage/state-groups.ts';
import { nidsOf } from '#storage/state-keys.ts';

const LONGEST = 1_000_000;
const LENGTHS = [1_000, 10_000, 100_000, 1_000_000];
const MEMBERS = 100;
/** One in so many events changes a member's profile, and with it the state. */
const STATE_EVENT_EVERY = 50;
const ROWS_AT_ONCE = 1_000;
const BATCHES = 60;
const BATCH = 20;
const PAGE = 20;

export const longRoom: Scenario = {
  name: 'long-room',
  about:
    'a room of 1,000 to 1,000,000 events: how the cost of a send, a page and an old state grows (--size: to fewer)',
  ratios: [],
  limits: {
    send_exponent: { atMost: 0.05 },
    page_exponent: { atMost: 0.05 },
    old_state_exponent: { atMost: 0.05 },
  },
  run,
};

interface Written {
  readonly room: Room;
  /** Positions and numeric ids of the room's events are between these. */
  readonly first: { readonly position: number; readonly nid: number };
  last: { position: number; nid: number };
}

async function run(_: unknown, { size = LONGEST }: { size?: number | undefined }): Promise<Figures> {
  using folder = temporaryFolder();
  await using opened = await openRooms(folder.path);
  const { ctx } = opened;
  const roomId: RoomId = `!long:${ctx.serverName}`;
  await createRoom(ctx, roomId);
  for (let member = 1; member < MEMBERS; member++) await join(ctx, roomId, member);
  const written = await beginning(ctx, roomId);
  const lengths = LENGTHS.filter((length) => length <= size);
  const costs = { send: [], page: [], old_state: [] } as Record<string, number[]>;
  const figures: Record<string, number | null> = {};
  // Once for nothing: code that is new runs slower.
  await growTo(ctx, written, 2 * MEMBERS);
  await measureAt(opened, written);
  for (const length of lengths) {
    await growTo(ctx, written, length);
    for (const [name, us] of Object.entries(await measureAt(opened, written))) {
      costs[name]?.push(us);
      figures[`${name}_us_${length}`] = round(us, 0);
    }
    const {
      [`send_us_${length}`]: sent,
      [`page_us_${length}`]: read,
      [`old_state_us_${length}`]: old,
    } = figures;
    console.log(`  ${length} events: CPU ${sent} us a send, ${read} us a page, ${old} us an old state`);
  }
  for (const [name, us] of Object.entries(costs))
    figures[`${name}_exponent`] = round(exponent(lengths, us), 3);
  return figures;
}

function join(ctx: RoomsContext, roomId: RoomId, member: number): Promise<void> {
  const user = userOf(member);
  const content = { membership: 'join', displayname: `Member ${member}` };
  return send(ctx, { roomId, sender: user, type: 'm.room.member', stateKey: user, content });
}

async function beginning(ctx: RoomsContext, roomId: RoomId): Promise<Written> {
  const room = await getRoom(ctx, roomId);
  if (room === undefined) throw new Error('there is no room');
  const [extremity] = (await headOf(ctx, room.roomNid)).forwardExtremities;
  if (extremity === undefined) throw new Error('the room has no events');
  const last = { position: ctx.streams.upto(), nid: extremity.nid };
  return { room, first: { ...last }, last };
}

/** Writes events after the last one, in one line, as `persist` would. */
async function growTo(ctx: RoomsContext, written: Written, length: number): Promise<void> {
  const { room } = written;
  const head = await headOf(ctx, room.roomNid);
  const [before] = head.forwardExtremities;
  if (before === undefined) throw new Error('the room has no end');
  const line: Line = { group: head.stateGroup, eventId: before.eventId, depth: before.depth };
  for (let number = written.last.nid; number < length; number += ROWS_AT_ONCE) {
    await ctx.db.write('bench.grow', async (tx) => {
      const keys = Array.from({ length: MEMBERS }, (_, member) => ({
        ...{ type: 'm.room.member', stateKey: userOf(member) },
      }));
      const keyNids = await nidsOf(tx, keys);
      for (let row = 0; row < Math.min(ROWS_AT_ONCE, length - number); row++) {
        const position = ctx.streams.allocate(tx, []);
        const member = (number + row) % MEMBERS;
        const changesState = row % STATE_EVENT_EVERY === 0;
        const event = nextEvent(room, line, { position, member, changesState });
        const nid = await events.insert(tx, event);
        const keyNid = keyNids[member];
        if (changesState && keyNid !== undefined) {
          line.group = await apply(tx, line.group, new Map([[keyNid, nid]]));
          await events.setStateAfter(tx, nid, line.group);
          await currentState.set(tx, room.roomNid, { type: 'm.room.member', stateKey: userOf(member) }, nid);
        }
        Object.assign(line, { eventId: event.eventId, depth: event.depth });
        written.last = { position, nid };
      }
    });
  }
  await ctx.db.write('bench.end', async (tx) => {
    const change = { removed: [before.nid], added: [written.last.nid] };
    await eventEdges.moveForwardExtremities(tx, room.roomNid, change);
    await rooms.setStateGroup(tx, room.roomNid, line.group);
  });
  ctx.rooms.dropHead(room.roomNid);
}

interface Line {
  group: StateGroup;
  eventId: EventId;
  depth: number;
}

function nextEvent(
  room: Room,
  line: Line,
  of: { readonly position: number; readonly member: number; readonly changesState: boolean },
): events.NewEvent {
  const sender = userOf(of.member);
  const [type, stateKey] = of.changesState ? ['m.room.member', sender] : ['m.room.encrypted', undefined];
  const content = of.changesState
    ? { membership: 'join', displayname: `Member at ${of.position}` }
    : encryptedContent();
  const eventId: EventId = `$${randomBytes(32).toString('base64url')}`;
  const originServerTs = 1_700_000_000_000 + of.position;
  const pdu = {
    ...{ auth_events: [], content, depth: line.depth + 1, hashes: { sha256: eventId }, type, sender },
    ...{ origin_server_ts: originServerTs, prev_events: [line.eventId], room_id: room.roomId },
    ...(stateKey !== undefined && { state_key: stateKey }),
    signatures: { [userOf(0)]: { 'ed25519:bench': `${eventId}${eventId}` } },
  };
  return {
    ...{
      eventId,
      roomNid: room.roomNid,
      position: of.position,
      depth: line.depth + 1,
      sender,
      originServerTs,
    },
    ...{ type: type ?? '', stateKey, receivedTs: originServerTs, status: 'accepted', reason: undefined },
    stateBefore: line.group,
    stateAfter: of.changesState ? undefined : line.group,
    redactedBy: undefined,
    txn: undefined,
    json: encodeCanonical(pdu),
  };
}

/** Medians of the CPU time of one of each, in microseconds. */
async function measureAt(opened: OpenRooms, { room, first, last }: Written): Promise<Record<string, number>> {
  const { roomId, roomNid } = room;
  const between = (from: number, to: number) => from + Math.floor(Math.random() * (to - from + 1));
  const keys = [
    { type: 'm.room.power_levels', stateKey: '' },
    { type: 'm.room.member', stateKey: userOf(1) },
    { type: 'm.room.member', stateKey: userOf(MEMBERS - 1) },
  ];
  return {
    send: await medianCost(opened, (ctx, number) =>
      send(ctx, {
        roomId,
        sender: userOf(number % 10),
        type: 'm.room.encrypted',
        content: encryptedContent(),
      }),
    ),
    page: await medianCost(opened, async (ctx) => {
      const from = between(first.position, last.position);
      const read = await page(ctx, roomNid, { from, direction: 'b', limit: PAGE });
      await visibleTo(ctx, roomNid, { userId: userOf(0) }, read.events);
    }),
    old_state: await medianCost(opened, async (ctx) => {
      const nid = between(first.nid + 1, last.nid);
      const stored = (await loadNids(ctx, [nid])).get(nid);
      if (stored === undefined) throw new Error(`there is no event ${nid}`);
      const state = await stateAt(ctx, stored, 'before', keys);
      if (state.length !== keys.length) throw new Error('the state lacks something');
    }),
  };
}

async function medianCost(
  opened: OpenRooms,
  work: (ctx: RoomsContext, number: number) => Promise<void>,
): Promise<number> {
  const samples: number[] = [];
  for (let batch = 0; batch < BATCHES; batch++) {
    const ctx = opened.cold();
    const before = process.cpuUsage();
    for (let number = 0; number < BATCH; number++) await work(ctx, number);
    const used = process.cpuUsage(before);
    samples.push((used.user + used.system) / BATCH);
  }
  return median(samples) ?? Number.NaN;
}
