import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { UserId } from '#keys/ids.ts';
import type { RoomsContext } from '#rooms/context.ts';
import type { Event } from '#rooms/event.ts';
import { loadEvent, loadEvents } from '#rooms/load.ts';
import { receiveOutliers } from '#rooms/receive-outliers.ts';
import { receiveRun } from '#rooms/receive-run.ts';
import type { Room } from '#rooms/room.ts';
import { headOf } from '#rooms/room-head.ts';
import { currentStateEvent } from '#rooms/state.ts';
import { cursors } from '#storage/cursors.ts';
import type { Database } from '#storage/database.ts';
import { roomOf } from '#test/harness/room-builder.ts';
import { importRoom, openRooms, receiveFrom, verified } from '#test/harness/rooms.ts';

const eve: UserId = '@eve:elsewhere.test';
const mallory: UserId = '@mallory:evil.test';
const alice: UserId = '@alice:here.test';

/** The database, that notes the names of all writes. */
function noting(db: Database, writes: string[]): Database {
  return {
    dialect: db.dialect,
    get: (statement, ...params) => db.get(statement, ...params),
    all: (statement, ...params) => db.all(statement, ...params),
    scan: (statement, ...params) => db.scan(statement, ...params),
    write: (name, body) => {
      writes.push(name);
      return db.write(name, body);
    },
    close: () => db.close(),
    [Symbol.asyncDispose]: () => db[Symbol.asyncDispose](),
  };
}

async function takenOf(ctx: RoomsContext, room: Room, events: readonly Event[]): Promise<number> {
  const checked = [];
  for (const event of events) checked.push(await verified(ctx, event));
  return receiveRun(ctx, room, checked);
}

async function extremities(ctx: RoomsContext, room: Room): Promise<string[]> {
  return (await headOf(ctx, room.roomNid)).forwardExtremities.map(({ eventId }) => eventId).sort();
}

/** The events that are accepted and that clients see, by their positions. */
async function seenOf(ctx: RoomsContext, events: readonly Event[]): Promise<string[]> {
  const stored = await loadEvents(
    ctx,
    events.map(({ eventId }) => eventId),
  );
  const accepted = [...stored.values()].filter(({ status }) => status === 'accepted');
  return accepted.sort((a, b) => (a.position ?? 0) - (b.position ?? 0)).map(({ event }) => event.eventId);
}

test('a line of events is received in one write, in its order, state and messages together', async () => {
  const writes: string[] = [];
  await using server = await openRooms({ watch: (db) => noting(db, writes) });
  const built = roomOf(eve, { members: [alice, mallory] });
  const room = await importRoom(server.ctx, built);
  const line = Array.from({ length: 50 }, (_, index) =>
    index % 10 === 9
      ? built.state(eve, 'm.room.topic', '', { topic: `${index}` })
      : built.message(mallory, `${index}`),
  );
  writes.length = 0;
  assert.equal(await takenOf(server.ctx, room, line), 50);
  assert.deepEqual(writes, ['rooms.persist']);
  assert.deepEqual(
    await seenOf(server.ctx, line),
    line.map(({ eventId }) => eventId),
  );
  assert.deepEqual(await extremities(server.ctx, room), [built.last.eventId]);
  await server.restart();
  const topic = await currentStateEvent(server.ctx, room.roomNid, 'm.room.topic', '');
  assert.equal(topic?.event.content.topic, '49');
});

test('an event that the rules do not allow ends a run, and is none of it', async () => {
  await using server = await openRooms();
  const built = roomOf(eve, { members: [mallory] });
  const room = await importRoom(server.ctx, built);
  const first = built.message(mallory, 'still here');
  const ban = built.ban(eve, mallory);
  const banned = built.message(mallory, 'not any more');
  const last = built.message(eve, 'after it');
  assert.equal(await takenOf(server.ctx, room, [first, ban, banned, last]), 2);
  assert.equal((await receiveFrom(server.ctx, room, banned)).kind, 'rejected');
  // What follows a rejected event does not simply go on.
  assert.equal(await takenOf(server.ctx, room, [last]), 0);
  assert.equal((await receiveFrom(server.ctx, room, last)).kind, 'accepted');
});

