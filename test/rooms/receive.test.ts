import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RoomsContext } from '#rooms/context.ts';
import type { Event } from '#rooms/event.ts';
import { stateMapKey } from '#rooms/event.ts';
import { loadEvent } from '#rooms/load.ts';
import { DUMMY_EVENT } from '#rooms/persist.ts';
import { receive, reserveHistory } from '#rooms/receive.ts';
import { getRoom, type Room } from '#rooms/room.ts';
import { headOf } from '#rooms/room-head.ts';
import { sendEvent } from '#rooms/send.ts';
import { currentState, currentStateEvent, stateIdsAt } from '#rooms/state.ts';
import type { StoredEvent } from '#rooms/stored-event.ts';
import { SUPPORTED_VERSIONS } from '#rooms/versions.ts';
import * as arrivals from '#storage/arrivals.ts';
import * as eventEdges from '#storage/event-edges.ts';
import * as events from '#storage/events.ts';
import * as memberships from '#storage/memberships.ts';
import * as rooms from '#storage/rooms.ts';
import { roomOf, type TestRoom } from '#test/harness/room-builder.ts';
import { importRoom, openRooms, receiveFrom, sendText, sentOrThrow, verified } from '#test/harness/rooms.ts';

const eve = '@eve:elsewhere.test';
const mallory = '@mallory:evil.test';
const alice = '@alice:here.test';

async function storedAs(ctx: RoomsContext, event: Event): Promise<StoredEvent> {
  const stored = await loadEvent(ctx, event.eventId);
  assert.ok(stored, `${event.type} is not stored`);
  return stored;
}

async function extremities(ctx: RoomsContext, room: Room): Promise<string[]> {
  return (await headOf(ctx, room.roomNid)).forwardExtremities.map(({ eventId }) => eventId).sort();
}

/** The room's state as the built line has it. */
async function assertStateIs(ctx: RoomsContext, room: Room, line: TestRoom): Promise<void> {
  const state = new Map(
    (await currentState(ctx, room.roomNid)).map(({ event }) => [
      stateMapKey(event.type, event.stateKey ?? ''),
      event.eventId,
    ]),
  );
  const expected = new Map([...line.stateMap].map(([key, event]) => [key, event.eventId]));
  assert.deepEqual(sorted(state), sorted(expected));
}

function sorted(map: ReadonlyMap<string, string>): [string, string][] {
  return [...map].sort(([a], [b]) => (a < b ? -1 : 1));
}

for (const version of SUPPORTED_VERSIONS) {
  test(`v${version}: events in order are accepted, and the current state follows them`, async () => {
    await using server = await openRooms();
    const { ctx } = server;
    const built = roomOf(eve, { version, members: [alice] });
    built.state(eve, 'm.room.name', '', { name: 'the room' });
    built.message(alice, 'hello');
    const room = await importRoom(ctx, built);
    await assertStateIs(ctx, room, built);
    assert.deepEqual(await extremities(ctx, room), [built.last.eventId]);
    assert.deepEqual(await memberships.joinedServers(ctx.db, room.roomNid), ['elsewhere.test', 'here.test']);
    await server.restart();
    await assertStateIs(server.ctx, room, built);
  });
}

test('an event that is here already is known', async () => {
  await using server = await openRooms();
  const built = roomOf(eve);
  const room = await importRoom(server.ctx, built);
  const upto = server.ctx.streams.upto();
  assert.deepEqual(await receiveFrom(server.ctx, room, built.last), { kind: 'known' });
  assert.equal(server.ctx.streams.upto(), upto);
});

test('unknown prev events are reported, and the event is not stored', async () => {
  await using server = await openRooms();
  const built = roomOf(eve);
  const room = await importRoom(server.ctx, built);
  const missed = built.message(eve, 'missed');
  const event = built.message(eve, 'next');
  assert.deepEqual(await receiveFrom(server.ctx, room, event), {
    kind: 'missing',
    auth: [],
    prev: [missed.eventId],
  });
  assert.equal(await loadEvent(server.ctx, event.eventId), undefined);
});

