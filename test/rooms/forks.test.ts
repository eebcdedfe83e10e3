/** Rooms whose servers have not heard of each other for a while: what both sides did, and how the room becomes one. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { EventId, UserId } from '#keys/ids.ts';
import type { RoomsContext } from '#rooms/context.ts';
import { checkRooms } from '#rooms/db-check.ts';
import type { Event } from '#rooms/event.ts';
import { loadEvent } from '#rooms/load.ts';
import { DUMMY_EVENT } from '#rooms/persist.ts';
import type { Room } from '#rooms/room.ts';
import { headOf } from '#rooms/room-head.ts';
import { currentState, currentStateEvent } from '#rooms/state.ts';
import { eventsBetween } from '#rooms/timeline.ts';
import { roomOf, type TestRoom } from '#test/harness/room-builder.ts';
import { importRoom, openRooms, receiveFrom, sendText } from '#test/harness/rooms.ts';

const eve = '@eve:elsewhere.test';
const mod = '@mod:other.test';
const bob = '@bob:elsewhere.test';
const alice = '@alice:here.test';
const carol = '@carol:there.test';

/** One version of each family of rules that forks depend on. */
const VERSIONS = ['1', '2', '6', '10', '12'];

interface Fork {
  readonly name: string;
  /** What happens on one side, and at the same time on the other. */
  readonly sides: readonly [(line: TestRoom) => void, (line: TestRoom) => void];
  /** What holds once each side has heard of the other; in version 1 it may be otherwise, the same for all. */
  readonly holds: (state: State) => void;
}

interface State {
  membership(userId: UserId): unknown;
  level(userId: UserId): unknown;
  content(type: string): Record<string, unknown>;
}

function powerLevels(line: TestRoom, users: Record<string, number>): Record<string, unknown> {
  const creator = line.rules.privilegedCreators ? {} : { [eve]: 100 };
  return { users: { ...creator, ...users } };
}

const FORKS: readonly Fork[] = [
  {
    name: 'a ban stands against a change of the profile',
    sides: [(line) => line.ban(mod, bob), (line) => line.join(bob, { displayname: 'Robert' })],
    holds: (state) => assert.equal(state.membership(bob), 'ban'),
  },
  {
    name: 'a ban stands against what the banned user does',
    sides: [
      (line) => line.ban(eve, mod),
      (line) => line.state(mod, 'm.room.topic', '', { topic: 'of a banned user' }),
    ],
    holds: (state) => {
      assert.equal(state.membership(mod), 'ban');
      assert.deepEqual(state.content('m.room.topic'), {});
    },
  },
  {
    name: 'a ban stands against a leave and a join again',
    sides: [
      (line) => line.ban(eve, bob),
      (line) => {
        line.leave(bob);
        line.join(bob);
      },
    ],
    holds: (state) => assert.equal(state.membership(bob), 'ban'),
  },
  {
    name: 'a demotion stands against the ban by the demoted user',
    sides: [
      (line) => line.state(eve, 'm.room.power_levels', '', powerLevels(line, { [mod]: 0 }) as never),
      (line) => line.ban(mod, bob),
    ],
    holds: (state) => {
      assert.equal(state.level(mod), 0);
      assert.equal(state.membership(bob), 'join');
    },
  },
  {
    name: 'of two changes of the power levels that of the mightier user counts, and the other upon it',
    sides: [
      (line) =>
        line.state(eve, 'm.room.power_levels', '', powerLevels(line, { [mod]: 50, [alice]: 50 }) as never),
      (line) =>
        line.state(mod, 'm.room.power_levels', '', powerLevels(line, { [mod]: 50, [bob]: 40 }) as never),
    ],
    // The later one takes nothing from who is as mighty as its sender: Alice is.
    holds: (state) => {
      assert.equal(state.level(alice), 50);
      assert.equal(state.level(bob), undefined);
    },
  },
  {
    name: 'joins on both sides stay',
    sides: [
      (line) => line.join('@new:elsewhere.test'),
      (line) => {
        line.join('@newer:other.test');
        line.join('@newest:other.test');
      },
    ],
    holds: (state) => {
      for (const userId of ['@new:elsewhere.test', '@newer:other.test', '@newest:other.test'] as const) {
        assert.equal(state.membership(userId), 'join');
      }
    },
  },
  {
    name: 'a room that is closed on one side lets nobody in on the other',
    sides: [
      (line) => line.state(eve, 'm.room.join_rules', '', { join_rule: 'invite' }),
      (line) => line.join('@new:other.test'),
    ],
    holds: (state) => assert.equal(state.membership('@new:other.test'), undefined),
  },
];