test('an event that cites what is not here, or is authorised by what is not here, is none of a run', async () => {
  await using server = await openRooms();
  const built = roomOf(eve, { join_rule: 'public' });
  const room = await importRoom(server.ctx, built);
  const lost = built.message(eve, 'lost');
  const next = built.message(eve, 'next');
  assert.equal(await takenOf(server.ctx, room, [next]), 0);
  assert.equal(await loadEvent(server.ctx, next.eventId), undefined);
  assert.equal(await takenOf(server.ctx, room, [lost, next]), 2);
  const join = built.fork().join(mallory);
  const speech = built.draft(mallory, {
    type: 'm.room.message',
    auth_events: [
      join.eventId,
      ...[built.get('m.room.power_levels')?.eventId].filter((id) => id !== undefined),
    ],
  });
  assert.equal(await takenOf(server.ctx, room, [speech]), 0);
});

test('messages of two servers that do not hear of each other are one run of two lines, and come together again', async () => {
  await using server = await openRooms();
  const built = roomOf(eve, { members: [mallory] });
  const room = await importRoom(server.ctx, built);
  const other = built.fork();
  const both = Array.from({ length: 6 }, (_, index) =>
    index % 2 === 0 ? built.message(eve, `${index}`) : other.message(mallory, `${index}`),
  );
  assert.equal(await takenOf(server.ctx, room, both), 6);
  assert.deepEqual(await extremities(server.ctx, room), [built.last.eventId, other.last.eventId].sort());
  const merged = built.merge([other]).state(eve, 'm.room.topic', '', { topic: 'together' });
  const after = built.message(eve, 'on one line');
  assert.equal(await takenOf(server.ctx, room, [merged, after]), 2);
  assert.deepEqual(await extremities(server.ctx, room), [after.eventId]);
});

test('a state event on one of several lines is none of a run: the current state is a resolution', async () => {
  await using server = await openRooms();
  const built = roomOf(eve, { members: [mallory], power_levels: { events: { 'm.room.topic': 0 } } });
  built.state(eve, 'm.room.topic', '', { topic: 'the later one' });
  const room = await importRoom(server.ctx, built);
  const other = built.fork();
  const messages = [built.message(eve, 'one line'), other.message(mallory, 'the other')];
  const early = other.send(mallory, {
    type: 'm.room.topic',
    state_key: '',
    content: { topic: 'the earlier one' },
    origin_server_ts: 1,
  });
  assert.equal(await takenOf(server.ctx, room, [...messages, early]), 2);
  await receiveFrom(server.ctx, room, early);
  const topic = await currentStateEvent(server.ctx, room.roomNid, 'm.room.topic', '');
  assert.equal(topic?.event.content.topic, 'the later one');
});

test('messages on lines whose states differ are one run: the state of each line stays, and so does the current one', async () => {
  const writes: string[] = [];
  await using server = await openRooms({ watch: (db) => noting(db, writes) });
  const built = roomOf(eve, { members: [mallory], power_levels: { events: { 'm.room.topic': 0 } } });
  const room = await importRoom(server.ctx, built);
  const other = built.fork();
  const topics = [
    built.state(eve, 'm.room.topic', '', { topic: 'of one line' }),
    other.state(mallory, 'm.room.topic', '', { topic: 'of the other' }),
  ];
  for (const topic of topics) await receiveFrom(server.ctx, room, topic);
  const current = (await headOf(server.ctx, room.roomNid)).stateGroup;
  const said = Array.from({ length: 6 }, (_, index) =>
    index % 2 === 0 ? built.message(eve, `${index}`) : other.message(mallory, `${index}`),
  );
  const change = other.state(mallory, 'm.room.topic', '', { topic: 'of a resolution' });
  writes.length = 0;
  assert.equal(await takenOf(server.ctx, room, [...said, change]), 6);
  assert.deepEqual(writes, ['rooms.persist']);
  assert.deepEqual(
    await seenOf(server.ctx, said),
    said.map(({ eventId }) => eventId),
  );
  const stored = await loadEvents(
    server.ctx,
    [...topics, ...said].map(({ eventId }) => eventId),
  );
  const after = (index: number) => stored.get(said[index]?.eventId ?? '$')?.stateAfter;
  for (const line of [0, 1]) {
    const topic = stored.get(topics[line]?.eventId ?? '$');
    assert.deepEqual([after(line), after(line + 2), after(line + 4)], Array(3).fill(topic?.stateAfter));
  }
  assert.notEqual(after(0), after(1));
  assert.equal((await headOf(server.ctx, room.roomNid)).stateGroup, current);
  await server.restart();
  assert.equal((await headOf(server.ctx, room.roomNid)).stateGroup, current);
  assert.deepEqual(await extremities(server.ctx, room), [said[4]?.eventId, said[5]?.eventId].sort());
});