test('unknown auth events are reported, the create event too where auth_events do not name it', async () => {
  await using server = await openRooms();
  const { ctx } = server;
  const built = roomOf(eve);
  await ctx.db.write('test.room', (tx) => rooms.insert(tx, built.roomId, '12'));
  const room = await getRoom(ctx, built.roomId);
  assert.ok(room);
  const join = built.get('m.room.member', eve);
  assert.ok(join);
  const received = await receiveFrom(ctx, room, join, { as: 'outlier' });
  assert.deepEqual(received, { kind: 'missing', auth: [built.create.eventId], prev: [] });
});

test('check 4: an event that its auth events do not allow is rejected, and is no extremity', async () => {
  await using server = await openRooms();
  const { ctx } = server;
  const built = roomOf(eve, { members: [mallory] });
  const room = await importRoom(ctx, built);
  const before = built.last;
  const bad = built.fork().state(mallory, 'm.room.name', '', { name: 'mine' });
  const received = await receiveFrom(ctx, room, bad);
  assert.equal(received.kind, 'rejected');
  const stored = await storedAs(ctx, bad);
  assert.equal(stored.status, 'rejected');
  assert.equal(stored.position, undefined);
  assert.equal(stored.stateAfter, stored.stateBefore);
  assert.deepEqual(await extremities(ctx, room), [before.eventId]);
  assert.equal(await currentStateEvent(ctx, room.roomNid, 'm.room.name', ''), undefined);
});

test('check 4: an event with a rejected auth event is rejected', async () => {
  await using server = await openRooms();
  const { ctx } = server;
  const built = roomOf(eve, { members: [mallory] });
  const room = await importRoom(ctx, built);
  const line = built.fork();
  const badPower = line.state(mallory, 'm.room.power_levels', '', { users: { [mallory]: 100 } });
  assert.equal((await receiveFrom(ctx, room, badPower)).kind, 'rejected');
  const event = line.message(mallory, 'by my own power levels');
  assert.ok(event.authEvents.includes(badPower.eventId));
  const received = await receiveFrom(ctx, room, event);
  assert.equal(received.kind, 'rejected');
  assert.match('reason' in received ? (received.reason ?? '') : '', /was rejected/);
});

test('an event that follows a rejected one is accepted, with the state from before that', async () => {
  await using server = await openRooms();
  const { ctx } = server;
  const built = roomOf(eve, { members: [mallory] });
  const room = await importRoom(ctx, built);
  const line = built.fork();
  const bad = line.state(mallory, 'm.room.name', '', { name: 'mine' });
  await receiveFrom(ctx, room, bad);
  const good = line.message(eve, 'still here');
  assert.equal((await receiveFrom(ctx, room, good)).kind, 'accepted');
  await assertStateIs(ctx, room, built);
  // It stands for the whole line: what the rejected event follows is no extremity any more.
  assert.deepEqual(await extremities(ctx, room), [good.eventId]);
});

test('check 5: an event that its auth events allow but the state before it does not is rejected', async () => {
  await using server = await openRooms();
  const { ctx } = server;
  const built = roomOf(eve, { members: [mallory] });
  const room = await importRoom(ctx, built);
  const joined = built.get('m.room.member', mallory);
  assert.ok(joined);
  const ban = built.ban(eve, mallory);
  assert.equal((await receiveFrom(ctx, room, ban)).kind, 'accepted');
  const power = built.get('m.room.power_levels');
  assert.ok(power);
  const event = built.draft(mallory, {
    type: 'm.room.message',
    auth_events: [power.eventId, joined.eventId],
  });
  assert.deepEqual((await receiveFrom(ctx, room, event)).kind, 'rejected');
  assert.equal((await storedAs(ctx, event)).status, 'rejected');
});

