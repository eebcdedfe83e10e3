import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { EventId, UserId } from '#keys/ids.ts';
import { loadEvent } from '#rooms/load.ts';
import { headOf } from '#rooms/room-head.ts';
import { type Draft, sendEvent, sendEvents } from '#rooms/send.ts';
import { startRoom } from '#rooms/start-room.ts';
import { currentState, currentStateEvent } from '#rooms/state.ts';
import { rulesOf, SUPPORTED_VERSIONS } from '#rooms/versions.ts';
import * as currentStateTable from '#storage/current-state.ts';
import * as eventEdges from '#storage/event-edges.ts';
import * as memberships from '#storage/memberships.ts';
import { openRooms, sendState, sendText, sentOrThrow, startedRoom, state } from '#test/harness/rooms.ts';

const alice = '@alice:here.test';
const bob = '@bob:here.test';
const carol = '@carol:here.test';

for (const version of SUPPORTED_VERSIONS) {
  test(`v${version}: an event is sent, and is the same when it is read back after a restart`, async () => {
    await using server = await openRooms();
    const room = await startedRoom(server.ctx, alice, { version });
    const { eventId, position } = await sendText(server.ctx, room, alice, 'hello');
    const before = await loadEvent(server.ctx, eventId);
    await server.restart();
    const after = await loadEvent(server.ctx, eventId);
    assert.deepEqual(after, before);
    assert.equal(after?.position, position);
    assert.equal(after?.status, 'accepted');
    assert.deepEqual(after?.event.content, { msgtype: 'm.text', body: 'hello' });
    assert.equal(after?.event.eventId, eventId);
  });
}

test('each event cites the one before and is one deeper, also where many are sent at once', async () => {
  await using server = await openRooms();
  const { ctx } = server;
  const room = await startedRoom(ctx, alice);
  const sent = await Promise.all(Array.from({ length: 120 }, (_, n) => sendText(ctx, room, alice, `${n}`)));
  const events = await Promise.all(sent.map(({ eventId }) => loadEvent(ctx, eventId)));
  for (const [index, stored] of events.entries()) {
    const previous = events[index - 1];
    if (previous === undefined || stored === undefined) continue;
    assert.deepEqual(stored.event.prevEvents, [previous.event.eventId]);
    assert.equal(stored.event.depth, previous.event.depth + 1);
    assert.ok((stored.position ?? 0) > (previous.position ?? 0));
  }
  const { forwardExtremities } = await headOf(ctx, room.roomNid);
  assert.deepEqual(
    forwardExtremities.map(({ eventId }) => eventId),
    [sent.at(-1)?.eventId],
  );
  assert.deepEqual(await eventEdges.forwardExtremities(ctx.db, room.roomNid), [events.at(-1)?.nid]);
});

test('an event that the room does not allow is refused, and its neighbours are sent', async () => {
  await using server = await openRooms();
  const { ctx } = server;
  const room = await startedRoom(ctx, alice, { members: [bob] });
  const name = (sender: UserId) =>
    sendEvent(ctx, state(sender, 'm.room.name', '', { name: sender }, room.roomId));
  const [before, refused, after] = await Promise.all([name(alice), name(bob), name(alice)]);
  assert.equal(before?.kind, 'sent');
  assert.equal(refused?.kind, 'forbidden');
  assert.equal(after?.kind, 'sent');
});

test('the refusals of a send are values', async () => {
  await using server = await openRooms();
  const { ctx } = server;
  const room = await startedRoom(ctx, alice);
  const message = {
    roomId: room.roomId,
    sender: alice,
    type: 'm.room.message',
    content: { body: 'x' },
  } as const;
  const kinds = await Promise.all([
    sendEvent(ctx, { ...message, sender: carol }),
    sendEvent(ctx, { ...message, roomId: '!unknown:here.test' }),
    sendEvent(ctx, { ...message, content: { body: 1.5 } }),
    sendEvent(ctx, { ...message, content: { body: '\ud800' } }),
    sendEvent(ctx, { ...message, content: { body: 'x'.repeat(65_536) } }),
    sendEvent(ctx, { ...message, type: 'x'.repeat(256) }),
    sendEvent(ctx, { ...message, type: 'm.room.create', stateKey: '' }),
  ]);
  assert.deepEqual(
    kinds.map(({ kind }) => kind),
    ['forbidden', 'unknown_room', 'invalid', 'invalid', 'invalid', 'invalid', 'invalid'],
  );
});

