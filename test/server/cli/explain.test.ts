/** `kurir event explain`, the real command on real databases: what it says of events that did not become what was meant. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { EventId, UserId } from '#keys/ids.ts';
import type { RoomsContext } from '#rooms/context.ts';
import type { Event } from '#rooms/event.ts';
import { run, serverEnvironment } from '#test/harness/process.ts';
import { roomOf, type TestRoom } from '#test/harness/room-builder.ts';
import { importRoom, openRooms, receiveFrom, type TestRooms } from '#test/harness/rooms.ts';

const eve = '@eve:elsewhere.test';
const bob = '@bob:elsewhere.test';
const mallory = '@mallory:evil.test';
const alice = '@alice:here.test';

async function explained(server: TestRooms, event: Event): Promise<string> {
  const ended = await run('server/kurir.ts', ['event', 'explain', event.eventId], {
    env: serverEnvironment(server.folder),
  });
  assert.equal(ended.code, 0, ended.err);
  return ended.out;
}

function saysAll(text: string, parts: readonly (string | RegExp)[]): void {
  for (const part of parts) {
    const found = typeof part === 'string' ? text.includes(part) : part.test(text);
    assert.ok(found, `${part} is not in:\n${text}`);
  }
}

const levels = (users: Record<UserId, number>) => ({ users: { [eve]: 100, ...users } });
const stateIds = (line: TestRoom) => [...line.stateMap.values()].map(({ eventId }) => eventId);
const nameBy = (line: TestRoom, sender: UserId) => line.state(sender, 'm.room.name', '', { name: sender });

test('a rejected event: the rule by its number in the version, its sentence, and the events that decided', async () => {
  for (const [version, rule] of [
    ['11', '7'],
    ['12', '8'],
  ] as const) {
    await using server = await openRooms();
    const built = roomOf(eve, { version, members: [alice, mallory] });
    const room = await importRoom(server.ctx, built);
    const bad = nameBy(built.fork(), mallory);
    await receiveFrom(server.ctx, room, bad);
    saysAll(await explained(server, bad), [
      `m.room.name "" by ${mallory}, 2023-`,
      `In the room ${room.roomId}, of version ${version}.`,
      'Rejected: The power level of the sender is 0, and 50 is needed.',
      `By its auth events: The power level of the sender is 0, and 50 is needed (rule ${rule} of the authorisation rules of room version ${version}).`,
      `What decided:\n    m.room.`,
      built.get('m.room.power_levels')?.eventId ?? '',
    ]);
  }
});

test('an event that is rejected by the state before it, and one for a rejected auth event, with the reason of that', async () => {
  await using server = await openRooms();
  const { ctx } = server;
  const built = roomOf(eve, { version: '11', members: [alice, mallory] });
  const room = await importRoom(ctx, built);
  const joined = built.get('m.room.member', mallory);
  const before = built.fork();
  const ban = built.ban(eve, mallory);
  await receiveFrom(ctx, room, ban);
  const late = built.draft(mallory, {
    type: 'm.room.message',
    auth_events: before.draft(mallory, { type: 'm.room.message' }).authEvents,
  });
  assert.equal((await receiveFrom(ctx, room, late)).kind, 'rejected');
  assert.ok(joined !== undefined && late.authEvents.includes(joined.eventId));
  saysAll(await explained(server, late), [
    'Rejected: The sender is not in the room.',
    'By the state before it: The sender is not in the room (rule 5 of',
    `m.room.member "${mallory}", ban, by ${eve}`,
  ]);

  const badPower = before.state(mallory, 'm.room.power_levels', '', levels({ [mallory]: 100 }));
  const name = nameBy(before, mallory);
  await receiveFrom(ctx, room, badPower);
  assert.equal((await receiveFrom(ctx, room, name)).kind, 'rejected');
  saysAll(await explained(server, name), [
    `Rejected: The auth event ${badPower.eventId} was rejected.`,
    '(rule 2.3 of',
    badPower.eventId,
    'rejected: The power level of the sender is 0, and 50 is needed.',
  ]);
});

test('an event that is rejected for a told state says what it waits for', async () => {
  await using server = await openRooms();
  const { ctx } = server;
  const built = roomOf(eve, { version: '11', members: [alice, mallory] });
  const room = await importRoom(ctx, built);
  const wrong = stateIds(built);
  const power = built.state(eve, 'm.room.power_levels', '', levels({ [mallory]: 50 }));
  const missed = built.message(eve, 'missed');
  const name = nameBy(built, mallory);
  await receiveFrom(ctx, room, power, { as: 'outlier' });
  await receiveFrom(ctx, room, name, { as: 'live', stateBefore: wrong });
  saysAll(await explained(server, name), [
    'Rejected: The power level of the sender is 0, and 50 is needed.',
    `This may change: it is judged again when one of these arrives: ${missed.eventId}`,
  ]);
  saysAll(await explained(server, power), [
    'Outlier: it has no place',
    'It has never been part of the current state',
  ]);
});

test('a soft-failed event: which present state forbids it', async () => {
  await using server = await openRooms();
  const { ctx } = server;
  const built = roomOf(eve, { version: '12', members: [alice, mallory] });
  const room = await importRoom(ctx, built);
  const old = built.fork();
  const ban = built.ban(eve, mallory);
  await receiveFrom(ctx, room, ban);
  const late = old.message(mallory, 'from before');
  assert.equal((await receiveFrom(ctx, room, late)).kind, 'soft_failed');
  saysAll(await explained(server, late), [
    'Soft-failed: it is allowed where it stands, but not by the state that the room had when it came: The sender is not in the room.',
    'By the state that the room has now: The sender is not in the room (rule 6 of the authorisation rules of room version 12).',
    `m.room.member "${mallory}", ban, by ${eve}`,
    ban.eventId,
  ]);
});

test('a state event: that it counts, or which one followed it', async () => {
  await using server = await openRooms();
  const { ctx } = server;
  const built = roomOf(eve, { version: '12', members: [alice] });
  const first = nameBy(built, eve);
  const second = nameBy(built, eve);
  await importRoom(ctx, built);
  saysAll(await explained(server, second), ['Accepted: ', 'It counts now as m.room.name of the room.']);
  saysAll(await explained(server, first), [
    'It does not count now as m.room.name of the room; what counts is m.room.name "" by',
    `It was replaced by the one that followed it: m.room.name "" by ${eve}`,
    second.eventId,
  ]);
});

/** Two lines of a room, received one after the other. */
async function forked(
  ctx: RoomsContext,
  version: string,
  make: (left: TestRoom, right: TestRoom) => readonly [left: readonly Event[], right: readonly Event[]],
) {
  const built = roomOf(eve, {
    version,
    members: [bob, alice, mallory],
    power_levels: { users: { [bob]: 50, ...(version !== '12' && { [eve]: 100 }) } },
  });
  const room = await importRoom(ctx, built);
  const [left, right] = make(built.fork(), built.fork());
  for (const event of [...left, ...right]) await receiveFrom(ctx, room, event);
  return room;
}

