import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RoomsContext } from '#rooms/context.ts';
import type { StoredEvent } from '#rooms/stored-event.ts';
import { EventFollower, type Following } from '#server/event-follower.ts';
import { openRooms, sendText, startedRoom } from '#test/harness/rooms.ts';
import { LONGEST_MS } from '#test/harness/until.ts';

const ALICE = '@alice:here.test';

/** A follower of messages whose `seen` is what it has committed. */
function recorder(ctx: RoomsContext, seen: string[], more: Partial<Following<readonly string[]>> = {}) {
  return new EventFollower<readonly string[]>(ctx, {
    ...{ name: 'test', batch: 3, lingerMs: 0 },
    prepare: async (events) => bodiesOf(events),
    apply: async (tx, bodies) => tx.afterCommit(() => seen.push(...bodies)),
    ...more,
  });
}

function bodiesOf(events: readonly StoredEvent[]): readonly string[] | undefined {
  const bodies = events.map(({ event }) => event.content.body).filter((body) => typeof body === 'string');
  return bodies.length === 0 ? undefined : bodies;
}

function caughtUp(ctx: RoomsContext, follower: EventFollower<readonly string[]>): Promise<boolean> {
  return follower.reached(ctx.streams.upto(), LONGEST_MS);
}

test('every event is followed once, in the order in which it came, also over restarts', async () => {
  await using rooms = await openRooms();
  const room = await startedRoom(rooms.ctx, ALICE);
  const seen: string[] = [];
  const said: string[] = [];
  const say = async (count: number) => {
    for (let index = 0; index < count; index++) {
      said.push(`message ${said.length}`);
      // In their order.
      await sendText(rooms.ctx, room, ALICE, said.at(-1) ?? '');
    }
  };
  {
    await using follower = recorder(rooms.ctx, seen);
    follower.start();
    assert.equal(await caughtUp(rooms.ctx, follower), true);
    await say(10);
    assert.equal(await caughtUp(rooms.ctx, follower), true);
    assert.deepEqual(seen, said);
  }
  await say(7);
  for (let restarts = 0; restarts < 2; restarts++) {
    await rooms.restart();
    await using follower = recorder(rooms.ctx, seen);
    follower.start();
    assert.equal(await caughtUp(rooms.ctx, follower), true);
    assert.deepEqual(seen, said);
  }
});

test('a follower that is new does not read what was there before it', async () => {
  await using rooms = await openRooms();
  const room = await startedRoom(rooms.ctx, ALICE);
  await sendText(rooms.ctx, room, ALICE, 'before');
  const seen: string[] = [];
  await using follower = recorder(rooms.ctx, seen);
  follower.start();
  assert.equal(await caughtUp(rooms.ctx, follower), true);
  await sendText(rooms.ctx, room, ALICE, 'after');
  assert.equal(await caughtUp(rooms.ctx, follower), true);
  assert.deepEqual(seen, ['after']);
});

test('what fails, before the write or in it, is tried again and done once', async () => {
  await using rooms = await openRooms();
  const room = await startedRoom(rooms.ctx, ALICE);
  const seen: string[] = [];
  let failures = 0;
  const failOnce = (where: number) => {
    if (failures !== where) return;
    failures += 1;
    throw new Error('the test lets it fail');
  };
  await using follower = recorder(rooms.ctx, seen, {
    prepare: async (events) => {
      const bodies = bodiesOf(events);
      if (bodies !== undefined) failOnce(0);
      return bodies;
    },
    apply: async (tx, bodies) => {
      tx.afterCommit(() => seen.push(...bodies));
      failOnce(1);
    },
  });
  follower.start();
  assert.equal(await caughtUp(rooms.ctx, follower), true);
  for (const body of ['one', 'two']) await sendText(rooms.ctx, room, ALICE, body);
  assert.equal(await caughtUp(rooms.ctx, follower), true);
  assert.deepEqual([seen, failures], [['one', 'two'], 2]);
});

test('a follower that begins anew reads everything, after what it had written was undone', async () => {
  await using rooms = await openRooms();
  const room = await startedRoom(rooms.ctx, ALICE);
  await sendText(rooms.ctx, room, ALICE, 'before it came');
  const seen: string[] = [];
  await using follower = recorder(rooms.ctx, seen);
  follower.start();
  assert.equal(await caughtUp(rooms.ctx, follower), true);
  await sendText(rooms.ctx, room, ALICE, 'after it came');
  assert.equal(await caughtUp(rooms.ctx, follower), true);
  await follower.restart(async (tx) => tx.afterCommit(() => seen.splice(0)));
  assert.equal(await caughtUp(rooms.ctx, follower), true);
  assert.deepEqual(seen, ['before it came', 'after it came']);
});

test('whoever waits for a position gets an answer when the follower ends, or the time is over', async () => {
  await using rooms = await openRooms();
  const follower = recorder(rooms.ctx, []);
  assert.equal(await follower.reached(rooms.ctx.streams.upto() + 1, 10), false);
  const waits = follower.reached(rooms.ctx.streams.upto() + 1, LONGEST_MS);
  await follower[Symbol.asyncDispose]();
  assert.equal(await waits, false);
  await assert.rejects(
    follower.restart(async () => undefined),
    /stopping/,
  );
});