test('only our own users can be the sender', async () => {
  await using server = await openRooms();
  const room = await startedRoom(server.ctx, alice);
  await assert.rejects(
    sendEvent(server.ctx, { roomId: room.roomId, sender: '@eve:elsewhere.test', type: 'x', content: {} }),
  );
});

test('a transaction id sent again gives the same event: one after the other, at once, and after a restart', async () => {
  await using server = await openRooms();
  const room = await startedRoom(server.ctx, alice);
  const draft: Draft = {
    roomId: room.roomId,
    sender: alice,
    type: 'm.room.message',
    content: { body: 'once' },
    txn: { deviceId: 'PHONE', txnId: 'm1' },
  };
  const parallel = await Promise.all(Array.from({ length: 5 }, () => sendEvent(server.ctx, draft)));
  const later = await sendEvent(server.ctx, draft);
  await server.restart();
  const afterRestart = await sendEvent(server.ctx, draft);
  const ids = new Set([...parallel, later, afterRestart].map((sent) => sentOrThrow(sent).eventId));
  assert.equal(ids.size, 1);
  const positions = new Set([...parallel, later, afterRestart].map((sent) => sentOrThrow(sent).position));
  assert.equal(positions.size, 1);
});

test('a transaction id counts for one device, one room and one event type', async () => {
  await using server = await openRooms();
  const { ctx } = server;
  const room = await startedRoom(ctx, alice);
  const other = await startedRoom(ctx, alice, { version: '11' });
  const send = (changes: Partial<Draft>) =>
    sendEvent(ctx, {
      roomId: room.roomId,
      sender: alice,
      type: 'm.room.message',
      content: { body: 'x' },
      txn: { deviceId: 'PHONE', txnId: 'm1' },
      ...changes,
    });
  const sent = [
    await send({}),
    await send({ txn: { deviceId: 'LAPTOP', txnId: 'm1' } }),
    await send({ roomId: other.roomId }),
    await send({ type: 'org.example' }),
  ];
  assert.equal(new Set(sent.map((one) => sentOrThrow(one).eventId)).size, 4);
});

test('several events are sent all or none', async () => {
  await using server = await openRooms();
  const { ctx } = server;
  const room = await startedRoom(ctx, alice, { members: [bob] });
  const topic = (sender: UserId, text: string) =>
    state(sender, 'm.room.topic', '', { topic: text }, room.roomId);
  const refused = await sendEvents(ctx, room.roomId, [topic(alice, 'a'), topic(bob, 'b')]);
  assert.deepEqual(
    refused.map(({ kind }) => kind),
    ['forbidden', 'forbidden'],
  );
  assert.equal(await currentStateEvent(ctx, room.roomNid, 'm.room.topic', ''), undefined);
  const sent = await sendEvents(ctx, room.roomId, [topic(alice, 'a'), topic(alice, 'b')]);
  const current = await currentStateEvent(ctx, room.roomNid, 'm.room.topic', '');
  assert.deepEqual(current?.event.content, { topic: 'b' });
  assert.equal(current?.event.eventId, sentOrThrow(sent[1] ?? { kind: 'unknown_room' }).eventId);
});