test('an event that lost in state resolution: the step, what won, and that its sender had lost the power for it', async () => {
  for (const version of ['11', '12']) {
    await using server = await openRooms();
    const events = { name: undefined as Event | undefined, demotion: undefined as Event | undefined };
    await forked(server.ctx, version, (left, right) => {
      events.name = nameBy(left, bob);
      const content = version === '12' ? { users: { [bob]: 0 } } : levels({ [bob]: 0 });
      events.demotion = right.state(eve, 'm.room.power_levels', '', content);
      return [[events.name], [events.demotion]];
    });
    assert.ok(events.name !== undefined && events.demotion !== undefined);
    const number = version === '12' ? '8' : '7';
    saysAll(await explained(server, events.name), [
      'It does not count now as m.room.name of the room; what counts is nothing',
      `State resolution (version ${version === '12' ? '2.1' : '2'}) made one state of 2:`,
      `after ${events.name.eventId}: m.room.name "" by ${bob}`,
      `after ${events.demotion.eventId}: nothing`,
      `In step 4, all other events`,
      `the event was not allowed: The power level of the sender is 0, and 50 is needed (rule ${number} of`,
      'What decided:',
      events.demotion.eventId,
      'the power for it was taken back, which is no moving backwards by itself.',
    ]);
  }
});

test('an event that lost by its time: both were allowed, and the later one counts', async () => {
  await using server = await openRooms();
  const events: Event[] = [];
  await forked(server.ctx, '12', (left, right) => {
    events.push(nameBy(left, bob), nameBy(right, eve));
    return [[events[0] as Event], [events[1] as Event]];
  });
  const [earlier, later] = events as [Event, Event];
  assert.ok(earlier.originServerTs < later.originServerTs);
  saysAll(await explained(server, earlier), [
    `what counts is m.room.name "" by ${eve}`,
    'both were allowed, and the later one counts: its origin_server_ts is later.',
  ]);
});

test('a state reset made on purpose (MSC4297, problem B): the state moved backwards, and why', async () => {
  await using server = await openRooms();
  const { ctx } = server;
  const built = roomOf(eve, { version: '11', members: [bob, alice], join_rule: 'public' });
  const oldest = built.get('m.room.power_levels');
  built.state(eve, 'm.room.power_levels', '', levels({ [bob]: 100 }));
  const newest = built.state(bob, 'm.room.power_levels', '', levels({ [bob]: 100, [alice]: 50 }));
  built.join('@dave:elsewhere.test');
  const room = await importRoom(ctx, built);
  built.message(eve, 'not here');
  const event = built.message(eve, 'next');
  assert.ok(oldest);
  const stateBefore = stateIds(built).map(
    (eventId): EventId => (eventId === newest.eventId ? oldest.eventId : eventId),
  );
  assert.equal((await receiveFrom(ctx, room, event, { as: 'live', stateBefore })).kind, 'accepted');
  saysAll(await explained(server, newest), [
    'It does not count now as m.room.power_levels of the room',
    'State resolution (version 2) made one state of 2:',
    `after ${event.eventId}: m.room.power_levels "" by ${eve}`,
    'In step 2, the power events',
    'the event was not allowed: The power level of the sender is 0, and 50 is needed (rule 7 of',
    `m.room.power_levels "" by ${eve}`,
    `The state moved backwards here: from this event to an older event, ${oldest.eventId}.`,
  ]);
});

test('an event that is not here, and what is no event id, are said in one line', async () => {
  await using server = await openRooms();
  const env = serverEnvironment(server.folder);
  const missing = await run('server/kurir.ts', ['event', 'explain', '$missing'], { env });
  assert.deepEqual(
    [missing.code, missing.err.includes('there is no event $missing in this database')],
    [1, true],
  );
  const wrong = await run('server/kurir.ts', ['event', 'explain', 'x'], { env });
  assert.deepEqual([wrong.code, wrong.err.includes('"x" is not an event id')], [2, true]);
});
