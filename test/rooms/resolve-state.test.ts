/** The resolution of stored states, which reads of them only what it needs, against that of the whole states. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodeCanonical } from '#keys/canonical-json.ts';
import type { EventId } from '#keys/ids.ts';
import type { RoomsContext } from '#rooms/context.ts';
import type { Event } from '#rooms/event.ts';
import { loadEvent } from '#rooms/load.ts';
import { groupOf, newEvent } from '#rooms/persist.ts';
import { groupRef, resolveGroups, resolveStates, type StateRef, stateIds } from '#rooms/resolve-state.ts';
import { getRoom, type Room } from '#rooms/room.ts';
import { createRoomCache } from '#rooms/room-cache.ts';
import { resolve } from '#rooms/state-res/resolve.ts';
import * as events from '#storage/events.ts';
import * as rooms from '#storage/rooms.ts';
import { sql } from '#storage/sql.ts';
import type { StateGroup } from '#storage/state-groups.ts';
import { roomOf, type TestRoom } from '#test/harness/room-builder.ts';
import { importRoom, openRooms, receiveFrom } from '#test/harness/rooms.ts';
import { fc } from '#test/harness/rounds.ts';
import { oursOf, sorted, statesOf } from '#test/oracle/ours.ts';
import { randomRoom } from '#test/oracle/random-room.ts';
import { EventGraph, idOf } from './state-res/event-graph.ts';

type Ids = ReadonlyMap<string, EventId>;

const OUTLIER = {
  position: undefined,
  status: 'outlier',
  reason: undefined,
  stateBefore: undefined,
  stateAfter: undefined,
  redactedBy: undefined,
  txn: undefined,
  receivedTs: 1,
} as const;

/** The room of some events, stored as they are in no place of its graph. */
async function store(ctx: RoomsContext, made: readonly Event[]): Promise<Room> {
  const [create] = made;
  assert.ok(create);
  const known = await getRoom(ctx, create.roomId);
  if (known !== undefined) return known;
  await ctx.db.write('test.room', (tx) => rooms.insert(tx, create.roomId, create.rules.version));
  const room = await getRoom(ctx, create.roomId);
  assert.ok(room);
  const rows = made.map((event) => ({ ...newEvent(room, event, OUTLIER), json: encodeCanonical(event.pdu) }));
  await ctx.db.write('test.events', (tx) => events.insertOutliers(tx, rows));
  return room;
}

function storedState(ctx: RoomsContext, base: StateGroup, state: Ids): Promise<StateGroup> {
  return ctx.db.write('test.state', (tx) => groupOf(tx, { base, changes: state }));
}

/** A state as what differs from another that is stored. */
function stateUpon(base: StateGroup, baseIds: Ids, state: Ids): StateRef {
  const changes = new Map<string, EventId | undefined>();
  for (const [key, eventId] of state) if (baseIds.get(key) !== eventId) changes.set(key, eventId);
  for (const key of baseIds.keys()) if (!state.has(key)) changes.set(key, undefined);
  return { base, changes };
}

for (const version of ['1', '2', '11', '12']) {
  test(`v${version}: stored states resolve to what the whole states resolve to, however they are told`, async () => {
    await using server = await openRooms({ isDamaged: true });
    const { ctx } = server;
    await fc.assert(
      fc.asyncProperty(randomRoom({ versions: [Number(version)] }), fc.nat(3), async (random, told) => {
        const ours = oursOf(random);
        const room = await store(
          ctx,
          [...ours.events.values()].filter(({ roomId }) => roomId === random.roomId),
        );
        const states = statesOf(random);
        const refs: StateRef[] = [];
        let first: { group: StateGroup; ids: Ids } | undefined;
        for (const [index, ids] of states.entries()) {
          if (first !== undefined && index === told) refs.push(stateUpon(first.group, first.ids, ids));
          else {
            const group = await storedState(ctx, 0, ids);
            first ??= { group, ids };
            refs.push(groupRef(group));
          }
        }
        const cold: RoomsContext = { ...ctx, rooms: createRoomCache() };
        const expected = sorted(resolve(ours.rules, states, ours));
        const resolved = await resolveStates(cold, room, refs);
        assert.deepEqual(sorted(await stateIds(cold, resolved)), expected);
        // One that is none of them.
        const upon = await storedState(ctx, 0, new Map(expected.slice(told)));
        const reversed = await resolveStates({ ...ctx, rooms: createRoomCache() }, room, refs.toReversed(), {
          upon,
        });
        assert.deepEqual(sorted(await stateIds(cold, reversed)), expected);
      }),
      { numRuns: 40 },
    );
  });
}

