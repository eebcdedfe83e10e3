/** The EDUs of a transaction beside its events: in order, on disk before the answer, and in nobody's way. */

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import type { JsonObject } from '#keys/json.ts';
import { getRoom } from '#rooms/room.ts';
import * as inboundTransactions from '#storage/inbound-transactions.ts';
import * as receipts from '#storage/receipts.ts';
import { type Body, register, type TestClient } from '#test/harness/client.ts';
import { untilMessages } from '#test/harness/conversation.ts';
import { startFleet } from '#test/harness/fleet.ts';
import { RoomPeer } from '#test/harness/room-peer.ts';

const lines: string[] = [];
const fleet = await startFleet(1, { logTo: (line) => lines.push(line) });
after(() => fleet[Symbol.asyncDispose]());
const server = fleet.at(0);

/** Another server with a room, and a user of ours in it. */
interface Guest {
  readonly peer: RoomPeer;
  readonly alice: TestClient;
}

async function peerWithGuest(): Promise<Guest> {
  const alice = await register(server);
  const peer = await new RoomPeer(fleet.authority).start();
  peer.makeRoom();
  await alice.join(peer.room.roomId, [peer.name]);
  return { peer, alice };
}

/** What the user's device was sent. */
async function inboxOf(alice: TestClient): Promise<number[]> {
  const { to_device: inbox } = await alice.sync();
  return (inbox?.events ?? []).map(({ content }: Body) => content.number);
}

function receiptEdu(peer: RoomPeer, eventId: string, { ts = 1, localpart = 'mallory' } = {}): JsonObject {
  const users = { [peer.user(localpart)]: { event_ids: [eventId], data: { ts } } };
  return { edu_type: 'm.receipt', content: { [peer.room.roomId]: { 'm.read': users } } };
}

function toDeviceEdu({ peer, alice }: Guest, messageId: string, number = 0, padding = ''): JsonObject {
  const messages = { [alice.userId]: { [alice.deviceId]: { number, padding } } };
  const content = { sender: peer.user('mallory'), type: 'm.test', message_id: messageId, messages };
  return { edu_type: 'm.direct_to_device', content };
}

function run(text: string): Promise<number> {
  return server.ctx.db.write('test', (tx) => tx.run({ name: '', text }));
}

/** Which event a user of the peer has read last. */
async function readBy(peer: RoomPeer, localpart = 'mallory'): Promise<string | undefined> {
  const room = await getRoom(server.ctx, peer.room.roomId);
  assert.ok(room);
  return (await receipts.ofUser(server.ctx.db, room.roomNid, peer.user(localpart)))[0]?.eventId;
}

test('the EDUs of a transaction are one write, and its events do not wait for more', async () => {
  const guest = await peerWithGuest();
  const { peer, alice } = guest;
  await using _ = peer;
  const { roomId } = peer.room;
  const eventIds: string[] = [];
  for (let count = 0; count < 20; count++) eventIds.push(await alice.send(roomId, `message ${count}`));
  const event = peer.room.message(peer.user('mallory'), 'beside');
  const edus = eventIds.flatMap((eventId) => [receiptEdu(peer, eventId), toDeviceEdu(guest, eventId)]);
  let news = 0;
  const stop = server.ctx.streams.subscribe(`room:${roomId}`, () => {
    news += 1;
  });
  const { status, body } = await peer.send(server, [event], { edus });
  stop();
  assert.deepEqual([status, body.pdus], [200, { [event.eventId]: {} }]);
  // Of the receipts once, and of the event.
  assert.ok(news <= 2, `news came ${news} times`);
  assert.equal(await readBy(peer), eventIds.at(-1));
  await untilMessages(alice, roomId, ['beside']);
  assert.equal((await inboxOf(alice)).length, 20);
});

test('of several EDUs that say different things the last counts, but a receipt does not move backwards', async () => {
  const guest = await peerWithGuest();
  const { peer, alice } = guest;
  await using _ = peer;
  const { roomId } = peer.room;
  const first = await alice.send(roomId, 'first');
  const second = await alice.send(roomId, 'second');
  await peer.send(server, [], {
    edus: [receiptEdu(peer, first), receiptEdu(peer, second), receiptEdu(peer, first)],
  });
  assert.equal(await readBy(peer), second);
  const edus = [toDeviceEdu(guest, 'a', 1), toDeviceEdu(guest, 'b', 2), toDeviceEdu(guest, 'a', 3)];
  await peer.send(server, [], { edus });
  await peer.send(server, [], { edus });
  assert.deepEqual(await inboxOf(alice), [1, 2]);
});

