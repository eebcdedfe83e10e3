/** What outlives an outage, a restart and a server that refuses: EDUs of the outbox, catch-up, and the ledger. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { detailLines, listLines } from '#federation/outbound/ledger.ts';
import type { EventId, UserId } from '#keys/ids.ts';
import type { Room } from '#rooms/room.ts';
import { sendEvents } from '#rooms/send.ts';
import * as destinations from '#storage/destinations.ts';
import * as eduOutbox from '#storage/edu-outbox.ts';
import { createAuthority } from '#test/harness/certificates.ts';
import {
  bodiesOf,
  enqueueNamed,
  namedEdu,
  namesOf,
  type ReceivingPeer,
  type SendingServer,
  startReceiving,
  startSending,
} from '#test/harness/outbound.ts';
import { roomOf } from '#test/harness/room-builder.ts';
import { importRoom, sendState, sendText } from '#test/harness/rooms.ts';
import { until } from '#test/harness/until.ts';

const ALICE: UserId = '@alice:here.test';
const authority = await createAuthority();

const bobAt = (peer: ReceivingPeer): UserId => `@bob:${peer.name}`;

async function sendMany({ ctx }: SendingServer, room: Room, count: number): Promise<void> {
  for (let sent = 0; sent < count; sent += 100) {
    const drafts = Array.from({ length: Math.min(100, count - sent) }, (_, index) => ({
      roomId: room.roomId,
      sender: ALICE,
      type: 'm.room.message',
      content: { msgtype: 'm.text', body: `${sent + index}` },
    }));
    const results = await sendEvents(ctx, room.roomId, drafts);
    assert.ok(results.every(({ kind }) => kind === 'sent'));
  }
}

const failing = (server: SendingServer, peer: ReceivingPeer) =>
  until(async () => (await server.ctx.backoff.remainingMs(peer.name)) > 0, 'a back-off');

const emptied = (server: SendingServer, peer: ReceivingPeer) =>
  until(async () => {
    const { db } = server.ctx;
    const left = [
      ...(await destinations.pendingOf(db, peer.name, 1)),
      ...(await eduOutbox.pendingOf(db, peer.name, 1)),
    ];
    const row = await destinations.of(db, peer.name);
    return left.length === 0 && row?.behindAfter === undefined && row?.transaction === undefined;
  }, 'an empty outbox');

test('queued EDUs: in order, at most 100 in a transaction, through an outage and a restart, none lost or doubled', async () => {
  await using peer = await startReceiving(authority);
  await using server = await startSending(authority);
  await peer.stop();
  const names = Array.from({ length: 230 }, (_, index) => `${index}`);
  for (const name of names.slice(0, 120)) await enqueueNamed(server, peer, name);
  await failing(server, peer);
  await server.restart();
  for (const name of names.slice(120)) await enqueueNamed(server, peer, name);
  await peer.start();
  await server.ctx.backoff.succeeded(peer.name);
  await emptied(server, peer);
  assert.deepEqual(namesOf(peer.edus), names);
  assert.ok(peer.attempts.every(({ edus }) => edus.length <= 100));
});

test('a queued EDU takes the place of an earlier one with its key, but not of one that may have arrived', async () => {
  await using peer = await startReceiving(authority);
  await using server = await startSending(authority);
  peer.answers.push('process and hang');
  await enqueueNamed(server, peer, 'presence 1', 'presence');
  await until(() => peer.attempts.length === 1);
  for (const name of ['presence 2', 'presence 3']) await enqueueNamed(server, peer, name, 'presence');
  await enqueueNamed(server, peer, 'message');
  await enqueueNamed(server, peer, 'presence 4', 'presence');
  await server.restart();
  await emptied(server, peer);
  assert.equal(peer.attempts[1]?.txnId, peer.attempts[0]?.txnId);
  assert.deepEqual(peer.attempts[1]?.edus, peer.attempts[0]?.edus, 'the same transaction again');
  assert.deepEqual(namesOf(peer.edus), ['presence 1', 'message', 'presence 4']);
});

test('a write that is undone queues no EDU', async () => {
  await using peer = await startReceiving(authority);
  await using server = await startSending(authority);
  const undone = server.ctx.db.write('test', async (tx) => {
    await server.sender.enqueueEdu(tx, [peer.name], { edu: namedEdu('undone') });
    throw new Error('undone');
  });
  await assert.rejects(undone, /undone/);
  await enqueueNamed(server, peer, 'done');
  await emptied(server, peer);
  assert.deepEqual(namesOf(peer.edus), ['done']);
});

test('an EDU that a server always calls malformed is set aside: events and other EDUs arrive', async () => {
  await using peer = await startReceiving(authority);
  await using server = await startSending(authority);
  const room = await importRoom(server.ctx, roomOf(ALICE, { members: [bobAt(peer)] }));
  peer.refuses = (transaction) => namesOf(transaction.edus).includes('bad');
  await peer.stop();
  for (const name of ['1', 'bad', '2']) await enqueueNamed(server, peer, name);
  await sendText(server.ctx, room, ALICE, 'hello');
  await failing(server, peer);
  await peer.start();
  const signs = setInterval(() => server.ctx.backoff.succeeded(peer.name), 50);
  await emptied(server, peer).finally(() => clearInterval(signs));
  assert.deepEqual(namesOf(peer.edus), ['1', '2']);
  assert.deepEqual(bodiesOf(peer.events), ['hello']);
});

test('a server that calls everything malformed is not at fault for its events: at most three are set aside', async () => {
  await using peer = await startReceiving(authority);
  await using server = await startSending(authority);
  const room = await importRoom(server.ctx, roomOf(ALICE, { members: [bobAt(peer)] }));
  peer.refuses = () => true;
  await sendMany(server, room, 8);
  const signs = setInterval(() => server.ctx.backoff.succeeded(peer.name), 20);
  await until(() => peer.attempts.length > 40, 'many attempts').finally(() => clearInterval(signs));
  assert.equal((await destinations.pendingOf(server.ctx.db, peer.name, 50)).length, 5);
});

test('429: the server is left alone for as long as it asks', async () => {
  await using peer = await startReceiving(authority);
  await using server = await startSending(authority);
  const room = await importRoom(server.ctx, roomOf(ALICE, { members: [bobAt(peer)] }));
  const json = { errcode: 'M_LIMIT_EXCEEDED', error: 'Slow down', retry_after_ms: 600_000 };
  peer.answers.push({ status: 429, json });
  await sendText(server.ctx, room, ALICE, 'hello');
  await failing(server, peer);
  const wait = await server.ctx.backoff.remainingMs(peer.name);
  assert.ok(wait > 590_000 && wait <= 600_000, `${wait} ms`);
  await until(async () =>
    (await detail(server, peer)).some((line) => line.includes('asks to be left alone')),
  );
  assert.equal(peer.attempts.length, 1);
});

test('F25: latest: a server that missed more than 1,000 events gets the newest of each room, then what comes after', async () => {
  await using peer = await startReceiving(authority);
  await using server = await startSending(authority);
  const room = await importRoom(server.ctx, roomOf(ALICE, { members: [bobAt(peer)] }));
  const silent = await importRoom(server.ctx, roomOf(ALICE, { members: [bobAt(peer)], create: { n: 2 } }));
  await sendText(server.ctx, silent, ALICE, 'before the outage');
  await until(() => peer.events.length === 1);
  await peer.stop();
  await sendMany(server, room, 60);
  await failing(server, peer);
  await sendMany(server, room, 1_400);
  await until(
    async () => (await destinations.of(server.ctx.db, peer.name))?.behindAfter !== undefined,
    'an outbox that was cut',
  );
  const kept = await destinations.pendingOf(server.ctx.db, peer.name, 2_000);
  assert.ok(kept.length <= 1_000, `${kept.length} rows`);
  await sendMany(server, room, 100);
  const newest = await sendText(server.ctx, room, ALICE, 'the newest');
  await server.restart();
  await peer.start();
  await server.ctx.backoff.succeeded(peer.name);
  await emptied(server, peer);
  await until(() => bodiesOf(peer.events).at(-1) === 'the newest');
  const [held, ...rest] = peer.attempts.filter(({ pdus }) => pdus.length > 0).slice(1);
  assert.equal(held?.pdus.length, 50, 'the transaction that was under way');
  assert.deepEqual(
    rest.map(({ pdus }) => bodiesOf(pdus)),
    [['the newest']],
  );
  assert.ok(newest.eventId);
  await sendText(server.ctx, room, ALICE, 'live again');
  await until(() => bodiesOf(peer.events).at(-1) === 'live again');
});

test('latest: what a server cannot fetch stays queued: all it missed of a room it was removed from, rescinded invitations', async () => {
  await using peer = await startReceiving(authority);
  await using server = await startSending(authority);
  const lost = await importRoom(server.ctx, roomOf(ALICE, { members: [bobAt(peer)] }));
  const busy = await importRoom(server.ctx, roomOf(ALICE, { members: [bobAt(peer)], create: { n: 2 } }));
  const other = await importRoom(server.ctx, roomOf(ALICE, { create: { n: 3 } }));
  const change = (room: Room, membership: string) =>
    sendState(server.ctx, room, ALICE, {
      type: 'm.room.member',
      stateKey: bobAt(peer),
      content: { membership },
    });
  await peer.stop();
  await sendText(server.ctx, lost, ALICE, 'early');
  await failing(server, peer);
  await sendMany(server, busy, 1_100);
  await until(
    async () => (await destinations.of(server.ctx.db, peer.name))?.behindAfter !== undefined,
    'an outbox that was cut',
  );
  await sendText(server.ctx, lost, ALICE, 'late');
  await change(lost, 'leave');
  await sendText(server.ctx, lost, ALICE, 'not for them');
  await change(other, 'invite');
  await change(other, 'leave');
  await peer.start();
  await server.ctx.backoff.succeeded(peer.name);
  await emptied(server, peer);
  const got = peer.events.map(({ room_id, type, content }) => {
    const { body, membership } = content as Record<string, string>;
    const name = room_id === lost.roomId ? 'lost' : room_id === busy.roomId ? 'busy' : 'other';
    return `${name} ${type === 'm.room.member' ? membership : body}`;
  });
  assert.deepEqual(
    got.filter((line) => !line.startsWith('busy')),
    ['lost early', 'lost late', 'lost leave', 'other leave'],
  );
  assert.equal(got.at(-1), 'busy 1099');
});

test('full: a partner whose profile asks for it gets every event in order, however many', async () => {
  await using peer = await startReceiving(authority);
  await using server = await startSending(authority, { replayOf: () => 'full' });
  const room = await importRoom(server.ctx, roomOf(ALICE, { members: [bobAt(peer)] }));
  await peer.stop();
  await sendMany(server, room, 100);
  await failing(server, peer);
  await sendMany(server, room, 1_500);
  await peer.start();
  await server.restart();
  await emptied(server, peer);
  const expected = [...Array(100).keys(), ...Array(1_500).keys()].map(String);
  assert.deepEqual(bodiesOf(peer.events), expected);
  assert.equal(peer.mostAtOnce, 1);
});

async function detail({ ctx }: SendingServer, peer: ReceivingPeer): Promise<string[]> {
  return (await detailLines(ctx.db, peer.name, ctx.clock.now())) ?? [];
}

test('the ledger: what was delivered, what the server refused for which reason, what waits since when and why', async () => {
  await using peer = await startReceiving(authority);
  await using server = await startSending(authority);
  const room = await importRoom(server.ctx, roomOf(ALICE, { members: [bobAt(peer)] }));
  await sendText(server.ctx, room, ALICE, 'fine');
  await until(() => peer.attempts.length === 1);
  await emptied(server, peer);
  const bad = await refuseNext(server, peer, room);
  await until(() => peer.attempts.length === 2);
  await emptied(server, peer);
  const lines = await detail(server, peer);
  assert.equal(lines[0], `${peer.name}: up to date`);
  assert.ok(lines.includes('Delivered: 1 events; refused: 1.'), lines.join('\n'));
  assert.match(lines.at(-1) ?? '', new RegExp(`: \\${bad}: not allowed here$`));
  await peer.stop();
  await sendText(server.ctx, room, ALICE, 'waits');
  await failing(server, peer);
  const listed = async () =>
    (await listLines(server.ctx.db, { after: '', limit: 10, now: server.ctx.clock.now() })).lines;
  await until(async () => (await listed())[0]?.includes('connection refused') === true, 'a fault');
  assert.match(
    (await listed())[0] ?? '',
    /^localhost:\d+ {2}connection refused, for .+; 1 wait, since .+ ago$/,
  );
  const away = await detail(server, peer);
  assert.ok(
    away.some((line) => line.startsWith('What to do: nothing listens there')),
    away.join('\n'),
  );
  await peer.start();
  await server.ctx.backoff.succeeded(peer.name);
  await emptied(server, peer);
  assert.match((await listed())[0] ?? '', /up to date$/);
});

/** Sends an event that the peer answers for with an error; its id. */
async function refuseNext(server: SendingServer, peer: ReceivingPeer, room: Room): Promise<EventId> {
  let sent: EventId | undefined;
  peer.answers.push((response) => {
    // The id is known once the send has answered, which may be after the transaction has arrived.
    until(() => sent !== undefined).then(() => {
      const pdus = { [sent ?? '']: { error: 'not allowed here' } };
      response.end(JSON.stringify({ pdus }));
    });
  });
  sent = (await sendText(server.ctx, room, ALICE, 'bad')).eventId;
  return sent;
}
