/** Events that cite what they should not: other rooms, the newest events as if they were old, no events at all. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RoomsContext } from '#rooms/context.ts';
import { loadEvent } from '#rooms/load.ts';
import { receive } from '#rooms/receive.ts';
import type { Room } from '#rooms/room.ts';
import { headOf, headState } from '#rooms/room-head.ts';
import { currentState, currentStateEvent } from '#rooms/state.ts';
import { roomOf } from '#test/harness/room-builder.ts';
import { importRoom, openRooms, receiveFrom, sendText, verified } from '#test/harness/rooms.ts';

const eve = '@eve:elsewhere.test';
const mallory = '@mallory:evil.test';
const alice = '@alice:here.test';

async function stateOf(ctx: RoomsContext, room: Room): Promise<string[]> {
  return (await currentState(ctx, room.roomNid)).map(({ event }) => event.eventId).sort();
}

async function extremities(ctx: RoomsContext, room: Room): Promise<string[]> {
  return (await headOf(ctx, room.roomNid)).forwardExtremities.map(({ eventId }) => eventId).sort();
}

for (const version of ['10', '12']) {
  test(`v${version}: an event whose prev_events are of another room is rejected, and brings nothing of its state`, async () => {
    await using server = await openRooms();
    const { ctx } = server;
    const built = roomOf(eve, { version, members: [alice, mallory] });
    const room = await importRoom(ctx, built);
    const other = roomOf(mallory, { version, members: [alice] });
    other.state(mallory, 'm.room.topic', '', { topic: 'mine' });
    await importRoom(ctx, other);
    const before = await stateOf(ctx, room);

    const event = built.fork().send(mallory, {
      type: 'm.room.message',
      content: { body: 'hello' },
      prev_events: [other.last.eventId],
    });
    const mixed = built.fork().send(mallory, {
      type: 'm.room.message',
      content: { body: 'hello again' },
      prev_events: [built.last.eventId, other.last.eventId],
    });
    assert.equal((await receiveFrom(ctx, room, event)).kind, 'rejected');
    assert.equal((await receiveFrom(ctx, room, mixed)).kind, 'rejected');
    assert.deepEqual(await stateOf(ctx, room), before);
    assert.deepEqual(await extremities(ctx, room), [built.last.eventId]);
    const stateBefore = [...built.stateMap.values()].map(({ eventId }) => eventId);
    const told = built.fork().send(mallory, {
      type: 'm.room.message',
      content: { body: 'and again' },
      prev_events: [other.last.eventId, '$unknown'],
    });
    assert.equal((await receiveFrom(ctx, room, told, { as: 'live', stateBefore })).kind, 'rejected');
    assert.deepEqual(await stateOf(ctx, room), before);
  });
}

test('forward extremities: what is told as history and follows the newest events does not take their place', async () => {
  await using server = await openRooms();
  const { ctx } = server;
  const built = roomOf(eve, { members: [alice, mallory] });
  const room = await importRoom(ctx, built);
  const newest = built.last;
  const asHistory = built.fork().message(mallory, 'told as old, and cites the newest');
  await receiveFrom(ctx, room, asHistory, { as: 'history' });
  assert.deepEqual(await extremities(ctx, room), [newest.eventId]);
  await sendText(ctx, room, alice, 'the room goes on');
});

test('forward extremities: an event that only history cites takes the place of those that it follows', async () => {
  await using server = await openRooms();
  const { ctx } = server;
  const built = roomOf(eve, { members: [alice, mallory] });
  const room = await importRoom(ctx, built);
  const stateBefore = [...built.stateMap.values()].map(({ eventId }) => eventId);
  const line = built.fork();
  const between = line.message(mallory, 'cites the newest');
  const asHistory = line.message(mallory, 'told as old, and cites what is missing');
  await receiveFrom(ctx, room, asHistory, { as: 'history', stateBefore });
  await receiveFrom(ctx, room, between);
  assert.notDeepEqual(await extremities(ctx, room), []);
  await sendText(ctx, room, alice, 'the room goes on');
});

test('a redaction of what is no event id redacts nothing', async () => {
  await using server = await openRooms();
  const { ctx } = server;
  for (const version of ['10', '12']) {
    const built = roomOf(eve, { version, members: [mallory] });
    const room = await importRoom(ctx, built);
    for (const redacts of ['\0', '$a\0b', 'x'.repeat(30_000)]) {
      const event = built.send(mallory, {
        type: 'm.room.redaction',
        content: version === '12' ? { redacts } : {},
        ...(version === '10' && { pdu: { redacts } }),
      });
      assert.equal((await receiveFrom(ctx, room, event)).kind, 'accepted');
      assert.equal((await loadEvent(ctx, event.eventId))?.event.redacts, undefined);
    }
  }
});

test('the current state in memory is whole for who reads it while others read more than memory keeps', async () => {
  await using server = await openRooms();
  const { ctx } = server;
  const built = roomOf(eve, { members: [alice] });
  const room = await importRoom(ctx, built);
  const key = { type: 'm.room.power_levels', stateKey: '' };
  for (let round = 0; round < 20; round++) {
    assert.ok(await currentStateEvent(ctx, room.roomNid, key.type, key.stateKey));
    const names = Array.from({ length: 250 }, (_, index) => `@user${round}-${index}:elsewhere.test`);
    const reads = names.map(async (stateKey) => {
      const head = await headOf(ctx, room.roomNid);
      return headState(ctx, head, [key, { type: 'm.room.member', stateKey }]);
    });
    for (const state of await Promise.all(reads)) assert.equal(state.size, 1);
  }
});

test('the same event received by two at once has one place', async () => {
  await using server = await openRooms();
  const { ctx } = server;
  const built = roomOf(eve, { members: [alice] });
  const room = await importRoom(ctx, built);
  const event = await verified(ctx, built.message(eve, 'once'));
  const received = await Promise.all([1, 2, 3].map(() => receive(ctx, room, event, { as: 'live' })));
  assert.deepEqual(received.map(({ kind }) => kind).sort(), ['accepted', 'known', 'known']);
});

test('an event that a state is built upon is not rejected because a server tells another state before it', async () => {
  await using server = await openRooms();
  const { ctx } = server;
  const built = roomOf(eve, { members: [alice] });
  const room = await importRoom(ctx, built);
  built.message(eve, 'not here');
  const powerLevels = built.state(eve, 'm.room.power_levels', '', { state_default: 60 });
  const stateBefore = [...built.stateMap.values()].map(({ eventId }) => eventId);
  assert.equal((await receiveFrom(ctx, room, powerLevels, { as: 'outlier' })).kind, 'accepted');
  const next = built.message(eve, 'next');
  assert.equal((await receiveFrom(ctx, room, next, { as: 'live', stateBefore })).kind, 'accepted');
  const lie = { as: 'history', stateBefore: [built.create.eventId] } as const;
  assert.equal((await receiveFrom(ctx, room, powerLevels, lie)).kind, 'rejected');
  assert.equal((await loadEvent(ctx, powerLevels.eventId))?.status, 'outlier');
  const later = built.message(eve, 'authorised by it');
  assert.equal((await receiveFrom(ctx, room, later)).kind, 'accepted');
});
