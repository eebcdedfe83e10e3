/** When an event counts as a relation: as long as clients see it. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { EventId } from '#keys/ids.ts';
import type { JsonObject } from '#keys/json.ts';
import type { RoomsContext } from '#rooms/context.ts';
import { loadEvent } from '#rooms/load.ts';
import { beginForgetting } from '#rooms/purge/forget.ts';
import { beginPurge, runPurge } from '#rooms/purge/purge.ts';
import { readRelations } from '#rooms/relations/read-relations.ts';
import { relationOf } from '#rooms/relations/relation.ts';
import type { Room } from '#rooms/room.ts';
import { sendEvent } from '#rooms/send.ts';
import { contentFindings } from '#storage/check.ts';
import * as memberships from '#storage/memberships.ts';
import { threads } from '#storage/relation-summaries.ts';
import * as relations from '#storage/relations.ts';
import { roomOf, type TestRoom } from '#test/harness/room-builder.ts';
import {
  importRoom,
  openRooms,
  receiveFrom,
  sendState,
  sendText,
  sentOrThrow,
  startedRoom,
} from '#test/harness/rooms.ts';
import { rowsOf } from '#test/harness/rows.ts';

const ALICE = '@alice:here.test';
const EVE = '@eve:elsewhere.test';
const MALLORY = '@mallory:evil.test';
const never = new AbortController().signal;

const relating = (relType: string, to: string) => ({
  body: 'child',
  'm.relates_to': { rel_type: relType, event_id: to },
});

async function relate(ctx: RoomsContext, room: Room, to: EventId, relType = 'm.thread'): Promise<EventId> {
  const content = relating(relType, to);
  const { roomId } = room;
  const sent = await sendEvent(ctx, { roomId, sender: ALICE, type: 'm.room.message', content });
  return sentOrThrow(sent).eventId;
}

/** The ids of an event's children, oldest first. */
async function childrenOf(ctx: RoomsContext, room: Room, parentId: EventId): Promise<EventId[]> {
  const of = { roomNid: room.roomNid, parentId, relType: undefined };
  const range = {
    after: Number.MIN_SAFE_INTEGER,
    upto: Number.MAX_SAFE_INTEGER,
    direction: 'f',
    limit: 1_000,
  };
  const nids = await relations.children(ctx.db, of, range as relations.ChildrenRange);
  const rows = await Promise.all(
    nids.map((nid) =>
      ctx.db.get<[number], { event_id: EventId }>(
        { name: '', text: 'SELECT event_id FROM events WHERE event_nid = ?' },
        nid,
      ),
    ),
  );
  return rows.map((row) => row?.event_id ?? '$gone');
}

function child(built: TestRoom, to: EventId, relType = 'm.thread') {
  return built.send(MALLORY, { type: 'm.room.message', content: relating(relType, to) });
}

test('a relation has a kind and an event id; anything else is none', () => {
  const of = (value: unknown) => relationOf({ 'm.relates_to': value } as JsonObject);
  const event_id = '$parent';
  assert.deepEqual(of({ rel_type: 'm.thread', event_id }), { relType: 'm.thread', parentId: '$parent' });
  assert.deepEqual(of({ rel_type: `a${'b'.repeat(254)}`, event_id })?.parentId, '$parent');
  const none: unknown[] = [
    undefined,
    null,
    [],
    'm.thread',
    {},
    { event_id },
    { rel_type: 'm.thread' },
    { rel_type: 'm.thread', event_id: 'parent' },
    { rel_type: 'm.thread', event_id: 7 },
    { rel_type: 'm.thread', event_id: '$\u0000' },
    { rel_type: ['m.thread'], event_id },
    { rel_type: '', event_id },
    { rel_type: 'M.thread', event_id },
    { rel_type: '.a', event_id },
    { rel_type: 'a b', event_id },
    { rel_type: `a${'b'.repeat(255)}`, event_id },
    { 'm.in_reply_to': { event_id } },
  ];
  for (const value of none) assert.equal(of(value), undefined, JSON.stringify(value));
  assert.equal(relationOf(Object.create({ 'm.relates_to': { rel_type: 'm.thread', event_id } })), undefined);
});

test('rejected and soft-failed events do not count; an accepted one does, also as the child of an event that comes later', async () => {
  await using rooms = await openRooms();
  const { ctx } = rooms;
  const built = roomOf(EVE, { members: [MALLORY] });
  const room = await importRoom(ctx, built);
  const late = built.fork();
  const parent = built.message(EVE, 'parent');
  const accepted = late
    .fork()
    .send(EVE, { type: 'm.room.message', content: relating('m.thread', parent.eventId) });
  assert.equal((await receiveFrom(ctx, room, accepted)).kind, 'accepted');
  assert.equal(await loadEvent(ctx, parent.eventId), undefined);
  assert.deepEqual(await childrenOf(ctx, room, parent.eventId), [accepted.eventId]);
  assert.equal((await receiveFrom(ctx, room, parent)).kind, 'accepted');
  await receiveFrom(ctx, room, built.ban(EVE, MALLORY));
  const softFailed = child(late, parent.eventId);
  assert.equal((await receiveFrom(ctx, room, softFailed)).kind, 'soft_failed');
  const rejected = child(built, parent.eventId);
  assert.equal((await receiveFrom(ctx, room, rejected)).kind, 'rejected');
  assert.deepEqual(await childrenOf(ctx, room, parent.eventId), [accepted.eventId]);
  assert.deepEqual(await contentFindings(ctx.db), []);
});