function forkedRoom(version: string): TestRoom {
  const room = roomOf(eve, { version, members: [mod, bob, alice, carol], join_rule: 'public' });
  room.state(eve, 'm.room.power_levels', '', powerLevels(room, { [mod]: 50 }) as never);
  return room;
}

/** What is new on a line. */
function since(line: TestRoom, act: (line: TestRoom) => void): Event[] {
  const before = new Set(line.events.keys());
  act(line);
  return [...line.events.values()].filter(({ eventId }) => !before.has(eventId));
}

async function stateOf(ctx: RoomsContext, room: Room): Promise<State> {
  const events = (await currentState(ctx, room.roomNid)).map(({ event }) => event);
  const content = (type: string, key = ''): Record<string, unknown> =>
    events.find((event) => event.type === type && event.stateKey === key)?.content ?? {};
  return {
    membership: (userId) => content('m.room.member', userId).membership,
    level: (userId) => (content('m.room.power_levels').users as Record<string, unknown>)[userId],
    content,
  };
}

async function stateIdsOf(ctx: RoomsContext, room: Room): Promise<EventId[]> {
  return (await currentState(ctx, room.roomNid)).map(({ event }) => event.eventId);
}

async function extremities(ctx: RoomsContext, room: Room): Promise<EventId[]> {
  return (await headOf(ctx, room.roomNid)).forwardExtremities.map(({ eventId }) => eventId).sort();
}

for (const version of VERSIONS) {
  test(`v${version}: what both sides of a fork did is the same state in either order, and the next events heal it`, async () => {
    for (const { name, sides, holds } of FORKS) {
      await using here = await openRooms();
      await using there = await openRooms({ serverName: 'there.test' });
      const built = forkedRoom(version);
      const room = await importRoom(here.ctx, built);
      const roomThere = await importRoom(there.ctx, built);
      const [one, other] = [built.fork(), built.fork()];
      const made = [since(one, sides[0]), since(other, sides[1])];
      for (const event of made.flat()) await receiveFrom(here.ctx, room, event);
      for (const event of made.toReversed().flat()) await receiveFrom(there.ctx, roomThere, event);
      if (version !== '1') {
        holds(await stateOf(here.ctx, room));
        assert.deepEqual(await stateIdsOf(there.ctx, roomThere), await stateIdsOf(here.ctx, room), name);
      }

      // What one server soft-failed, the other may have accepted before it heard of the other side.
      const spoken = await sendText(here.ctx, room, alice, 'of what is known here');
      await deliverBehind(here.ctx, { ctx: there.ctx, room: roomThere }, spoken.eventId);
      // In version 1 what one side alone has stays, allowed or not: they agree once both have heard of all.
      if (version !== '1')
        assert.deepEqual(await stateIdsOf(there.ctx, roomThere), await stateIdsOf(here.ctx, room), name);
      const answered = await sendText(there.ctx, roomThere, carol, 'of what is known there');
      await deliverBehind(there.ctx, { ctx: here.ctx, room }, answered.eventId);
      assert.deepEqual(await extremities(here.ctx, room), [answered.eventId], name);
      assert.deepEqual(await extremities(there.ctx, roomThere), [answered.eventId], name);
      assert.deepEqual(await stateIdsOf(there.ctx, roomThere), await stateIdsOf(here.ctx, room), name);
      if (version !== '1') holds(await stateOf(here.ctx, room));
      assert.deepEqual(await Array.fromAsync(checkRooms(here.ctx)), []);
    }
  });
}

const HEADS = 500;

/** Events of one user that all follow the same one; every other changes the state. */
function heads(built: TestRoom, sender: UserId): Event[] {
  const follows = built.last;
  return Array.from({ length: HEADS }, (_, index) => {
    const line = built.fork();
    line.heads = [follows];
    const type = `org.example.head${index}`;
    return index % 2 === 0 ? line.message(sender, `${index}`) : line.state(sender, type, '', { index });
  });
}

