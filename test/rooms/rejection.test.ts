/** What becomes of rejected and soft-failed events: https://spec.matrix.org/v1.19/server-server-api/#rejection */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RoomsContext } from '#rooms/context.ts';
import type { Event } from '#rooms/event.ts';
import { backfillEvents, missingEvents } from '#rooms/graph.ts';
import { loadEvent } from '#rooms/load.ts';
import type { Room } from '#rooms/room.ts';
import { headOf } from '#rooms/room-head.ts';
import { currentStateEvent } from '#rooms/state.ts';
import { isPlaced } from '#rooms/stored-event.ts';
import { roomOf, type TestRoom } from '#test/harness/room-builder.ts';
import { importRoom, openRooms, receiveFrom } from '#test/harness/rooms.ts';

const eve = '@eve:elsewhere.test';
const mallory = '@mallory:evil.test';
const alice = '@alice:here.test';

async function statusOf(ctx: RoomsContext, event: Event): Promise<string | undefined> {
  return (await loadEvent(ctx, event.eventId))?.status;
}

async function nameOf(ctx: RoomsContext, room: Room): Promise<unknown> {
  return (await currentStateEvent(ctx, room.roomNid, 'm.room.name', ''))?.event.content.name;
}

const stateOf = (line: TestRoom) => [...line.stateMap.values()].map(({ eventId }) => eventId);

/**
 * A room where mallory is given power in an event that we miss, and uses it in another. A server tells us the state
 * before that as if there had been no such power.
 */
async function wronglyTold(ctx: RoomsContext) {
  const built = roomOf(eve, { version: '11', members: [alice, mallory] });
  const room = await importRoom(ctx, built);
  const wrong = stateOf(built);
  const power = built.state(eve, 'm.room.power_levels', '', { users: { [eve]: 100, [mallory]: 50 } });
  const missed = built.message(eve, 'missed');
  const name = built.state(mallory, 'm.room.name', '', { name: 'rightly so' });
  await receiveFrom(ctx, room, power, { as: 'outlier' });
  const received = await receiveFrom(ctx, room, name, { as: 'live', stateBefore: wrong });
  assert.deepEqual(received, {
    kind: 'rejected',
    reason: 'The power level of the sender is 0, and 50 is needed',
    provisional: true,
  });
  return { built, room, power, missed, name };
}

test('what is rejected for a state that was told has no place, so that nothing is built upon the verdict', async () => {
  await using server = await openRooms();
  const { ctx } = server;
  const { built, room, name } = await wronglyTold(ctx);
  assert.equal(await statusOf(ctx, name), 'rejected');
  assert.equal(isPlaced(await loadEvent(ctx, name.eventId)), false);
  const next = built.message(eve, 'next');
  assert.deepEqual(await receiveFrom(ctx, room, next), { kind: 'missing', auth: [], prev: [name.eventId] });
});

test('it is judged anew when it arrives again with a better state', async () => {
  await using server = await openRooms();
  const { ctx } = server;
  const { built, room, name, power } = await wronglyTold(ctx);
  await server.restart();
  assert.deepEqual(await receiveFrom(server.ctx, room, name), {
    kind: 'missing',
    auth: [],
    prev: name.prevEvents,
  });
  const stateBefore = [...stateOf(built), power.eventId].filter((eventId) => eventId !== name.eventId);
  assert.deepEqual(await receiveFrom(server.ctx, room, name, { as: 'live', stateBefore }), {
    kind: 'accepted',
  });
  assert.equal(await nameOf(server.ctx, room), 'rightly so');
});

test('it is judged anew when what was missing arrives, and so is what was rejected for its sake', async () => {
  await using server = await openRooms();
  const { ctx } = server;
  const { built, room, name, power, missed } = await wronglyTold(ctx);
  const topic = built.draft(mallory, {
    type: 'm.room.topic',
    state_key: '',
    content: { topic: 'x' },
    // No server would cite it so; what counts is that it stands and falls with the name.
    auth_events: [...name.authEvents, name.eventId],
  });
  assert.equal((await receiveFrom(ctx, room, topic)).kind, 'rejected');
  assert.equal(await statusOf(ctx, topic), 'rejected');
  const upto = ctx.streams.upto();
  assert.equal((await receiveFrom(ctx, room, power)).kind, 'accepted');
  assert.equal(await statusOf(ctx, name), 'rejected');
  assert.equal((await receiveFrom(ctx, room, missed)).kind, 'accepted');
  const stored = await loadEvent(ctx, name.eventId);
  assert.equal(stored?.status, 'accepted');
  assert.ok((stored?.position ?? 0) > upto + 2, 'clients see it after what it waited for');
  assert.equal(await nameOf(ctx, room), 'rightly so');
  // The topic names an event that cannot authorise it: for good, with all data at hand.
  assert.equal(await statusOf(ctx, topic), 'rejected');
  assert.equal(isPlaced(await loadEvent(ctx, topic.eventId)), true);
});

