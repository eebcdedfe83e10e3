import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { EventId, RoomId, UserId } from '#keys/ids.ts';
import { Alarms } from '#rooms/alarms.ts';
import type { Log, RoomsContext } from '#rooms/context.ts';
import { currentStateEvent } from '#rooms/state.ts';
import { roomOf, type TestRoom } from '#test/harness/room-builder.ts';
import { importRoom, openRooms, receiveFrom } from '#test/harness/rooms.ts';

const eve = '@eve:elsewhere.test';
const bob = '@bob:elsewhere.test';
const alice = '@alice:here.test';
const dave = '@dave:elsewhere.test';

interface Line {
  readonly fields: object;
  readonly message: string;
}

function listening<T extends RoomsContext>(ctx: T, lines: Line[]): T {
  const warn: Log['warn'] = (fields, message) => lines.push({ fields, message });
  return { ...ctx, log: { ...ctx.log, warn } };
}

function levels(room: TestRoom, users: Record<UserId, number>) {
  return { users: { ...(!room.rules.privilegedCreators && { [eve]: 100 }), ...users } };
}

/**
 * MSC4297, problem B: Bob is promoted, and promotes another; then somebody tells, for the state before an event, the
 * power levels from before all that. Both states lead to Bob's promotion, which therefore is not applied again; and by
 * the oldest levels Bob may promote nobody.
 */
async function withOutdatedPowerLevels(version: string, lines: Line[]) {
  await using server = await openRooms();
  const ctx = listening(server.ctx, lines);
  const built = roomOf(eve, { version, members: [bob, alice], join_rule: 'public' });
  const oldest = built.get('m.room.power_levels');
  built.state(eve, 'm.room.power_levels', '', levels(built, { [bob]: 100 }));
  const newest = built.state(bob, 'm.room.power_levels', '', levels(built, { [bob]: 100, [alice]: 50 }));
  built.join(dave);
  const room = await importRoom(ctx, built);
  built.message(eve, 'not here');
  const event = built.message(eve, 'next');
  const stateBefore = [...built.stateMap.values()].map(({ eventId }): EventId => {
    return eventId === newest.eventId ? (oldest?.eventId ?? eventId) : eventId;
  });
  assert.equal((await receiveFrom(ctx, room, event, { as: 'live', stateBefore })).kind, 'accepted');
  const current = await currentStateEvent(ctx, room.roomNid, 'm.room.power_levels', '');
  return { alarms: ctx.rooms.alarms, room, oldest, newest, current: current?.event.eventId };
}

test('a state reset raises an alarm: the room, what moved, from which event to which, and by which algorithm', async () => {
  const lines: Line[] = [];
  const { alarms, room, oldest, newest, current } = await withOutdatedPowerLevels('11', lines);
  assert.equal(current, oldest?.eventId);
  assert.equal(alarms.stateMovedBack, 1);
  assert.deepEqual(lines, [
    {
      message: 'the state of a room has moved backwards',
      fields: {
        roomId: room.roomId,
        type: 'm.room.power_levels',
        stateKey: '',
        from: newest.eventId,
        to: oldest?.eventId,
        algorithm: 'v2',
        unlogged: 0,
      },
    },
  ]);
});

test('v12: the same does not reset the state, and raises no alarm', async () => {
  const lines: Line[] = [];
  const { alarms, newest, current } = await withOutdatedPowerLevels('12', lines);
  assert.equal(current, newest.eventId);
  assert.equal(alarms.stateMovedBack, 0);
  assert.deepEqual(lines, []);
});

test('ordinary forks raise no alarm, not even where one side takes back what the other did', async () => {
  for (const version of ['11', '12']) {
    for (const order of ['one', 'other'] as const) {
      await using server = await openRooms();
      const lines: Line[] = [];
      const ctx = listening(server.ctx, lines);
      const built = roomOf(eve, { version, members: [bob, alice, dave], join_rule: 'public' });
      built.state(eve, 'm.room.power_levels', '', levels(built, { [bob]: 50 }));
      const room = await importRoom(ctx, built);
      const [one, other] = [built.fork(), built.fork()];
      const sides = {
        one: [one.state(eve, 'm.room.power_levels', '', levels(built, { [bob]: 0 })), one.leave(alice)],
        other: [
          other.ban(bob, dave),
          other.state(bob, 'm.room.power_levels', '', levels(built, { [bob]: 40 })),
          other.join(alice, { displayname: 'Alice' }),
        ],
      };
      const events = order === 'one' ? [...sides.one, ...sides.other] : [...sides.other, ...sides.one];
      for (const event of events) await receiveFrom(ctx, room, event);
      const daves = await currentStateEvent(ctx, room.roomNid, 'm.room.member', dave);
      assert.equal(daves?.event.content.membership, 'join');
      assert.equal(ctx.rooms.alarms.stateMovedBack, 0, `${version} ${order}`);
      assert.deepEqual(lines, []);
    }
  }
});

test('alarms: one line for a room in an hour, twenty for all, and a count of all', () => {
  const lines: { fields: { unlogged: number } }[] = [];
  let now = 0;
  const ctx = {
    log: { debug() {}, info() {}, error() {}, warn: (fields: object) => lines.push({ fields } as never) },
    clock: { now: () => now },
  };
  const alarms = new Alarms();
  const raise = (roomId: RoomId) =>
    alarms.raiseStateMovedBack(ctx, {
      roomId,
      type: 'm.room.member',
      stateKey: bob,
      from: '$new',
      to: '$old',
      algorithm: 'v2',
    });
  for (let times = 0; times < 5; times++) raise('!a:elsewhere.test');
  assert.equal(lines.length, 1);
  for (let room = 0; room < 100; room++) raise(`!room${room}:elsewhere.test`);
  assert.equal(lines.length, 20);
  assert.equal(alarms.stateMovedBack, 105);
  now += 60 * 60_000;
  raise('!a:elsewhere.test');
  assert.equal(lines.length, 21);
  // Four of the first room, before the second came, were told with that.
  assert.equal(lines[1]?.fields.unlogged, 4);
  assert.equal(lines[20]?.fields.unlogged, 81);
});