test('the current state, its deltas and the memberships follow the state events', async () => {
  await using server = await openRooms();
  const { ctx } = server;
  const room = await startedRoom(ctx, alice, { members: [bob] });
  const upto = ctx.streams.upto();
  const named = await sendState(ctx, room, alice, { type: 'm.room.name', content: { name: 'one' } });
  const renamed = await sendState(ctx, room, alice, { type: 'm.room.name', content: { name: 'two' } });
  const profile = { membership: 'join', displayname: 'Bob', avatar_url: 'mxc://here.test/bob' };
  await sendState(ctx, room, bob, { type: 'm.room.member', stateKey: bob, content: profile });
  const row = await memberships.of(ctx.db, room.roomNid, bob);
  assert.equal(row?.displayName, 'Bob');
  assert.equal(row?.avatarUrl, 'mxc://here.test/bob');
  const left = await sendState(ctx, room, bob, {
    type: 'm.room.member',
    stateKey: bob,
    content: { membership: 'leave' },
  });
  const deltas = await currentStateTable.deltas(ctx.db, room.roomNid, { after: upto, upto: left.position });
  const nidOf = async (eventId: EventId) => (await loadEvent(ctx, eventId))?.nid;
  assert.deepEqual(
    deltas.filter(({ type }) => type === 'm.room.name'),
    [
      {
        position: named.position,
        type: 'm.room.name',
        stateKey: '',
        eventNid: await nidOf(named.eventId),
        prevEventNid: undefined,
      },
      {
        position: renamed.position,
        type: 'm.room.name',
        stateKey: '',
        eventNid: await nidOf(renamed.eventId),
        prevEventNid: await nidOf(named.eventId),
      },
    ],
  );
  assert.equal((await memberships.of(ctx.db, room.roomNid, bob))?.membership, 'leave');
  assert.deepEqual(await memberships.joinedLocalUsers(ctx.db, room.roomNid, 'here.test'), [alice]);
  assert.deepEqual(await memberships.joinedServers(ctx.db, room.roomNid), ['here.test']);
  assert.deepEqual(await memberships.countsIn(ctx.db, room.roomNid), { joined: 1, invited: 0 });
});

test('what is in memory of the current state is what the database holds', async () => {
  await using server = await openRooms();
  const room = await startedRoom(server.ctx, alice, { members: [bob] });
  await Promise.all(
    Array.from({ length: 10 }, (_, n) =>
      sendState(server.ctx, room, alice, { type: 'm.room.topic', content: { topic: `${n}` } }),
    ),
  );
  const idsOf = async () =>
    (await currentState(server.ctx, room.roomNid)).map(({ event }) => event.eventId).sort();
  const topic = async () =>
    (await currentStateEvent(server.ctx, room.roomNid, 'm.room.topic', ''))?.event.eventId;
  const [inMemory, topicInMemory] = [await idsOf(), await topic()];
  await server.restart();
  assert.deepEqual(await idsOf(), inMemory);
  assert.equal(await topic(), topicInMemory);
});

test('a hint for the room, and for the user whose membership changes, follows the commit', async () => {
  await using server = await openRooms();
  const { ctx } = server;
  const room = await startedRoom(ctx, alice, { joinRule: 'public' });
  const joined = await sendState(ctx, room, bob, {
    type: 'm.room.member',
    stateKey: bob,
    content: { membership: 'join' },
  });
  assert.equal(ctx.streams.lastPositionOf(`user:${bob}`), joined.position);
  assert.equal(ctx.streams.lastPositionOf(`room:${room.roomId}`), joined.position);
  assert.equal(ctx.streams.lastPositionOf('outgoing'), undefined);
});

test('the withdrawal of an invitation goes to the server of the user, though it is not in the room', async () => {
  await using server = await openRooms();
  const { ctx } = server;
  const room = await startedRoom(ctx, alice);
  const member = { type: 'm.room.member', stateKey: '@dora:elsewhere.test' };
  await sendState(ctx, room, alice, { ...member, content: { membership: 'invite' } });
  const withdrawn = await sendState(ctx, room, alice, { ...member, content: { membership: 'leave' } });
  assert.equal(ctx.streams.lastPositionOf('outgoing'), withdrawn.position);
});

test('v12: two rooms that one user starts at the same moment are two rooms', async () => {
  await using server = await openRooms();
  const rooms = await Promise.all([startedRoom(server.ctx, alice), startedRoom(server.ctx, alice)]);
  assert.notEqual(rooms[0]?.roomId, rooms[1]?.roomId);
});

test('a room whose later draft is refused is not started at all', async () => {
  await using server = await openRooms();
  const rules = rulesOf('12');
  assert.ok(rules);
  const started = await startRoom(server.ctx, {
    rules,
    drafts: [
      state(alice, 'm.room.create', '', { room_version: '12' }),
      state(alice, 'm.room.member', alice, { membership: 'join' }),
      state(bob, 'm.room.name', '', { name: 'mine' }),
    ],
  });
  assert.equal(started.kind, 'refused');
  assert.equal(started.kind === 'refused' && started.index, 2);
  assert.deepEqual(await memberships.ofUser(server.ctx.db, alice), []);
});