test('an event whose auth event was rejected for a told state is accepted once that one is', async () => {
  await using server = await openRooms();
  const { ctx } = server;
  const built = roomOf(eve, { version: '11', members: [alice, mallory] });
  const room = await importRoom(ctx, built);
  const wrong = stateOf(built);
  const power = built.state(eve, 'm.room.power_levels', '', { users: { [eve]: 100, [mallory]: 50 } });
  const missed = built.message(eve, 'missed');
  const more = built.state(mallory, 'm.room.power_levels', '', {
    users: { [eve]: 100, [mallory]: 50, [alice]: 50 },
  });
  const name = built.state(alice, 'm.room.name', '', { name: 'by alice' });
  await receiveFrom(ctx, room, power, { as: 'outlier' });
  assert.equal((await receiveFrom(ctx, room, more, { as: 'live', stateBefore: wrong })).kind, 'rejected');
  const held = await receiveFrom(ctx, room, name);
  assert.deepEqual(held, {
    kind: 'rejected',
    reason: `The auth event ${more.eventId} was rejected`,
    provisional: true,
  });
  await server.restart();
  await receiveFrom(server.ctx, room, power);
  await receiveFrom(server.ctx, room, missed);
  assert.equal(await statusOf(server.ctx, more), 'accepted');
  assert.equal(await statusOf(server.ctx, name), 'accepted');
  assert.equal(await nameOf(server.ctx, room), 'by alice');
  assert.deepEqual(
    (await headOf(server.ctx, room.roomNid)).forwardExtremities.map(({ eventId }) => eventId),
    [name.eventId],
  );
});

test('an event that is rejected with all data at hand stays so when it comes again, and is walked past', async () => {
  await using server = await openRooms();
  const { ctx } = server;
  const built = roomOf(eve, { members: [alice, mallory] });
  const room = await importRoom(ctx, built);
  const line = built.fork();
  const bad = line.state(mallory, 'm.room.name', '', { name: 'mine' });
  assert.equal((await receiveFrom(ctx, room, bad)).kind, 'rejected');
  assert.equal((await receiveFrom(ctx, room, bad)).kind, 'known');
  assert.equal((await receiveFrom(ctx, room, bad, { as: 'outlier' })).kind, 'known');
  line.stateMap.delete('m.room.name\0');
  const next = line.message(eve, 'past it');
  assert.deepEqual(await receiveFrom(ctx, room, next), { kind: 'accepted' });
  assert.equal(await nameOf(ctx, room), undefined);
  assert.equal(await statusOf(ctx, bad), 'rejected');
});

test('outliers with a rejected auth event are rejected, and so is what cites them in turn', async () => {
  await using server = await openRooms();
  const { ctx } = server;
  const built = roomOf(eve, { version: '11', members: [alice, mallory] });
  const room = await importRoom(ctx, built);
  const line = built.fork();
  const rejected = line.state(mallory, 'm.room.power_levels', '', { users: {} });
  assert.equal((await receiveFrom(ctx, room, rejected)).kind, 'rejected');
  const outlier = line.join(mallory, { test: 1 });
  assert.ok(outlier.authEvents.includes(rejected.eventId));
  assert.deepEqual(await receiveFrom(ctx, room, outlier, { as: 'outlier' }), {
    kind: 'rejected',
    reason: `The auth event ${rejected.eventId} was rejected`,
  });
  const authEvents = [...built.draft(mallory, { type: 'm.room.message' }).authEvents, outlier.eventId];
  const sent = built.draft(mallory, { type: 'm.room.message', auth_events: authEvents });
  assert.equal((await receiveFrom(ctx, room, sent)).kind, 'rejected');
  const sentinel = built.message(mallory, 'a normal one');
  assert.deepEqual(await receiveFrom(ctx, room, sentinel), { kind: 'accepted' });
});

test('rejected events are not served; soft-failed ones only to who asks from an event that cites them', async () => {
  await using server = await openRooms();
  const { ctx } = server;
  const built = roomOf(eve, { members: [alice, mallory] });
  const room = await importRoom(ctx, built);
  const old = built.fork();
  const ban = built.ban(eve, mallory);
  await receiveFrom(ctx, room, ban);
  const late = old.message(mallory, 'from before the ban');
  assert.equal((await receiveFrom(ctx, room, late)).kind, 'soft_failed');
  const bad = old.state(mallory, 'm.room.name', '', { name: 'mine' });
  old.stateMap.delete('m.room.name\0');
  assert.equal((await receiveFrom(ctx, room, bad)).kind, 'rejected');
  const citing = old.message(eve, 'from a server that did not know of the ban');
  assert.equal((await receiveFrom(ctx, room, citing)).kind, 'accepted');
  const served = async (from: Event) => {
    const pages = await Promise.all([
      backfillEvents(ctx, room, [from.eventId], 100),
      missingEvents(ctx, room, { latest: [from.eventId], earliest: [], limit: 20, minDepth: 0 }),
    ]);
    return pages.map((page) => page.map(({ event }) => event.eventId));
  };
  for (const page of await served(citing)) {
    assert.ok(page.includes(late.eventId));
    assert.ok(!page.includes(bad.eventId));
  }
  for (const page of await served(ban)) assert.ok(!page.includes(late.eventId));
});
