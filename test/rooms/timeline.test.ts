import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { UserId } from '#keys/ids.ts';
import type { RoomsContext } from '#rooms/context.ts';
import { receive } from '#rooms/receive.ts';
import type { Room } from '#rooms/room.ts';
import { createRoomCache } from '#rooms/room-cache.ts';
import type { StoredEvent } from '#rooms/stored-event.ts';
import { around, eventsBetween, page, positionBefore } from '#rooms/timeline.ts';
import type { VerifiedEvent } from '#rooms/verified-event.ts';
import { sql } from '#storage/sql.ts';
import { roomOf, type TestRoom } from '../harness/room-builder.ts';
import { arrive, importRoom, localRooms } from './local-rooms.ts';

const ALICE: UserId = '@alice:a.test';
const BOB: UserId = '@bob:b.test';

const MOVE = sql<[number, number]>(
  'test.timeline.move',
  'UPDATE events SET position = ? WHERE event_nid = ?',
);

interface Scene {
  readonly room: Room;
  readonly built: TestRoom;
  /** Ten messages, m0 to m9, oldest first. */
  readonly messages: readonly StoredEvent[];
  readonly start: number;
  readonly end: number;
}

async function tenMessages(ctx: RoomsContext): Promise<Scene> {
  const built = roomOf(ALICE, { members: [BOB] });
  const room = await importRoom(ctx, built);
  const messages: StoredEvent[] = [];
  for (let index = 0; index < 10; index++) {
    messages.push(await arrive(ctx, room, built.message(ALICE, `m${index}`)));
    // Another room's events lie between.
    if (index === 0) await importRoom(ctx, roomOf(BOB));
  }
  const [first] = messages;
  assert.ok(first);
  return { room, built, messages, start: positionBefore(first), end: messages.at(-1)?.position ?? 0 };
}

function bodies(events: readonly StoredEvent[]): string {
  return events.map(({ event }) => String(event.content.body ?? event.type)).join(' ');
}

test('eventsBetween gives the newest events of the range, oldest first, and tells whether there are more', async () => {
  await using rooms = await localRooms();
  const { ctx } = rooms;
  const { room, start, end } = await tenMessages(ctx);
  const all = await eventsBetween(ctx, room.roomNid, { after: start, upto: end, limit: 10 });
  assert.equal(bodies(all.events), 'm0 m1 m2 m3 m4 m5 m6 m7 m8 m9');
  assert.equal(all.limited, false);
  const some = await eventsBetween(ctx, room.roomNid, { after: start, upto: end, limit: 3 });
  assert.equal(bodies(some.events), 'm7 m8 m9');
  assert.equal(some.limited, true);
  const none = await eventsBetween(ctx, room.roomNid, { after: end, upto: end + 5, limit: 3 });
  assert.deepEqual(none, { events: [], limited: false });
});

test('pages backwards give every event once, and end where the room begins', async () => {
  await using rooms = await localRooms();
  const { ctx } = rooms;
  const { room, end } = await tenMessages(ctx);
  const seen: StoredEvent[] = [];
  let from: number | undefined = end;
  for (let pages = 0; from !== undefined && pages < 20; pages++) {
    const got: Awaited<ReturnType<typeof page>> = await page(ctx, room.roomNid, {
      from,
      direction: 'b',
      limit: 3,
    });
    assert.ok(got.events.length <= 3);
    seen.push(...got.events);
    from = got.end;
  }
  assert.equal(bodies(seen.slice(0, 10)), 'm9 m8 m7 m6 m5 m4 m3 m2 m1 m0');
  assert.equal(seen.at(-1)?.event.type, 'm.room.create');
  assert.equal(new Set(seen).size, seen.length);
});