test('forward extremities: of a peer that sends 500 heads few stay, and all servers agree in the end', async () => {
  await using here = await openRooms();
  await using there = await openRooms({ serverName: 'there.test' });
  const built = forkedRoom('12');
  const room = await importRoom(here.ctx, built);
  const roomThere = await importRoom(there.ctx, built);
  const made = heads(built, eve);
  for (const event of made) {
    assert.equal((await receiveFrom(here.ctx, room, event)).kind, 'accepted');
    assert.ok((await extremities(here.ctx, room)).length <= 10);
  }
  // In another order.
  for (const event of made.toReversed()) await receiveFrom(there.ctx, roomThere, event);

  // Who says nothing is not shown, and not pushed: the others fetch it, as they do here, when something cites it.
  const range = { after: 0, upto: here.ctx.streams.upto(), limit: 1_000 };
  const shown = (await eventsBetween(here.ctx, room.roomNid, range)).events;
  assert.equal(shown.filter(({ event }) => event.type === DUMMY_EVENT).length, 0);
  assert.equal(shown.length, built.events.size);
  const spoken = await sendText(here.ctx, room, alice, 'one again');
  await deliverBehind(here.ctx, { ctx: there.ctx, room: roomThere }, spoken.eventId);
  const answered = await sendText(there.ctx, roomThere, carol, 'one here too');
  await deliverBehind(there.ctx, { ctx: here.ctx, room }, answered.eventId);
  assert.deepEqual(await extremities(here.ctx, room), [answered.eventId]);
  assert.deepEqual(await extremities(there.ctx, roomThere), [answered.eventId]);
  assert.deepEqual(await stateIdsOf(here.ctx, room), await stateIdsOf(there.ctx, roomThere));
  for (const [index, event] of made.entries()) {
    if (index % 2 === 0) continue;
    const stored = await currentStateEvent(here.ctx, room.roomNid, event.type, '');
    assert.equal(stored?.event.eventId, event.eventId);
  }
  assert.deepEqual(await Array.fromAsync(checkRooms(here.ctx)), []);
});

test('forward extremities: where nobody of ours may speak they are 40 at most, and nothing is lost', async () => {
  await using server = await openRooms();
  const { ctx } = server;
  const built = forkedRoom('12');
  built.state(eve, 'm.room.power_levels', '', { users: { [mod]: 50 }, events_default: 50 });
  const room = await importRoom(ctx, built);
  const made = heads(built, eve).slice(0, 60);
  for (const event of made) await receiveFrom(ctx, room, event);
  assert.equal((await extremities(ctx, room)).length, 40);
  const last = made.at(-1);
  assert.ok(last);
  assert.equal((await loadEvent(ctx, last.eventId))?.status, 'soft_failed');
  assert.equal(await currentStateEvent(ctx, room.roomNid, last.type, ''), undefined);

  // Whoever may speak makes it one line again.
  for (let from = 0; from < made.length; from += 19) {
    const merged = made.slice(from, from + 19).map(({ eventId }) => eventId);
    const line = built.fork();
    const prev_events = from === 0 ? merged : [built.last.eventId, ...merged];
    const event = line.draft(mod, { type: 'm.room.message', prev_events, depth: 100 + from });
    assert.equal((await receiveFrom(ctx, room, event)).kind, 'accepted');
    built.add(event);
  }
  assert.deepEqual(await extremities(ctx, room), [built.last.eventId]);
  const brought = await currentStateEvent(ctx, room.roomNid, last.type, '');
  assert.equal(brought?.event.eventId, last.eventId);
  assert.deepEqual(await Array.fromAsync(checkRooms(ctx)), []);
});

/** Delivers an event with all that it rests on and the other server lacks, oldest first. */
async function deliverBehind(
  from: RoomsContext,
  to: { readonly ctx: RoomsContext; readonly room: Room },
  eventId: EventId,
): Promise<void> {
  const needed = new Set([eventId]);
  const lacking: Event[] = [];
  for (const id of needed) {
    if ((await loadEvent(to.ctx, id)) !== undefined) continue;
    const event = (await loadEvent(from, id))?.event;
    assert.ok(event);
    lacking.unshift(event);
    for (const prevEventId of event.prevEvents) needed.add(prevEventId);
  }
  for (const event of lacking.sort((a, b) => a.depth - b.depth)) {
    assert.equal((await receiveFrom(to.ctx, to.room, event)).kind, 'accepted');
  }
}