test('an event that is a part of a state counts once it has its place in the timeline', async () => {
  await using rooms = await openRooms();
  const { ctx } = rooms;
  const built = roomOf(EVE, { members: [MALLORY] });
  const room = await importRoom(ctx, built);
  const event = built.send(EVE, {
    type: 'org.example',
    state_key: '',
    content: relating('m.reference', '$p'),
  });
  assert.equal((await receiveFrom(ctx, room, event, { as: 'outlier' })).kind, 'accepted');
  assert.deepEqual(await childrenOf(ctx, room, '$p'), []);
  assert.equal((await receiveFrom(ctx, room, event)).kind, 'accepted');
  assert.deepEqual(await childrenOf(ctx, room, '$p'), [event.eventId]);
});

test('an event that was redacted before it came does not count', async () => {
  await using rooms = await openRooms();
  const { ctx } = rooms;
  const built = roomOf(EVE, { members: [MALLORY] });
  const room = await importRoom(ctx, built);
  const line = built.fork();
  const related = child(line, built.create.eventId);
  const content = { redacts: related.eventId };
  await receiveFrom(ctx, room, built.send(MALLORY, { type: 'm.room.redaction', content }));
  assert.equal((await receiveFrom(ctx, room, related)).kind, 'accepted');
  assert.ok((await loadEvent(ctx, related.eventId))?.redactedBy !== undefined);
  assert.deepEqual(await childrenOf(ctx, room, built.create.eventId), []);
});

test('a purge of history takes relations with their events, and children of deleted events stay', async () => {
  await using rooms = await openRooms();
  const { ctx } = rooms;
  const room = await startedRoom(ctx, ALICE);
  const root = (await sendText(ctx, room, ALICE, 'root')).eventId;
  await relate(ctx, room, root);
  const state = await sendState(ctx, room, ALICE, {
    type: 'org.example',
    content: relating('m.thread', root),
  });
  const point = (await sendText(ctx, room, ALICE, 'up to here')).eventId;
  const left = await relate(ctx, room, root);
  assert.equal((await childrenOf(ctx, room, root)).length, 3);
  assert.ok(await beginPurge(ctx, room, { eventId: point }));
  await runPurge(ctx, room.roomNid, never);
  assert.equal(await loadEvent(ctx, root), undefined);
  assert.ok((await loadEvent(ctx, state.eventId)) !== undefined, 'it is state');
  assert.deepEqual(await childrenOf(ctx, room, root), [left]);
  const [thread] = await threads(ctx.db, room.roomNid, Number.MAX_SAFE_INTEGER, 9);
  assert.deepEqual([thread?.rootId, thread?.latest], [root, (await loadEvent(ctx, left))?.position]);
  assert.deepEqual(await contentFindings(ctx.db), []);
});

test('a room that is forgotten leaves no relations behind', async () => {
  await using rooms = await openRooms();
  const { ctx } = rooms;
  const room = await startedRoom(ctx, ALICE);
  const root = (await sendText(ctx, room, ALICE, 'root')).eventId;
  for (let count = 0; count < 120; count++)
    await relate(ctx, room, root, count % 2 ? 'm.thread' : 'm.reference');
  const content = { membership: 'leave' };
  await sendState(ctx, room, ALICE, { type: 'm.room.member', stateKey: ALICE, content });
  await ctx.db.write('test.forget', (tx) => memberships.forget(tx, room.roomNid, ALICE));
  await startedRoom(ctx, ALICE);
  assert.equal((await rowsOf(ctx.db, room)).relation_parents, 1);
  assert.equal(await beginForgetting(ctx, room), undefined);
  assert.equal((await runPurge(ctx, room.roomNid, never))?.kind, 'done');
  assert.deepEqual(await rowsOf(ctx.db, room), {});
  const rows = await ctx.db.get<[], { n: number }>({ name: '', text: 'SELECT COUNT(*) AS n FROM relations' });
  assert.equal(rows?.n, 0);
});

test('relations of events from before there was a table for them are found, after interruptions too, and once', async () => {
  await using rooms = await openRooms();
  const room = await startedRoom(rooms.ctx, ALICE);
  const root = (await sendText(rooms.ctx, room, ALICE, 'root')).eventId;
  const expected: EventId[] = [];
  for (let count = 0; count < 30; count++) {
    expected.push(await relate(rooms.ctx, room, root));
    await Promise.all(Array.from({ length: 40 }, () => sendText(rooms.ctx, room, ALICE, '"m.relates_to"')));
  }
  const redacted = await relate(rooms.ctx, room, root);
  const { roomId } = room;
  await sendEvent(rooms.ctx, {
    roomId,
    sender: ALICE,
    type: 'm.room.redaction',
    content: {},
    redacts: redacted,
  });
  // As an earlier version left it; the migration comes with the restart.
  await rooms.ctx.db.write('test', async (tx) => {
    for (const text of [
      'DROP TABLE relations',
      'DROP TABLE relation_parents',
      'DELETE FROM schema_migrations WHERE number = 20',
    ])
      await tx.run({ name: '', text });
  });
  await rooms.restart();
  assert.deepEqual(await childrenOf(rooms.ctx, room, root), []);
  const newer = await relate(rooms.ctx, room, root);
  const interrupted = new AbortController();
  const log = { ...rooms.ctx.log, info: () => assert.fail('it is not done') };
  const first = readRelations(rooms.ctx.db, log, interrupted.signal);
  interrupted.abort();
  await first;
  await rooms.restart();
  assert.ok((await childrenOf(rooms.ctx, room, root)).length < 31);
  const told: object[] = [];
  const telling = { ...rooms.ctx.log, info: (fields: object) => told.push(fields) };
  await readRelations(rooms.ctx.db, telling, never);
  await readRelations(rooms.ctx.db, telling, never);
  assert.deepEqual(await childrenOf(rooms.ctx, room, root), [...expected, newer]);
  assert.equal(told.length, 1, 'the second time nothing is to be done');
  assert.deepEqual(await contentFindings(rooms.ctx.db), []);
});
