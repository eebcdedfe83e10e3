/** What must hold of a room, whatever its servers do and in whatever order their events arrive. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { EventId, UserId } from '#keys/ids.ts';
import type { RoomsContext } from '#rooms/context.ts';
import { checkRooms } from '#rooms/db-check.ts';
import type { Event } from '#rooms/event.ts';
import { loadEvents } from '#rooms/load.ts';
import { groupRef, resolveStates, stateIds } from '#rooms/resolve-state.ts';
import { getRoom, type Room } from '#rooms/room.ts';
import { headOf } from '#rooms/room-head.ts';
import { sendEvent } from '#rooms/send.ts';
import { currentState } from '#rooms/state.ts';
import * as rooms from '#storage/rooms.ts';
import { roomOf, type TestRoom } from '#test/harness/room-builder.ts';
import { openRooms, receiveFrom } from '#test/harness/rooms.ts';

const eve = '@eve:elsewhere.test';
const users: readonly UserId[] = [eve, '@mod:elsewhere.test', '@bob:evil.test', '@alice:here.test'];

const step = fc.record({
  /** Which line goes on, and whether it forks before, or takes another line in. */
  line: fc.nat(3),
  fork: fc.boolean(),
  merge: fc.option(fc.nat(3), { nil: undefined }),
  sender: fc.nat(3),
  target: fc.nat(3),
  action: fc.constantFrom('message', 'topic', 'ban', 'kick', 'join', 'leave', 'power', 'rules'),
  value: fc.nat(100),
});
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

/** A room whose lines go apart and together, with events that the rules allow and that they do not. */
function grow(version: string, steps: readonly Step[]): { room: TestRoom; base: Event[]; grown: Event[] } {
  const levels = { '@mod:elsewhere.test': 50, ...(version === '11' && { [eve]: 100 }) };
  const room = roomOf(eve, { version, members: users.slice(1), power_levels: { users: levels } });
  const base = [...room.events.values()];
  const lines = [room];
  for (const { line: at, fork, merge, ...rest } of steps) {
    let line = lines[at % lines.length] ?? room;
    if (fork && lines.length < 4) {
      line = line.fork();
      lines.push(line);
    }
    const other = merge === undefined ? undefined : lines[merge % lines.length];
    if (other !== undefined && other !== line) line.merge([other]);
    act(line, rest);
  }
  return { room, base, grown: [...room.events.values()].slice(base.length) };
}

function act(
  line: TestRoom,
  { sender: s, target: t, action, value }: Omit<Step, 'line' | 'fork' | 'merge'>,
): void {
  const [sender = eve, target = eve] = [users[s], users[t]];
  switch (action) {
    case 'message':
      return void line.message(sender, `${value}`);
    case 'topic':
      return void line.state(sender, 'm.room.topic', '', { topic: `${value}` });
    case 'ban':
      return void line.ban(sender, target);
    case 'kick':
      return void line.kick(sender, target);
    case 'join':
      return void line.join(sender);
    case 'leave':
      return void line.leave(sender);
    case 'power':
      return void line.state(sender, 'm.room.power_levels', '', { users: { [target]: value } });
    case 'rules':
      return void line.state(sender, 'm.room.join_rules', '', {
        join_rule: value % 2 === 0 ? 'public' : 'invite',
      });
  }
}

/** Has the events received in an order in which each comes after those it cites; `choices` decides between them. */
async function deliver(ctx: RoomsContext, room: Room, events: readonly Event[], choices: readonly number[]) {
  const waiting = [...events];
  for (let turn = 0; waiting.length > 0; turn++) {
    const ready: number[] = [];
    const stillWaiting = new Set(waiting.map(({ eventId }) => eventId));
    for (const [index, event] of waiting.entries()) {
      if (!event.prevEvents.some((id) => stillWaiting.has(id))) ready.push(index);
    }
    const index = ready[(choices[turn % choices.length] ?? 0) % ready.length] ?? 0;
    const [event] = waiting.splice(index, 1);
    if (event === undefined) return;
    const { kind } = await receiveFrom(ctx, room, event);
    assert.notEqual(kind, 'missing');
    assert.notEqual(kind, 'known');
  }
}

async function opened(ctx: RoomsContext, built: TestRoom, base: readonly Event[]): Promise<Room> {
  await ctx.db.write('test.room', (tx) => rooms.insert(tx, built.roomId, built.rules.version));
  const room = await getRoom(ctx, built.roomId);
  assert.ok(room);
  for (const event of base) assert.equal((await receiveFrom(ctx, room, event)).kind, 'accepted');
  return room;
}

/** The extremities by their definition: accepted events that no accepted event reaches. */
async function extremitiesOf(ctx: RoomsContext, events: readonly Event[]): Promise<EventId[]> {
  const stored = await loadEvents(
    ctx,
    events.map(({ eventId }) => eventId),
  );
  const cited = new Set<EventId>();
  const accepted = [...stored.values()].filter(({ status }) => status === 'accepted');
  for (const { event } of accepted) {
    const behind = new Set(event.prevEvents);
    // An unaccepted event passes on what it cites.
    for (const id of behind) {
      cited.add(id);
      const prev = stored.get(id);
      if (prev !== undefined && prev.status !== 'accepted')
        for (const further of prev.event.prevEvents) behind.add(further);
    }
  }
  return accepted.map(({ event }) => event.eventId).filter((id) => !cited.has(id));
}

for (const version of ['11', '12']) {
  test(`v${version}: extremities, current state, memberships and memory agree, in any order of arrival`, async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { minLength: 1, maxLength: 14 }),
        fc.array(fc.nat(20), { minLength: 1, maxLength: 20 }),
        async (steps, choices) => {
          await using server = await openRooms();
          const { room: built, base, grown } = grow(version, steps);
          const room = await opened(server.ctx, built, base);
          await deliver(server.ctx, room, grown, choices);

          const head = await headOf(server.ctx, room.roomNid);
          const heads = head.forwardExtremities.map(({ eventId }) => eventId);
          assert.deepEqual([...heads].sort(), (await extremitiesOf(server.ctx, [...base, ...grown])).sort());
          const states = head.forwardExtremities.map(({ stateAfter }) => groupRef(stateAfter));
          const resolved = await stateIds(server.ctx, await resolveStates(server.ctx, room, states));
          const current = (await currentState(server.ctx, room.roomNid)).map(({ event }) => event.eventId);
          assert.deepEqual([...current].sort(), [...resolved.values()].sort());

          await server.restart();
          assert.deepEqual(await Array.fromAsync(checkRooms(server.ctx)), []);
          const read = await headOf(server.ctx, room.roomNid);
          assert.deepEqual(read.forwardExtremities.map(({ eventId }) => eventId).sort(), [...heads].sort());
          assert.equal(read.rowVersion, head.rowVersion);
          // Whether our user may still speak or not, nothing is out of order afterwards.
          await sendEvent(server.ctx, {
            roomId: room.roomId,
            sender: '@alice:here.test',
            type: 'm.room.message',
            content: {},
          });
          assert.deepEqual(await Array.fromAsync(checkRooms(server.ctx)), []);
        },
      ),
      { numRuns: 15 },
    );
  });
}