test('check 6: an event on a line from before a ban is soft-failed: no position, no extremity, no state', async () => {
  await using server = await openRooms();
  const { ctx } = server;
  const built = roomOf(eve, { members: [mallory], power_levels: { state_default: 0 } });
  const room = await importRoom(ctx, built);
  const old = built.fork();
  const ban = built.ban(eve, mallory);
  await receiveFrom(ctx, room, ban);
  const late = old.state(mallory, 'm.room.name', '', { name: 'from before the ban' });
  assert.equal((await receiveFrom(ctx, room, late)).kind, 'soft_failed');
  const stored = await storedAs(ctx, late);
  assert.equal(stored.status, 'soft_failed');
  assert.equal(stored.position, undefined);
  assert.deepEqual(await extremities(ctx, room), [ban.eventId]);
  assert.equal(await currentStateEvent(ctx, room.roomNid, 'm.room.name', ''), undefined);
});

test('a soft-failed event that an accepted one follows counts for the state, and brings its extremities with it', async () => {
  await using server = await openRooms();
  const { ctx } = server;
  const built = roomOf(eve, { members: [mallory] });
  const room = await importRoom(ctx, built);
  const old = built.fork();
  const ban = built.ban(eve, mallory);
  await receiveFrom(ctx, room, ban);
  const late = old.message(mallory, 'late');
  assert.equal((await receiveFrom(ctx, room, late)).kind, 'soft_failed');
  // Eve's other server did see it in time, and goes on from there.
  const next = old.message(eve, 'next');
  assert.equal((await receiveFrom(ctx, room, next)).kind, 'accepted');
  assert.deepEqual(await extremities(ctx, room), [ban.eventId, next.eventId].sort());
  await assertStateIs(ctx, room, built);
});

test('an event of another room, or with auth events of another room, is rejected', async () => {
  await using server = await openRooms();
  const { ctx } = server;
  const built = roomOf(eve, { version: '11' });
  const other = roomOf(mallory, { version: '11', members: [eve] });
  const room = await importRoom(ctx, built);
  await importRoom(ctx, other);
  const foreign = other.draft(eve, { type: 'm.room.message' });
  assert.equal((await receiveFrom(ctx, room, foreign)).kind, 'rejected');
  assert.equal(await loadEvent(ctx, foreign.eventId), undefined);
  const borrowed = built.draft(mallory, {
    type: 'm.room.message',
    auth_events: ['m.room.create', 'm.room.power_levels'].map((type) => other.get(type)?.eventId ?? '$'),
  });
  assert.equal((await receiveFrom(ctx, room, borrowed)).kind, 'rejected');
});

test('a fork is healed by the next event of ours, which cites both heads', async () => {
  await using server = await openRooms();
  const { ctx } = server;
  const built = roomOf(eve, { members: [alice] });
  const room = await importRoom(ctx, built);
  const left = built.fork().message(eve, 'left');
  const right = built.fork().message(eve, 'right');
  await receiveFrom(ctx, room, left);
  await receiveFrom(ctx, room, right);
  assert.deepEqual(await extremities(ctx, room), [left.eventId, right.eventId].sort());
  const { eventId } = await sendText(ctx, room, alice, 'together');
  const sent = await loadEvent(ctx, eventId);
  assert.deepEqual([...(sent?.event.prevEvents ?? [])].sort(), [left.eventId, right.eventId].sort());
  assert.equal(sent?.event.depth, left.depth + 1);
  assert.deepEqual(await extremities(ctx, room), [eventId]);
});

test('our next event cites 20 of more than 20 heads, and the state of all still counts', async () => {
  await using server = await openRooms();
  const { ctx } = server;
  // Nobody of ours may say nothing, which would make them one before there are so many.
  const events = { 'org.example': 0, [DUMMY_EVENT]: 50 };
  const built = roomOf(eve, { members: [alice], power_levels: { events } });
  const room = await importRoom(ctx, built);
  for (let n = 0; n < 25; n++) {
    await receiveFrom(ctx, room, built.fork().state(eve, 'org.example', `${n}`, { n }));
  }
  assert.equal((await extremities(ctx, room)).length, 25);
  const draft = {
    roomId: room.roomId,
    sender: alice,
    type: 'org.example',
    stateKey: 'ours',
    content: {},
  } as const;
  const { eventId } = sentOrThrow(await sendEvent(ctx, draft));
  assert.equal((await loadEvent(ctx, eventId))?.event.prevEvents.length, 20);
  assert.equal((await extremities(ctx, room)).length, 6);
  const examples = (await currentState(ctx, room.roomNid)).filter(
    ({ event }) => event.type === 'org.example',
  );
  assert.equal(examples.length, 26);
  await sendText(ctx, room, alice, 'healed');
  assert.equal((await extremities(ctx, room)).length, 1);
  assert.equal(
    (await currentState(ctx, room.roomNid)).filter(({ event }) => event.type === 'org.example').length,
    26,
  );
});

