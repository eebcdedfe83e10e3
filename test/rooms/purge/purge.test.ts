/** Deleting of history and of rooms: what goes, what stays, and that a crash loses neither. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { EventId } from '#keys/ids.ts';
import type { RoomsContext } from '#rooms/context.ts';
import { checkRoom } from '#rooms/db-check.ts';
import { loadEvent } from '#rooms/load.ts';
import { beginForgetting, beginForgettingLeft } from '#rooms/purge/forget.ts';
import { beginPurge, type PurgeResult, runPurge } from '#rooms/purge/purge.ts';
import type { Room } from '#rooms/room.ts';
import { currentState, stateAt } from '#rooms/state.ts';
import { page } from '#rooms/timeline.ts';
import { contentFindings } from '#storage/check.ts';
import type { Tx } from '#storage/database.ts';
import * as memberships from '#storage/memberships.ts';
import * as purges from '#storage/purges.ts';
import { openRooms, sendState, sendText, startedRoom } from '#test/harness/rooms.ts';
import { rowsOf, stateNodes } from '#test/harness/rows.ts';

const ALICE = '@alice:here.test';
const BOB = '@bob:here.test';
const never = new AbortController().signal;

async function bodies(ctx: RoomsContext, room: Room): Promise<unknown[]> {
  const { events } = await page(ctx, room.roomNid, {
    from: Number.MAX_SAFE_INTEGER,
    direction: 'b',
    limit: 1_000,
  });
  return events.reverse().map(({ event }) => event.content.body ?? event.type);
}

async function run(ctx: RoomsContext, room: Room): Promise<PurgeResult | undefined> {
  return runPurge(ctx, room.roomNid, never);
}

async function assertSound(ctx: RoomsContext, room: Room): Promise<void> {
  assert.deepEqual(await Array.fromAsync(checkRoom(ctx, room)), []);
  assert.deepEqual(await contentFindings(ctx.db), []);
}

test('messages before an event go, state leaves the timeline, and the room is as it was', async () => {
  await using rooms = await openRooms();
  const { ctx } = rooms;
  const room = await startedRoom(ctx, ALICE, { members: [BOB] });
  const old = await sendText(ctx, room, ALICE, 'old');
  await sendState(ctx, room, ALICE, { type: 'm.room.topic', content: { topic: 'first' } });
  await sendState(ctx, room, ALICE, { type: 'm.room.topic', content: { topic: 'second' } });
  for (let count = 0; count < 250; count++) await sendText(ctx, room, BOB, `${count}`);
  const kept = await sendText(ctx, room, ALICE, 'kept');
  await sendText(ctx, room, ALICE, 'new');
  const stateBefore = (await currentState(ctx, room.roomNid)).map(({ event }) => event.eventId);
  assert.ok(await beginPurge(ctx, room, { eventId: kept.eventId }));
  const result = await run(ctx, room);
  assert.deepEqual(result, { kind: 'done', deleted: 251, withdrawn: 9 - 1, kept: 0 });
  assert.deepEqual(await bodies(ctx, room), ['kept', 'new']);
  assert.equal(await loadEvent(ctx, old.eventId), undefined);
  const state = (await currentState(ctx, room.roomNid)).map(({ event }) => event.eventId);
  assert.deepEqual(state, stateBefore);
  await assertSound(ctx, room);
  await rooms.restart();
  assert.equal(await loadEvent(rooms.ctx, old.eventId), undefined);
  // Every state that an event which stayed stands in is whole.
  const stored = await loadEvent(rooms.ctx, kept.eventId);
  assert.ok(stored !== undefined);
  assert.equal((await stateAt(rooms.ctx, stored, 'before')).length, stateBefore.length);
  await sendText(rooms.ctx, room, BOB, 'goes on');
  assert.deepEqual(await bodies(rooms.ctx, room), ['kept', 'new', 'goes on']);
  assert.equal(await run(rooms.ctx, room), undefined, 'nothing is left to do');
});

test('before a time: by when an event came, whatever its sender says of when it was sent', async () => {
  await using rooms = await openRooms();
  const { ctx } = rooms;
  const room = await startedRoom(ctx, ALICE);
  for (let day = 0; day < 10; day++) {
    await sendText(ctx, room, ALICE, `day ${day}`);
    ctx.clock.advance(86_400_000);
  }
  const before = ctx.clock.now() - 5 * 86_400_000;
  assert.ok(await beginPurge(ctx, room, { before }));
  assert.equal((await run(ctx, room))?.kind, 'done');
  assert.deepEqual(await bodies(ctx, room), ['day 5', 'day 6', 'day 7', 'day 8', 'day 9']);
  await assertSound(ctx, room);
});

test('before a time in the future all goes but the newest event, which the next one cites', async () => {
  await using rooms = await openRooms();
  const { ctx } = rooms;
  const room = await startedRoom(ctx, ALICE);
  for (const body of ['one', 'two', 'three']) await sendText(ctx, room, ALICE, body);
  assert.ok(await beginPurge(ctx, room, { before: ctx.clock.now() + 86_400_000 }));
  const result = await run(ctx, room);
  assert.ok(result?.kind === 'done');
  assert.deepEqual([result.deleted, result.kept], [2, 1]);
  assert.deepEqual(await bodies(ctx, room), ['three']);
  await sendText(ctx, room, ALICE, 'four');
  await assertSound(ctx, room);
});

test('what other servers are still to get, and redactions whose event has not come, stay', async () => {
  await using rooms = await openRooms();
  const { ctx } = rooms;
  const room = await startedRoom(ctx, ALICE);
  const unsent = await sendText(ctx, room, ALICE, 'unsent');
  const queued = await sendText(ctx, room, ALICE, 'queued');
  const redaction = await sendText(ctx, room, ALICE, 'redacts what is to come');
  await sendText(ctx, room, ALICE, 'gone');
  const last = await sendText(ctx, room, ALICE, 'last');
  const nid = async (eventId: EventId) => (await loadEvent(ctx, eventId))?.nid ?? 0;
  const nids = [await nid(unsent.eventId), await nid(queued.eventId), await nid(redaction.eventId)];
  const insert = (tx: Tx, text: string) => tx.run({ name: '', text });
  await ctx.db.write('test', async (tx) => {
    await insert(
      tx,
      `INSERT INTO outgoing_events (position, room_nid, event_nid) VALUES (1, ${room.roomNid}, ${nids[0]})`,
    );
    await insert(tx, `INSERT INTO outbox (server, event_nid) VALUES ('there.test', ${nids[1]})`);
    await insert(tx, `INSERT INTO pending_redactions (event_id, redaction_nid) VALUES ('$x', ${nids[2]})`);
  });
  await beginPurge(ctx, room, { eventId: last.eventId });
  const result = await run(ctx, room);
  assert.ok(result?.kind === 'done');
  assert.deepEqual([result.deleted, result.kept], [1, 3]);
  assert.deepEqual((await bodies(ctx, room)).slice(-4), [
    'unsent',
    'queued',
    'redacts what is to come',
    'last',
  ]);
});

test('an event of another room, or one that is not in the timeline, is no point to purge up to', async () => {
  await using rooms = await openRooms();
  const { ctx } = rooms;
  const [room, other] = [await startedRoom(ctx, ALICE), await startedRoom(ctx, ALICE)];
  const elsewhere = await sendText(ctx, other, ALICE, 'elsewhere');
  assert.equal(await beginPurge(ctx, room, { eventId: elsewhere.eventId }), false);
  assert.equal(await beginPurge(ctx, room, { eventId: '$unknown' }), false);
  assert.equal(await run(ctx, room), undefined);
});

test('killed after any batch, a purge goes on, and ends as one that was not', async () => {
  await using rooms = await openRooms();
  const room = await startedRoom(rooms.ctx, ALICE);
  for (let count = 0; count < 450; count++) await sendText(rooms.ctx, room, ALICE, `${count}`);
  const last = await sendText(rooms.ctx, room, ALICE, 'last');
  await beginPurge(rooms.ctx, room, { eventId: last.eventId });
  let runs = 0;
  let result: PurgeResult | undefined;
  for (; result?.kind !== 'done'; runs++) {
    assert.ok(runs < 50);
    result = await run(dyingAfter(rooms.ctx, 1 + (runs % 2)), room).catch(() => undefined);
    await rooms.restart();
  }
  assert.ok(runs > 2, 'it was interrupted');
  assert.equal(result.deleted, 450);
  assert.deepEqual(await bodies(rooms.ctx, room), ['last']);
  await assertSound(rooms.ctx, room);
});

test('a room goes once all of ours have left and forgotten it, with all its rows and states', async () => {
  await using rooms = await openRooms();
  const { ctx } = rooms;
  const nodes = await stateNodes(ctx.db);
  const room = await startedRoom(ctx, ALICE, { members: [BOB] });
  for (let count = 0; count < 80; count++) {
    await sendState(ctx, room, ALICE, { type: 'org.example', stateKey: `${count}`, content: {} });
    await sendText(ctx, room, BOB, `${count}`);
  }
  const leave = (user: typeof ALICE | typeof BOB) =>
    sendState(ctx, room, user, { type: 'm.room.member', stateKey: user, content: { membership: 'leave' } });
  const forget = (user: typeof ALICE | typeof BOB) =>
    ctx.db.write('test.forget', (tx) => memberships.forget(tx, room.roomNid, user));
  assert.equal(await beginForgetting(ctx, room), ALICE, 'who is in the room keeps it');
  await leave(ALICE);
  await leave(BOB);
  await forget(ALICE);
  assert.equal(await beginForgettingLeft(ctx, never), 0, 'one of them remembers it');
  await forget(BOB);
  // Something newer in each table: the newest row of all is not deleted.
  const newer = await startedRoom(ctx, ALICE);
  const others = (await stateNodes(ctx.db)) - nodes;
  assert.equal(await beginForgettingLeft(ctx, never), 1);
  assert.equal(await beginForgettingLeft(ctx, never), 0, 'it is noted once');
  const result = await run(ctx, room);
  assert.ok(result?.kind === 'done');
  assert.ok(result.deleted > 160);
  assert.deepEqual(await rowsOf(ctx.db, room), {});
  const left = await stateNodes(ctx.db);
  await sendText(ctx, newer, ALICE, 'untouched');
  await assertSound(ctx, newer);
  const again = await startedRoom(ctx, ALICE);
  assert.ok(
    left < others && left - nodes <= (await stateNodes(ctx.db)) - left,
    'only the states of the other room are left',
  );
  assert.ok(again.roomNid > newer.roomNid);
});

test('the newest room of all goes too, but for its row, and the newest event', async () => {
  await using rooms = await openRooms();
  const { ctx } = rooms;
  const room = await startedRoom(ctx, ALICE);
  await sendText(ctx, room, ALICE, 'text');
  await sendState(ctx, room, ALICE, {
    type: 'm.room.member',
    stateKey: ALICE,
    content: { membership: 'leave' },
  });
  assert.equal(await beginForgetting(ctx, room), undefined);
  assert.equal((await run(ctx, room))?.kind, 'done');
  assert.deepEqual(await rowsOf(ctx.db, room), { rooms: 1, events: 1 });
  assert.deepEqual(await bodies(ctx, room), []);
  assert.deepEqual(await contentFindings(ctx.db), []);
  assert.equal(await beginForgettingLeft(ctx, never), 0);
  await startedRoom(ctx, ALICE);
  assert.equal(await beginForgettingLeft(ctx, never), 1);
  await run(ctx, room);
  assert.deepEqual(await rowsOf(ctx.db, room), {}, 'these go once there is something newer');
});

test('killed at any write, the deletion of a room goes on to its end', async () => {
  await using rooms = await openRooms();
  const kept = await startedRoom(rooms.ctx, ALICE);
  const room = await startedRoom(rooms.ctx, ALICE, { members: [BOB] });
  for (let count = 0; count < 150; count++) {
    await sendState(rooms.ctx, room, ALICE, { type: 'org.example', stateKey: `${count}`, content: {} });
  }
  for (const user of [ALICE, BOB] as const) {
    await sendState(rooms.ctx, room, user, {
      type: 'm.room.member',
      stateKey: user,
      content: { membership: 'leave' },
    });
  }
  await startedRoom(rooms.ctx, ALICE);
  assert.equal(await beginForgetting(rooms.ctx, room), undefined);
  let runs = 0;
  let result: PurgeResult | undefined;
  for (; result?.kind !== 'done'; runs++) {
    assert.ok(runs < 100);
    result = await run(dyingAfter(rooms.ctx, 1 + (runs % 7)), room).catch(() => undefined);
    if (runs % 3 === 0) await rooms.restart();
    assert.deepEqual(await Array.fromAsync(checkRoom(rooms.ctx, kept)), []);
  }
  assert.ok(runs > 2, 'it was interrupted');
  assert.deepEqual(await rowsOf(rooms.ctx.db, room), {});
  assert.deepEqual(await contentFindings(rooms.ctx.db), []);
});

test('a room that other servers are still to hear of waits a day', async () => {
  await using rooms = await openRooms();
  const { ctx } = rooms;
  const room = await startedRoom(ctx, ALICE);
  const left = await sendState(ctx, room, ALICE, {
    type: 'm.room.member',
    stateKey: ALICE,
    content: { membership: 'leave' },
  });
  const nid = (await loadEvent(ctx, left.eventId))?.nid;
  const text = `INSERT INTO outbox (server, event_nid) VALUES ('there.test', ${nid})`;
  await ctx.db.write('test', (tx) => tx.run({ name: '', text }));
  assert.equal(await beginForgetting(ctx, room), undefined);
  assert.deepEqual(await run(ctx, room), { kind: 'waiting' });
  assert.notDeepEqual(await bodies(ctx, room), []);
  ctx.clock.advance(24 * 60 * 60_000);
  assert.equal((await run(ctx, room))?.kind, 'done');
  assert.equal(await purges.of(ctx.db, room.roomNid), undefined);
});

/** The same rooms, whose database takes only so many writes more. */
function dyingAfter(ctx: RoomsContext, writes: number): RoomsContext {
  let left = writes;
  const { db } = ctx;
  const write: typeof db.write = (name, body) => {
    left -= 1;
    return left < 0 ? Promise.reject(new Error('killed')) : db.write(name, body);
  };
  const dying = new Proxy(db, {
    get: (target, key) => {
      const value: unknown = key === 'write' ? write : Reflect.get(target, key);
      return typeof value === 'function' && key !== 'write' ? value.bind(target) : value;
    },
  });
  return { ...ctx, db: dying };
}
