import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { UserId } from '#keys/ids.ts';
import type { Room } from '#rooms/room.ts';
import { sendEvents } from '#rooms/send.ts';
import * as destinations from '#storage/destinations.ts';
import * as events from '#storage/events.ts';
import * as receipts from '#storage/receipts.ts';
import { createAuthority } from '#test/harness/certificates.ts';
import {
  bodiesOf,
  type ReceivingPeer,
  type SendingServer,
  startReceiving,
  startSending,
} from '#test/harness/outbound.ts';
import { roomOf } from '#test/harness/room-builder.ts';
import { importRoom, receiveFrom, sendState, sendText, startedRoom } from '#test/harness/rooms.ts';
import { until } from '#test/harness/until.ts';

const ALICE: UserId = '@alice:here.test';
const authority = await createAuthority();

const bobAt = (peer: ReceivingPeer): UserId => `@bob:${peer.name}`;
const numbers = (from: number, to: number) =>
  Array.from({ length: to - from + 1 }, (_, index) => `${from + index}`);

/** Sends messages in one write, as a burst does. */
async function sendMany({ ctx }: SendingServer, room: Room, bodies: readonly string[]): Promise<void> {
  const drafts = bodies.map((body) => ({
    roomId: room.roomId,
    sender: ALICE,
    type: 'm.room.message',
    content: { msgtype: 'm.text', body },
  }));
  const sent = await sendEvents(ctx, room.roomId, drafts);
  assert.ok(sent.every(({ kind }) => kind === 'sent'));
}

async function delivered(peer: ReceivingPeer, count: number): Promise<string[]> {
  await until(() => bodiesOf(peer.events).length >= count, `${count} messages at the peer`);
  return bodiesOf(peer.events);
}

/** As when a request of the peer arrives. */
async function signOfLife({ ctx }: SendingServer, peer: ReceivingPeer): Promise<void> {
  await ctx.backoff.succeeded(peer.name);
}

test('transactions: at most 50 PDUs, one at a time, in the order of the events', async () => {
  await using peer = await startReceiving(authority, { delayMs: 5 });
  await using server = await startSending(authority);
  const room = await importRoom(server.ctx, roomOf(ALICE, { members: [bobAt(peer)] }));
  await sendMany(server, room, numbers(1, 30));
  for (const body of numbers(31, 60)) await sendText(server.ctx, room, ALICE, body);
  await sendMany(server, room, numbers(61, 180));
  assert.deepEqual(await delivered(peer, 180), numbers(1, 180));
  assert.ok(peer.attempts.every(({ pdus }) => pdus.length <= 50));
  assert.equal(peer.mostAtOnce, 1);
  assert.equal(new Set(peer.attempts.map(({ txnId }) => txnId)).size, peer.attempts.length);
  assert.ok(peer.attempts.every(({ origin }) => origin === 'here.test'));
  await until(
    async () => (await destinations.pendingOf(server.ctx.db, peer.name, 1)).length === 0,
    'an empty outbox',
  );
});

test('a restart repeats the transaction that was not answered: same id, same PDUs; nothing is lost or doubled', async () => {
  for (const firstAnswer of ['hang', 'process and hang'] as const) {
    await using peer = await startReceiving(authority);
    await using server = await startSending(authority);
    const room = await importRoom(server.ctx, roomOf(ALICE, { members: [bobAt(peer)] }));
    peer.answers.push(firstAnswer);
    await sendMany(server, room, numbers(1, 70));
    await until(() => peer.attempts.length === 1);
    await sendMany(server, room, numbers(71, 90));
    await server.restart();
    assert.deepEqual(await delivered(peer, 90), numbers(1, 90), firstAnswer);
    const [first, second, third] = peer.attempts;
    assert.equal(second?.txnId, first?.txnId);
    assert.deepEqual(second?.pdus, first?.pdus);
    assert.deepEqual(second?.edus, []);
    assert.notEqual(third?.txnId, first?.txnId);
  }
});