test('two heads with different states: the current state is their resolution, and follows whoever wins', async () => {
  await using server = await openRooms();
  const { ctx } = server;
  const other = '@other:elsewhere.test';
  const built = roomOf(eve, { members: [other, alice], power_levels: { users: { [other]: 50 } } });
  const room = await importRoom(ctx, built);
  const [left, right] = [built.fork(), built.fork()];
  const demotion = left.state(eve, 'm.room.power_levels', '', { users: { [other]: 0 } });
  const name = right.state(other, 'm.room.name', '', { name: 'by who was demoted' });
  await receiveFrom(ctx, room, name);
  assert.equal((await currentStateEvent(ctx, room.roomNid, 'm.room.name', ''))?.event.eventId, name.eventId);
  await receiveFrom(ctx, room, demotion);
  assert.equal(
    (await currentStateEvent(ctx, room.roomNid, 'm.room.power_levels', ''))?.event.eventId,
    demotion.eventId,
  );
  // The name was allowed where it stands; the demotion comes first in the resolution, and it falls.
  assert.equal(await currentStateEvent(ctx, room.roomNid, 'm.room.name', ''), undefined);
  await server.restart();
  assert.equal(await currentStateEvent(server.ctx, room.roomNid, 'm.room.name', ''), undefined);
});

test('the order in which two lines arrive does not matter for the state', async () => {
  const built = roomOf(eve, { members: [mallory, alice], power_levels: { users: { [mallory]: 50 } } });
  const [left, right] = [built.fork(), built.fork()];
  const lines = [
    left.ban(eve, mallory),
    left.state(eve, 'm.room.topic', '', { topic: 'left' }),
    right.state(mallory, 'm.room.topic', '', { topic: 'right' }),
    right.state(mallory, 'm.room.name', '', { name: 'right' }),
  ] as const;
  const [ban, topic, otherTopic, name] = lines;
  const orders: Event[][] = [
    [ban, topic, otherTopic, name],
    [otherTopic, name, ban, topic],
    [otherTopic, ban, name, topic],
  ];
  const base = [...built.events.values()].filter((event) => !lines.includes(event));
  const states: string[][] = [];
  for (const order of orders) {
    await using server = await openRooms();
    const { ctx } = server;
    await ctx.db.write('test.room', (tx) => rooms.insert(tx, built.roomId, '12'));
    const room = await getRoom(ctx, built.roomId);
    assert.ok(room);
    for (const event of [...base, ...order]) await receiveFrom(ctx, room, event);
    states.push((await currentState(ctx, room.roomNid)).map(({ event }) => event.eventId));
    assert.equal((await memberships.of(ctx.db, room.roomNid, mallory))?.membership, 'ban');
  }
  // A soft-failed event is no head, so that lines that arrive late may count for less: never for more.
  assert.deepEqual(states[0]?.includes(ban.eventId), true);
  assert.deepEqual(states[1], states[2]);
});