test('the end of a page backwards is where a page forwards gives the rest, and the reverse', async () => {
  await using rooms = await localRooms();
  const { ctx } = rooms;
  const { room, end, start } = await tenMessages(ctx);
  const back = await page(ctx, room.roomNid, { from: end, direction: 'b', limit: 4 });
  assert.equal(bodies(back.events), 'm9 m8 m7 m6');
  assert.ok(back.end !== undefined);
  const forward = await page(ctx, room.roomNid, { from: back.end, direction: 'f', limit: 100 });
  assert.equal(bodies(forward.events), 'm6 m7 m8 m9');
  assert.equal(forward.end, undefined);
  const ahead = await page(ctx, room.roomNid, { from: start, direction: 'f', limit: 4 });
  assert.equal(bodies(ahead.events), 'm0 m1 m2 m3');
  assert.ok(ahead.end !== undefined);
  const rest = await page(ctx, room.roomNid, { from: ahead.end, direction: 'b', limit: 4 });
  assert.equal(bodies(rest.events), 'm3 m2 m1 m0');
});

test('a page goes not beyond `to`', async () => {
  await using rooms = await localRooms();
  const { ctx } = rooms;
  const { room, end, start, messages } = await tenMessages(ctx);
  const back = await page(ctx, room.roomNid, {
    from: end,
    to: messages[6]?.position,
    direction: 'b',
    limit: 10,
  });
  assert.equal(bodies(back.events), 'm9 m8 m7');
  assert.equal(back.end, undefined);
  const ahead = await page(ctx, room.roomNid, {
    from: start,
    to: messages[2]?.position,
    direction: 'f',
    limit: 10,
  });
  assert.equal(bodies(ahead.events), 'm0 m1 m2');
});

test('history that was fetched later, at negative positions, lies before all else', async () => {
  await using rooms = await localRooms();
  const { ctx } = rooms;
  const { room, end, messages } = await tenMessages(ctx);
  await ctx.db.write('test.move', async (tx) => {
    await tx.run(MOVE, -1, messages[4]?.nid ?? 0);
    await tx.run(MOVE, -2, messages[3]?.nid ?? 0);
  });
  const fresh = { ...ctx, rooms: createRoomCache() };
  const { events } = await page(fresh, room.roomNid, { from: end, direction: 'b', limit: 100 });
  assert.equal(bodies(events.slice(0, 8)), 'm9 m8 m7 m6 m5 m2 m1 m0');
  assert.equal(bodies(events.slice(-2)), 'm4 m3');
  const first = await page(fresh, room.roomNid, { from: 0, direction: 'b', limit: 1 });
  assert.equal(bodies(first.events), 'm4');
  const second = await page(fresh, room.roomNid, { from: first.end ?? 0, direction: 'b', limit: 1 });
  assert.equal(bodies(second.events), 'm3');
  assert.equal(second.end, undefined);
});

test('what surrounds an event: half of the limit before it, the rest after it', async () => {
  await using rooms = await localRooms();
  const { ctx } = rooms;
  const { room, messages } = await tenMessages(ctx);
  const [m0, , , , m4] = messages;
  assert.ok(m0 && m4);
  const found = await around(ctx, room.roomNid, m4, 5);
  assert.ok(found);
  assert.equal(bodies(found.before), 'm3 m2');
  assert.equal(bodies(found.after), 'm5 m6 m7');
  const before = await page(ctx, room.roomNid, { from: found.start, direction: 'b', limit: 1 });
  assert.equal(bodies(before.events), 'm1');
  const after = await page(ctx, room.roomNid, { from: found.end, direction: 'f', limit: 1 });
  assert.equal(bodies(after.events), 'm8');
  const alone = await around(ctx, room.roomNid, m4, 0);
  assert.deepEqual(alone, { before: [], after: [], start: positionBefore(m4), end: m4.position });
});

test('rejected and soft-failed events are not in the timeline', async () => {
  await using rooms = await localRooms();
  const { ctx } = rooms;
  const { room, built, end } = await tenMessages(ctx);
  const forked = built.fork();
  const kick = await arrive(ctx, room, built.kick(ALICE, BOB));
  const late = await receive(ctx, room, forked.message(BOB, 'late') as VerifiedEvent, { as: 'live' });
  assert.equal(late.kind, 'soft_failed');
  const never = built.fork().message(BOB, 'never');
  assert.equal((await receive(ctx, room, never as VerifiedEvent, { as: 'live' })).kind, 'rejected');
  const { events } = await page(ctx, room.roomNid, { from: end, direction: 'f', limit: 100 });
  assert.deepEqual(
    events.map(({ nid }) => nid),
    [kick.nid],
  );
});