test('a set of stored states is resolved once, and again where an event has changed', async () => {
  await using server = await openRooms({ isDamaged: true });
  const { ctx } = server;
  const { room, groups, topic } = await twoTopics(ctx);
  const resolved = await resolveGroups(ctx, room, groups);
  assert.equal(await resolveGroups(ctx, room, groups.toReversed()), resolved);
  const [nid] = (await events.nidsOf(ctx.db, [topic])).values();
  ctx.rooms.dropEvent(nid ?? 0);
  const again = await resolveGroups(ctx, room, groups);
  assert.notEqual(again, resolved);
  assert.deepEqual(again, resolved);
});

test('a state that several events rest on is stored once', async () => {
  await using server = await openRooms({ isDamaged: true });
  const { ctx } = server;
  const built = roomOf('@eve:elsewhere.test', { members: ['@bob:elsewhere.test'] });
  const room = await importRoom(ctx, built);
  const [left, right] = [built.fork(), built.fork()];
  const sides = [
    left.join('@bob:elsewhere.test', { displayname: 'Bob' }),
    right.ban('@eve:elsewhere.test', '@mallory:evil.test'),
  ];
  for (const event of sides) await receiveFrom(ctx, room, event);
  left.merge([right]);
  const groups: (StateGroup | undefined)[] = [];
  for (const body of ['first', 'second', 'third']) {
    const event = left.fork().message('@eve:elsewhere.test', body);
    assert.equal((await receiveFrom(ctx, room, event)).kind, 'accepted');
    groups.push((await loadEvent(ctx, event.eventId))?.stateBefore);
  }
  // The first stands upon the current state; the others upon what the two before it resolve to.
  assert.equal(groups[1], groups[2]);
});

test('of a room of two lines the current state costs with each event what that changes, however far they are apart', async () => {
  await using server = await openRooms();
  const { ctx } = server;
  const built = roomOf('@eve:elsewhere.test', { version: '11' });
  const room = await importRoom(ctx, built);
  const [left, right] = [built.fork(), built.fork()];
  const note = (line: TestRoom, n: number) =>
    receiveFrom(ctx, room, line.state('@eve:elsewhere.test', 'org.example.note', `${n}`, {}));
  for (let n = 0; n < 160; n++) await note(left, n);
  for (let n = 0; n < 130; n++) await note(right, n);
  const before = await nodeBytes(ctx);
  for (let n = 130; n < 150; n++) await note(right, n);
  const perEvent = ((await nodeBytes(ctx)) - before) / 20;
  // The path to one key in two states: after the event, and of the room.
  assert.ok(perEvent < 400, `${perEvent} bytes`);
});

const NODE_BYTES = sql<[], { bytes: number }>(
  'test.resolveState.bytes',
  'SELECT CAST(sum(length(bytes)) AS INTEGER) AS bytes FROM state_nodes',
);

async function nodeBytes(ctx: RoomsContext): Promise<number> {
  return (await ctx.db.get(NODE_BYTES))?.bytes ?? 0;
}

async function twoTopics(ctx: RoomsContext): Promise<{ room: Room; groups: StateGroup[]; topic: EventId }> {
  const graph = new EventGraph('11');
  const made = [
    { id: 'create', type: 'm.room.create', state_key: '', content: {}, auth: [], ts: 1 },
    {
      id: 'join',
      type: 'm.room.member',
      state_key: '@creator:a.example',
      content: { membership: 'join' },
      auth: ['create'],
      ts: 2,
    },
    ...['a', 'b'].map((id, ts) => ({
      id,
      type: 'm.room.topic',
      state_key: '',
      content: {},
      auth: ['create', 'join'],
      ts,
    })),
  ].map((event) => graph.add({ ...event, sender: '@creator:a.example' }));
  const room = await store(ctx, made);
  const groups = [
    await storedState(ctx, 0, graph.stateOf(['create', 'join', 'a'])),
    await storedState(ctx, 0, graph.stateOf(['create', 'join', 'b'])),
  ];
  return { room, groups, topic: idOf('a') };
}