test('an EDU that cannot be written harms neither the EDUs and events beside it nor its transaction', async () => {
  const guest = await peerWithGuest();
  const { peer, alice } = guest;
  await using _ = peer;
  const { roomId } = peer.room;
  const bob = peer.user('bob');
  peer.room.join(bob);
  await peer.send(server, peer.room.heads);
  const read = await alice.send(roomId, 'read');
  // As a fault of ours would, by which the database does not take what the EDU holds.
  await run(
    `CREATE TRIGGER test_bad BEFORE INSERT ON receipts WHEN NEW.ts = 666
     BEGIN SELECT RAISE(FAIL, 'bad'); END`,
  );
  const event = peer.room.message(peer.user('mallory'), 'beside the bad one');
  const edus = [
    toDeviceEdu(guest, 'before', 1),
    receiptEdu(peer, read, { ts: 666 }),
    receiptEdu(peer, read, { localpart: 'bob' }),
    toDeviceEdu(guest, 'after', 2),
  ];
  const { status, body } = await peer.send(server, [event], { edus });
  await run('DROP TRIGGER test_bad');
  assert.deepEqual([status, body.pdus], [200, { [event.eventId]: {} }]);
  assert.equal(await readBy(peer), undefined);
  assert.equal(await readBy(peer, 'bob'), read);
  await untilMessages(alice, roomId, ['beside the bad one']);
  assert.deepEqual(await inboxOf(alice), [1, 2]);
  const told = lines.filter((line) => line.includes('"level":"error"'));
  assert.equal(told.length, 1, told.join('\n'));
  assert.ok(!told[0]?.includes('number'), 'content is in the log');
});

test('a transaction whose EDUs find no place on the disk is taken in whole when it comes again', async () => {
  const guest = await peerWithGuest();
  const { peer, alice } = guest;
  await using _ = peer;
  const read = await alice.send(peer.room.roomId, 'read');
  const pragma = (text: string) => server.ctx.db.write('test', (tx) => tx.all({ name: '', text }));
  const [pages] = await pragma('SELECT page_count AS n FROM pragma_page_count() ORDER BY n');
  const { n } = pages as unknown as { n: number };
  const event = peer.room.message(peer.user('mallory'), 'with a message to devices');
  const edus = [receiptEdu(peer, read), toDeviceEdu(guest, 'large', 7, 'x'.repeat(60_000))];
  await pragma(`PRAGMA max_page_count = ${n}`);
  const first = await peer.send(server, [event], { edus, txnId: 'whole' });
  await pragma('PRAGMA max_page_count = 1073741823');
  assert.equal(first.status, 507);
  assert.deepEqual(await inboxOf(alice), []);
  const second = await peer.send(server, [event], { edus, txnId: 'whole' });
  assert.equal(second.status, 200);
  assert.equal(await readBy(peer), read);
  await untilMessages(alice, peer.room.roomId, ['with a message to devices']);
  assert.deepEqual(await inboxOf(alice), [7]);
});

test('a transaction of EDUs alone is remembered, with a bad one among them too', async () => {
  const guest = await peerWithGuest();
  const { peer, alice } = guest;
  await using _ = peer;
  await run(
    `CREATE TRIGGER test_bad BEFORE INSERT ON inbound_to_device WHEN NEW.message_id = 'bad'
     BEGIN SELECT RAISE(FAIL, 'bad'); END`,
  );
  for (const ids of [['a'], ['b', 'bad', 'c']]) {
    const edus = ids.map((id) => toDeviceEdu(guest, id));
    const txnId = ids.join();
    assert.equal((await peer.send(server, [], { edus, txnId })).status, 200);
    assert.equal(await inboundTransactions.answerOf(server.ctx.db, peer.name, txnId), '{"pdus":{}}');
  }
  await run('DROP TRIGGER test_bad');
  assert.equal((await inboxOf(alice)).length, 3);
});