test('an outlier has no place; when it arrives live, it gets one', async () => {
  await using server = await openRooms();
  const { ctx } = server;
  const built = roomOf(eve);
  const room = await importRoom(ctx, built);
  const event = built.state(eve, 'm.room.name', '', { name: 'x' });
  assert.deepEqual(await receiveFrom(ctx, room, event, { as: 'outlier' }), { kind: 'accepted' });
  const outlier = await storedAs(ctx, event);
  assert.equal(outlier.status, 'outlier');
  assert.equal(outlier.stateAfter, undefined);
  assert.equal(await currentStateEvent(ctx, room.roomNid, 'm.room.name', ''), undefined);
  assert.deepEqual(await receiveFrom(ctx, room, event, { as: 'outlier' }), { kind: 'known' });
  assert.deepEqual(await receiveFrom(ctx, room, event), { kind: 'accepted' });
  const placed = await storedAs(ctx, event);
  assert.equal(placed.nid, outlier.nid);
  assert.equal(placed.status, 'accepted');
  assert.ok(placed.position);
  await assertStateIs(ctx, room, built);
});

test('an outlier as a prev event is a missing one: its state is not known', async () => {
  await using server = await openRooms();
  const { ctx } = server;
  const built = roomOf(eve);
  const room = await importRoom(ctx, built);
  const missed = built.message(eve, 'missed');
  const event = built.message(eve, 'next');
  await receiveFrom(ctx, room, missed, { as: 'outlier' });
  assert.deepEqual(await receiveFrom(ctx, room, event), {
    kind: 'missing',
    auth: [],
    prev: [missed.eventId],
  });
});

test('a copy whose content hash is wrong does not keep the whole event out', async () => {
  await using server = await openRooms();
  const { ctx } = server;
  const built = roomOf(eve);
  const room = await importRoom(ctx, built);
  const event = built.state(eve, 'm.room.name', '', { name: 'the name' });
  const forged = { ...event, json: event.json.replace('the name', 'no name') };
  await receiveFrom(ctx, room, forged, { as: 'outlier' });
  assert.deepEqual((await storedAs(ctx, event)).event.content, {});
  await receiveFrom(ctx, room, event);
  assert.deepEqual((await storedAs(ctx, event)).event.content, { name: 'the name' });
  await server.restart();
  assert.deepEqual((await storedAs(server.ctx, event)).event.content, { name: 'the name' });
});

test('with the state told by a remote server an event is accepted over a gap, which is remembered', async () => {
  await using server = await openRooms();
  const { ctx } = server;
  const built = roomOf(eve, { members: [alice] });
  const room = await importRoom(ctx, built);
  const head = built.last;
  const named = built.state(eve, 'm.room.name', '', { name: 'in the gap' });
  const gap = built.message(eve, 'in the gap');
  const event = built.message(eve, 'after the gap');
  await receiveFrom(ctx, room, named, { as: 'outlier' });
  const stateBefore = [...built.stateMap.values()].map(({ eventId }) => eventId);
  const received = await receiveFrom(ctx, room, event, { as: 'live', stateBefore });
  assert.deepEqual(received, { kind: 'accepted' });
  assert.deepEqual(await eventEdges.backwardExtremities(ctx.db, room.roomNid, { limit: 100 }), [gap.eventId]);
  assert.deepEqual(await extremities(ctx, room), [head.eventId, event.eventId].sort());
  await assertStateIs(ctx, room, built);

  // The gap is filled, oldest first: what the event follows is no extremity any more.
  assert.equal((await receiveFrom(ctx, room, named)).kind, 'accepted');
  assert.equal((await receiveFrom(ctx, room, gap, { as: 'history' })).kind, 'accepted');
  assert.deepEqual(await extremities(ctx, room), [event.eventId]);
  assert.deepEqual(await eventEdges.backwardExtremities(ctx.db, room.roomNid, { limit: 100 }), []);
  assert.ok(((await storedAs(ctx, gap)).position ?? 0) < 0);
  await assertStateIs(ctx, room, built);
});

