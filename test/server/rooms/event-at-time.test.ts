/** https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidtimestamp_to_event */

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { isRoomId, isUserId } from '#keys/ids.ts';
import { sendEvent } from '#rooms/send.ts';
import { type Answer, register, type TestClient } from '#test/harness/client.ts';
import { inRoom } from '#test/harness/conversation.ts';
import { startServer, type TestServer } from '#test/harness/server.ts';

const START = 1_700_000_000_000;
let server: TestServer;
let alice: TestClient;
let bob: TestClient;
let now = START;

before(async () => {
  server = await startServer({ clock: { now: () => now } });
  [alice, bob] = await Promise.all([register(server), register(server)]);
});

after(() => server[Symbol.asyncDispose]());

function ask(user: TestClient, roomId: string, ts: number | string, dir: string): Promise<Answer> {
  return user.try('GET', `/_matrix/client/v1${inRoom(roomId)}/timestamp_to_event?ts=${ts}&dir=${dir}`);
}

async function found(user: TestClient, roomId: string, ts: number, dir: string): Promise<unknown> {
  const { status, body } = await ask(user, roomId, ts, dir);
  assert.equal(status, 200, JSON.stringify(body));
  return body.event_id;
}

/** As a bridge does that says when a message was sent. */
async function sendAt(roomId: string, ts: number, body: string): Promise<string> {
  assert.ok(isRoomId(roomId) && isUserId(alice.userId));
  const draft = {
    roomId,
    sender: alice.userId,
    type: 'm.room.message',
    content: { body },
    originServerTs: ts,
  };
  const sent = await sendEvent(server.ctx, draft);
  assert.equal(sent.kind, 'sent');
  return sent.kind === 'sent' ? sent.eventId : '';
}

/** A room with a message each second from the time it was made on. */
async function room(messages: number): Promise<{ roomId: string; made: number; sent: string[] }> {
  now += 10_000;
  const made = now;
  const roomId = await alice.createRoom();
  const sent: string[] = [];
  for (let count = 0; count < messages; count++) {
    now += 1_000;
    sent.push(await alice.send(roomId, `${count}`));
  }
  return { roomId, made, sent };
}

test('forwards the first event at that time or later, backwards the last one at that time or earlier', async () => {
  const { roomId, made, sent } = await room(20);
  for (let count = 0; count < 20; count++) {
    const at = made + (count + 1) * 1_000;
    assert.equal(await found(alice, roomId, at, 'f'), sent[count]);
    assert.equal(await found(alice, roomId, at, 'b'), sent[count]);
    assert.equal(await found(alice, roomId, at - 1, 'f'), sent[count]);
    assert.equal(await found(alice, roomId, at + 1, 'b'), sent[count]);
  }
  const { body } = await ask(alice, roomId, made + 1_500, 'f');
  assert.deepEqual(body, { event_id: sent[1], origin_server_ts: made + 2_000 });
});

test('there is nothing before the first event, nor after the last one', async () => {
  const { roomId, made } = await room(2);
  for (const answer of [await ask(alice, roomId, made - 1, 'b'), await ask(alice, roomId, now + 1, 'f')]) {
    assert.deepEqual([answer.status, answer.body.errcode], [404, 'M_NOT_FOUND']);
  }
});

test('of events of the same time: backwards the last in the timeline, forwards the first', async () => {
  const { roomId } = await room(2);
  const ts = now + 500;
  const first = await sendAt(roomId, ts, 'first');
  const second = await sendAt(roomId, ts, 'second');
  assert.deepEqual(
    [await found(alice, roomId, ts, 'b'), await found(alice, roomId, ts, 'f')],
    [second, first],
  );
});

test('events that came late, with a time long before the room, are found too', async () => {
  const { roomId, made, sent } = await room(10);
  const imported = await sendAt(roomId, made - 1_000_000, 'old');
  const future = await sendAt(roomId, made + 9_000_000, 'from the future');
  assert.equal(await found(alice, roomId, made - 1, 'b'), imported);
  assert.equal(await found(alice, roomId, made + 5_000, 'f'), sent[4]);
  assert.equal(await found(alice, roomId, made + 5_000, 'b'), sent[4]);
  assert.equal(await found(alice, roomId, now + 1, 'f'), future);
});

test('only events that the user may see are found', async () => {
  now += 10_000;
  const history = { type: 'm.room.history_visibility', content: { history_visibility: 'joined' } };
  const roomId = await alice.createRoom({ initial_state: [history] });
  now += 1_000;
  const unseen = await alice.send(roomId, 'before bob');
  const before = now;
  now += 1_000;
  await bob.join(roomId);
  now += 1_000;
  const seen = await alice.send(roomId, 'after bob');
  assert.equal(await found(bob, roomId, before + 1_001, 'f'), seen);
  assert.equal(await found(alice, roomId, before, 'b'), unseen);
  assert.notEqual(await found(bob, roomId, before, 'b'), unseen);
});

test('who is not in the room learns nothing of it; what is no time is refused', async () => {
  const { roomId } = await room(1);
  const priv = await alice.createRoom({ preset: 'private_chat' });
  for (const id of [roomId, priv, '!no:kurir.test']) assert.equal((await ask(bob, id, now, 'b')).status, 403);
  for (const [ts, dir] of [
    ['x', 'f'],
    ['', 'f'],
    ['-1', 'f'],
    ['1', 'up'],
    ['1', ''],
  ] as const) {
    assert.equal((await ask(alice, roomId, ts, dir)).status, 400, `${ts} ${dir}`);
  }
});