test('events that were written and not yet queued when the process ended are delivered by the next one', async () => {
  await using peer = await startReceiving(authority);
  await using server = await startSending(authority);
  const room = await importRoom(server.ctx, roomOf(ALICE, { members: [bobAt(peer)] }));
  await server.sender[Symbol.asyncDispose]();
  await sendMany(server, room, numbers(1, 5));
  assert.equal(peer.attempts.length, 0);
  assert.equal((await events.outgoing(server.ctx.db, { after: 0, upto: 1e9, limit: 10 })).length, 5);
  await server.restart();
  assert.deepEqual(await delivered(peer, 5), numbers(1, 5));
  assert.deepEqual(await events.outgoing(server.ctx.db, { after: 0, upto: 1e9, limit: 10 }), []);
});

test('an outage loses nothing: the same transaction again, then the rest, at the first sign of life', async () => {
  await using peer = await startReceiving(authority);
  await using server = await startSending(authority);
  const room = await importRoom(server.ctx, roomOf(ALICE, { members: [bobAt(peer)] }));
  await peer.stop();
  await sendMany(server, room, numbers(1, 60));
  await until(async () => (await server.ctx.backoff.remainingMs(peer.name)) > 0, 'a back-off');
  await sendMany(server, room, numbers(61, 70));
  await peer.start();
  await signOfLife(server, peer);
  assert.deepEqual(await delivered(peer, 70), numbers(1, 70));
});

test('an error answer is no delivery, whatever its status; 200 with an error for a PDU is', async () => {
  await using peer = await startReceiving(authority);
  await using server = await startSending(authority);
  const room = await importRoom(server.ctx, roomOf(ALICE, { members: [bobAt(peer)] }));
  for (const status of [500, 401, 403, 404, 429]) {
    peer.answers.push({ status, json: { errcode: 'M_UNKNOWN', error: 'no' } });
    const attempts = peer.attempts.length;
    await sendText(server.ctx, room, ALICE, String(status));
    await until(() => peer.attempts.length > attempts);
    await until(async () => (await server.ctx.backoff.remainingMs(peer.name)) > 0, 'a back-off');
    await signOfLife(server, peer);
    await until(() => bodiesOf(peer.events).at(-1) === String(status));
  }
  peer.answers.push((response) => {
    const pdus = { $x: { error: 'not allowed' } };
    response.end(JSON.stringify({ pdus }));
  });
  await sendText(server.ctx, room, ALICE, 'refused');
  await until(
    async () => (await destinations.pendingOf(server.ctx.db, peer.name, 1)).length === 0,
    'an empty outbox',
  );
});

test('a transaction that is refused as malformed is divided until the one event is found', async () => {
  await using peer = await startReceiving(authority);
  await using server = await startSending(authority);
  const room = await importRoom(server.ctx, roomOf(ALICE, { members: [bobAt(peer)] }));
  const refuseBad = (): void => {
    peer.answers.length = 0;
    for (let count = 0; count < 12; count += 1)
      peer.answers.push({ status: 400, json: { errcode: 'M_BAD_JSON' } });
  };
  refuseBad();
  await sendMany(server, room, numbers(1, 4));
  // 4, 2 and 1 event are refused, the last three times; then it is set aside.
  for (let attempt = 1; attempt <= 5; attempt += 1) {
    await until(() => peer.attempts.length >= attempt, `attempt ${attempt}`);
    if (attempt === 5) peer.answers.length = 0;
    // Its parts follow at once: the server is up. The one event is given time.
    if (attempt < 3 || attempt === 5) continue;
    await until(async () => (await server.ctx.backoff.remainingMs(peer.name)) > 0, 'a back-off');
    await signOfLife(server, peer);
  }
  assert.deepEqual(await delivered(peer, 3), numbers(2, 4));
  assert.deepEqual(
    peer.attempts.slice(0, 5).map(({ pdus }) => pdus.length),
    [4, 2, 1, 1, 1],
  );
});