test('of the state that is told, what is not stored and what was rejected does not count', async () => {
  await using server = await openRooms();
  const { ctx } = server;
  const built = roomOf(eve, { members: [alice, mallory] });
  const room = await importRoom(ctx, built);
  const bad = built.fork().state(mallory, 'm.room.topic', '', { topic: 'bad' });
  await receiveFrom(ctx, room, bad);
  built.message(eve, 'in the gap');
  const event = built.message(eve, 'after the gap');
  const stateBefore = [...built.stateMap.values()].map(({ eventId }) => eventId);
  const told = [...stateBefore, bad.eventId, '$unknown'] as const;
  assert.equal((await receiveFrom(ctx, room, event, { as: 'live', stateBefore: told })).kind, 'accepted');
  const stored = await storedAs(ctx, event);
  assert.deepEqual((await stateIdsAt(ctx, stored, 'before')).sort(), [...stateBefore].sort());
});

test('history has positions below all others, older events below newer ones, and changes nothing now', async () => {
  await using server = await openRooms();
  const { ctx } = server;
  const built = roomOf(eve, { members: [alice] });
  const gap = [built.message(eve, 'one'), built.message(eve, 'two'), built.message(eve, 'three')];
  const after = built.message(eve, 'after');
  await ctx.db.write('test.room', (tx) => rooms.insert(tx, built.roomId, '12'));
  const room = await getRoom(ctx, built.roomId);
  assert.ok(room);
  for (const event of built.events.values()) {
    if (!gap.includes(event) && event !== after) await receiveFrom(ctx, room, event);
  }
  const stateBefore = [...built.stateMap.values()].map(({ eventId }) => eventId);
  await receiveFrom(ctx, room, after, { as: 'live', stateBefore });
  const upto = ctx.streams.upto();
  const positions = await reserveHistory(ctx, gap.length);
  for (const [index, event] of gap.entries()) {
    await receive(ctx, room, await verified(ctx, event), {
      as: 'history',
      historyPosition: positions[index] ?? 0,
    });
  }
  const stored = await Promise.all(gap.map(async (event) => (await storedAs(ctx, event)).position ?? 0));
  assert.deepEqual(
    stored,
    [...stored].sort((a, b) => a - b),
  );
  assert.ok(stored.every((position) => position < 0));
  assert.equal(
    ctx.streams.mayConcern(`room:${room.roomId}`, upto),
    false,
    'nobody who waits for news is woken',
  );
  const arrived = await arrivals.page(ctx.db, { after: upto, upto: ctx.streams.upto(), limit: 10 });
  const nids = await Promise.all(gap.map(async (event) => (await storedAs(ctx, event)).nid));
  assert.deepEqual(
    arrived.map(({ nid }) => nid),
    nids,
    'but whoever follows all rooms is told, in the order in which it came',
  );
  assert.deepEqual(await extremities(ctx, room), [after.eventId]);
});

test('a create event in the middle of a room, of another user of the same server, changes nothing', async () => {
  await using server = await openRooms();
  const { ctx } = server;
  const built = roomOf(eve, { version: '11', members: [alice] });
  const room = await importRoom(ctx, built);
  const second = built.draft('@other:elsewhere.test', {
    type: 'm.room.create',
    state_key: '',
    content: { room_version: '11', hijacked: true },
    prev_events: [],
    auth_events: [],
  });
  await receiveFrom(ctx, room, second);
  const create = await currentStateEvent(ctx, room.roomNid, 'm.room.create', '');
  assert.equal(create?.event.eventId, built.create.eventId);
});

test('an event of another server that we pass on is noted for the sender to the other servers', async () => {
  await using server = await openRooms();
  const { ctx } = server;
  const built = roomOf(alice, { members: [eve] });
  built.state(alice, 'm.room.join_rules', '', { join_rule: 'public' });
  const room = await importRoom(ctx, built);
  const upto = ctx.streams.upto();
  const joined = built.join(mallory);
  await receiveFrom(ctx, room, joined, { as: 'live', relay: true });
  const message = built.message(mallory, 'hello');
  await receiveFrom(ctx, room, message);
  const ours = await sendText(ctx, room, alice, 'welcome');
  const range = { after: upto, upto: ctx.streams.upto(), limit: 10 };
  const outgoing = await events.outgoing(ctx.db, range);
  assert.deepEqual(
    outgoing.map(({ position }) => position),
    [(await storedAs(ctx, joined)).position, ours.position],
  );
});