test('a message on a line that the state of that line, or the current one, does not allow is none of a run', async () => {
  await using server = await openRooms();
  const built = roomOf(eve, { members: [mallory, alice] });
  const room = await importRoom(server.ctx, built);
  const [banned, unaware, muted] = [built.fork(), built.fork(), built.fork()];
  const states = [
    banned.ban(eve, mallory),
    unaware.state(eve, 'm.room.topic', '', { topic: 'of those who do not know' }),
    muted.state(eve, 'm.room.power_levels', '', { users: { [eve]: 100 }, events_default: 50 }),
  ];
  for (const event of states) await receiveFrom(server.ctx, room, event);
  const evasive = unaware.fork().message(mallory, 'not banned here');
  assert.equal(await takenOf(server.ctx, room, [evasive]), 0);
  assert.equal((await receiveFrom(server.ctx, room, evasive)).kind, 'soft_failed');
  const before = [
    built.get('m.room.create'),
    built.get('m.room.power_levels'),
    built.get('m.room.member', mallory),
  ];
  const withoutPower = muted.draft(mallory, {
    type: 'm.room.message',
    auth_events: before.map((event) => event?.eventId ?? '$').filter((id) => id !== '$'),
  });
  assert.equal(await takenOf(server.ctx, room, [withoutPower]), 0);
  assert.equal((await receiveFrom(server.ctx, room, withoutPower)).kind, 'rejected');
  assert.equal(await takenOf(server.ctx, room, [unaware.message(eve, 'allowed by all')]), 1);
});

test('a redaction of what is not here is part of a run, and what it has waited for is not', async () => {
  await using server = await openRooms();
  const built = roomOf(eve);
  const room = await importRoom(server.ctx, built);
  const [side, line] = [built.fork(), built];
  const target = line.message(eve, 'to be taken back');
  const redaction = side.send(eve, { type: 'm.room.redaction', content: { redacts: target.eventId } });
  assert.equal(await takenOf(server.ctx, room, [redaction, target]), 1);
  assert.equal(await takenOf(server.ctx, room, [target]), 0);
  await receiveFrom(server.ctx, room, target);
  assert.equal((await loadEvent(server.ctx, target.eventId))?.redactedBy, redaction.eventId);
});

test('a redaction of what is here ends a run, and a redaction of what comes in the same run is none of it', async () => {
  await using server = await openRooms();
  const built = roomOf(eve, { members: [mallory] });
  const room = await importRoom(server.ctx, built);
  const redactionOf = (sender: UserId, { eventId }: Event) =>
    built.send(sender, { type: 'm.room.redaction', content: { redacts: eventId } });
  const first = built.message(eve, 'to be taken back');
  const redactions = [redactionOf(eve, first), redactionOf(mallory, first)];
  const second = built.message(eve, 'to be taken back too');
  const last = redactionOf(eve, second);
  assert.equal(await takenOf(server.ctx, room, [first, ...redactions, second, last]), 1);
  assert.equal(await takenOf(server.ctx, room, [...redactions, second, last]), 1);
  // Of what is redacted already, a redaction does nothing.
  assert.equal(await takenOf(server.ctx, room, [...redactions.slice(1), second, last]), 2);
  assert.equal(await takenOf(server.ctx, room, [last]), 1);
  const redactedBy = async ({ eventId }: Event) => (await loadEvent(server.ctx, eventId))?.redactedBy;
  assert.equal(await redactedBy(first), redactions[0]?.eventId);
  assert.equal(await redactedBy(second), last.eventId);
});