test('who gets an event: the servers in the room before or after it, and the target of a kick', async () => {
  await using first = await startReceiving(authority);
  await using second = await startReceiving(authority);
  await using server = await startSending(authority);
  const built = roomOf(ALICE, { join_rule: 'public', members: [bobAt(first)] });
  const room = await importRoom(server.ctx, built);
  await sendText(server.ctx, room, ALICE, 'before');
  await sendState(server.ctx, room, ALICE, {
    type: 'm.room.member',
    stateKey: bobAt(second),
    content: { membership: 'invite' },
  });
  await sendText(server.ctx, room, ALICE, 'invited');
  await sendState(server.ctx, room, ALICE, {
    type: 'm.room.member',
    stateKey: bobAt(second),
    content: { membership: 'leave', reason: 'rescinded' },
  });
  await sendState(server.ctx, room, ALICE, {
    type: 'm.room.member',
    stateKey: bobAt(first),
    content: { membership: 'leave', reason: 'kicked' },
  });
  await sendText(server.ctx, room, ALICE, 'after');
  await until(() => second.events.length > 0, 'the rescinded invitation');
  await until(() => first.events.length >= 5, 'all that the first server is to get');
  const kinds = (peer: ReceivingPeer) =>
    peer.events.map(({ type, content }) => {
      const { body, membership, reason } = content as Record<string, unknown>;
      return type === 'm.room.message' ? body : `${membership} ${reason ?? ''}`.trim();
    });
  assert.deepEqual(kinds(first), ['before', 'invite', 'invited', 'leave rescinded', 'leave kicked']);
  assert.deepEqual(kinds(second), ['leave rescinded']);
  await until(async () => (await destinations.pendingOf(server.ctx.db, first.name, 1)).length === 0);
  assert.deepEqual(kinds(first).includes('after'), false);
});

test('a server that joins gets what comes after its join, and nothing from before, though both are sent at once', async () => {
  await using peer = await startReceiving(authority);
  await using other = await startReceiving(authority);
  await using server = await startSending(authority);
  const built = roomOf(ALICE, { join_rule: 'public', members: [bobAt(other)] });
  const room = await importRoom(server.ctx, built);
  await server.sender[Symbol.asyncDispose]();
  const join = built.join(bobAt(peer));
  await sendText(server.ctx, room, ALICE, 'before the join');
  assert.equal((await receiveFrom(server.ctx, room, join)).kind, 'accepted');
  await sendText(server.ctx, room, ALICE, 'after the join');
  await server.restart();
  assert.deepEqual(await delivered(other, 2), ['before the join', 'after the join']);
  assert.deepEqual(await delivered(peer, 1), ['after the join']);
});

test('an event that was handed to us is forwarded to the others, and not to its origin', async () => {
  await using joining = await startReceiving(authority);
  await using other = await startReceiving(authority);
  await using server = await startSending(authority);
  const built = roomOf(ALICE, { join_rule: 'public', members: [bobAt(other)] });
  const room = await importRoom(server.ctx, built);
  const join = built.join(bobAt(joining));
  await receiveFrom(server.ctx, room, join, { as: 'live', relay: true });
  await until(() => other.events.length === 1);
  assert.equal(other.events[0]?.state_key, bobAt(joining));
  assert.deepEqual(joining.events, []);
});

test('rooms without other servers leave nothing to send', async () => {
  await using server = await startSending(authority);
  const room = await startedRoom(server.ctx, ALICE);
  await sendMany(server, room, numbers(1, 10));
  assert.deepEqual(await events.outgoing(server.ctx.db, { after: 0, upto: 1e9, limit: 10 }), []);
  assert.deepEqual(await destinations.withPending(server.ctx.db, '', 10), []);
});

test('at its start a server tells those it shares rooms with that it is up, by an empty transaction', async () => {
  await using peer = await startReceiving(authority);
  await using server = await startSending(authority);
  await importRoom(server.ctx, roomOf(ALICE, { members: [bobAt(peer)] }));
  assert.equal(peer.attempts.length, 0);
  await server.restart();
  await until(() => peer.attempts.length === 1);
  assert.deepEqual([peer.attempts[0]?.pdus, peer.attempts[0]?.edus], [[], []]);
});