test('an event that the past of the room leads back to is none of a run', async () => {
  await using server = await openRooms();
  const built = roomOf(eve);
  const room = await importRoom(server.ctx, built);
  const [lost, next] = [built.message(eve, 'lost'), built.message(eve, 'next')];
  const stateBefore = [...built.stateMap.values()].map(({ eventId }) => eventId);
  assert.equal((await receiveFrom(server.ctx, room, next, { as: 'live', stateBefore })).kind, 'accepted');
  assert.equal(await takenOf(server.ctx, room, [lost]), 0);
  await receiveFrom(server.ctx, room, lost);
  assert.deepEqual(await extremities(server.ctx, room), [next.eventId]);
});

test('a run ends where one of our users leaves: nobody may be left to hear the rest', async () => {
  await using server = await openRooms();
  const built = roomOf(eve, { members: [alice] });
  const room = await importRoom(server.ctx, built);
  const kick = built.kick(eve, alice);
  const secret = built.message(eve, 'now that they are gone');
  assert.equal(await takenOf(server.ctx, room, [kick, secret]), 1);
});

test('an event that comes twice in a run, or is here already, ends it', async () => {
  await using server = await openRooms();
  const built = roomOf(eve);
  const room = await importRoom(server.ctx, built);
  const [first, second] = [built.message(eve, '1'), built.message(eve, '2')];
  assert.equal(await takenOf(server.ctx, room, [first, first, second]), 1);
  assert.equal(await takenOf(server.ctx, room, [first]), 0);
  assert.equal(await takenOf(server.ctx, room, [second]), 1);
});

test('parts of a state that are simple are stored in one write, as outliers; the others are left', async () => {
  const writes: string[] = [];
  await using server = await openRooms({ watch: (db) => noting(db, writes) });
  const built = roomOf(eve, { members: [mallory] });
  const room = await importRoom(server.ctx, built);
  const side = built.fork();
  const power = side.state(eve, 'm.room.power_levels', '', { users: { [mallory]: 50 } });
  const topics = Array.from({ length: 20 }, (_, index) =>
    side.state(mallory, 'm.room.topic', '', { topic: `${index}` }),
  );
  const forbidden = built.fork().state(mallory, 'm.room.topic', '', { topic: 'without power' });
  const [lost, unauthorised] = [side.join(mallory), side.state(mallory, 'm.room.name', '', { name: 'x' })];
  const all = [];
  for (const event of [power, ...topics, forbidden, unauthorised, built.create])
    all.push(await verified(server.ctx, event));
  writes.length = 0;
  const taken = await receiveOutliers(server.ctx, room, all);
  assert.deepEqual(writes, ['rooms.storeOutliers']);
  assert.deepEqual([...taken].sort(), [power, ...topics].map(({ eventId }) => eventId).sort());
  for (const { eventId } of [power, ...topics])
    assert.equal((await loadEvent(server.ctx, eventId))?.status, 'outlier');
  for (const { eventId } of [forbidden, lost, unauthorised])
    assert.equal(await loadEvent(server.ctx, eventId), undefined);
});

test('what is written along with a run is on disk with its events, or neither is', async () => {
  const writes: string[] = [];
  await using server = await openRooms({ watch: (db) => noting(db, writes) });
  const built = roomOf(eve, { members: [alice] });
  const room = await importRoom(server.ctx, built);
  const line = Array.from({ length: 5 }, (_, index) => built.message(eve, `${index}`));
  const events = [];
  for (const event of line) events.push(await verified(server.ctx, event));
  writes.length = 0;
  const refused = receiveRun(server.ctx, room, events, () =>
    Promise.reject(new Error('no room on the disk')),
  );
  await assert.rejects(refused, /no room on the disk/);
  assert.deepEqual(await seenOf(server.ctx, line), []);
  const counts: number[] = [];
  const noted = receiveRun(server.ctx, room, events, async (tx, count) => {
    counts.push(count);
    await cursors.set(tx, 'test', count);
  });
  assert.equal(await noted, 5);
  assert.deepEqual(counts, [5]);
  assert.equal(await cursors.get(server.ctx.db, 'test'), 5);
  assert.deepEqual(writes, ['rooms.persist', 'rooms.persist']);
});