test('m.typing: our users only, to the servers in the room', async () => {
  await using peer = await startReceiving(authority);
  await using server = await startSending(authority);
  const room = await importRoom(server.ctx, roomOf(ALICE, { members: [bobAt(peer)] }));
  const { typing } = server.ctx;
  typing.set({ roomId: room.roomId, userId: bobAt(peer), typing: true }, 30_000);
  typing.set({ roomId: room.roomId, userId: ALICE, typing: true }, 30_000);
  await until(() => peer.edus.length === 1);
  typing.set({ roomId: room.roomId, userId: ALICE, typing: false }, 0);
  await until(() => peer.edus.length === 2);
  const edu = (isTyping: boolean) => ({
    edu_type: 'm.typing',
    content: { room_id: room.roomId, user_id: ALICE, typing: isTyping },
  });
  assert.deepEqual(peer.edus, [edu(true), edu(false)]);
});

test('m.receipt: public receipts of our users, one EDU for each thread of a user; again after an outage', async () => {
  await using peer = await startReceiving(authority);
  await using server = await startSending(authority);
  const room = await importRoom(server.ctx, roomOf(ALICE, { members: [bobAt(peer)] }));
  const { eventId } = await sendText(server.ctx, room, ALICE, 'read me');
  await delivered(peer, 1);
  const set = (type: 'm.read' | 'm.read.private', userId: UserId, threadId: string, ts: number) =>
    server.ctx.db.write('test', (tx) =>
      receipts.set(tx, server.ctx.streams, room, { userId, type, threadId, eventId, ts }),
    );
  await peer.stop();
  await Promise.all([
    set('m.read', ALICE, '', 1),
    set('m.read', ALICE, 'main', 2),
    set('m.read.private', ALICE, '', 3),
    set('m.read', bobAt(peer), '', 4),
  ]);
  await until(async () => (await server.ctx.backoff.remainingMs(peer.name)) > 0, 'a back-off');
  await peer.start();
  await signOfLife(server, peer);
  await until(() => peer.edus.length === 2);
  const edu = (data: object) => ({
    edu_type: 'm.receipt',
    content: { [room.roomId]: { 'm.read': { [ALICE]: { event_ids: [eventId], data } } } },
  });
  assert.deepEqual(peer.edus, [edu({ ts: 1 }), edu({ ts: 2, thread_id: 'main' })]);
});

test('m.receipt: a receipt may be the first thing that a server ever gets', async () => {
  await using peer = await startReceiving(authority);
  await using server = await startSending(authority);
  const built = roomOf(ALICE, { members: [bobAt(peer)] });
  const room = await importRoom(server.ctx, built);
  const { eventId } = built.last;
  await server.ctx.db.write('test', (tx) =>
    receipts.set(tx, server.ctx.streams, room, {
      userId: ALICE,
      type: 'm.read',
      threadId: '',
      eventId,
      ts: 1,
    }),
  );
  await until(() => peer.edus.length === 1);
  assert.deepEqual(peer.attempts[0]?.pdus, []);
});

test('m.receipt: receipts of more threads than a transaction has room for come in several, each once', async () => {
  await using peer = await startReceiving(authority);
  await using server = await startSending(authority);
  const room = await importRoom(server.ctx, roomOf(ALICE, { members: [bobAt(peer)] }));
  const { eventId } = await sendText(server.ctx, room, ALICE, 'read me');
  await delivered(peer, 1);
  await peer.stop();
  const threads = Array.from({ length: 250 }, (_, index) => `$thread${String(index).padStart(3, '0')}`);
  await server.ctx.db.write('test', async (tx) => {
    for (const [ts, threadId] of threads.entries()) {
      const receipt = { userId: ALICE, type: 'm.read', threadId, eventId, ts } as const;
      await receipts.set(tx, server.ctx.streams, room, receipt);
    }
  });
  await until(async () => (await server.ctx.backoff.remainingMs(peer.name)) > 0, 'a back-off');
  await peer.start();
  await signOfLife(server, peer);
  await until(() => peer.edus.length >= threads.length);
  assert.ok(peer.attempts.every(({ edus }) => edus.length <= 100));
  const told = peer.edus.map((edu) => JSON.stringify(edu).match(/\$thread\d+/)?.[0]);
  assert.deepEqual(told, threads);
});
