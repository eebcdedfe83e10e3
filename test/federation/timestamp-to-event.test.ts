/** https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1timestamp_to_eventroomid */

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { loadEvent } from '#rooms/load.ts';
import { type Answer, type Body, register, type TestClient } from '#test/harness/client.ts';
import { inRoom, untilMember } from '#test/harness/conversation.ts';
import { startFleet } from '#test/harness/fleet.ts';
import { RoomPeer } from '#test/harness/room-peer.ts';
import { until } from '#test/harness/until.ts';

let now = Date.now();
const fleet = await startFleet(2, { clock: { now: () => now } });
after(() => fleet[Symbol.asyncDispose]());
const [one, two] = [fleet.at(0), fleet.at(1)];
const alice = await register(one, 'alice');
const bob = await register(two, 'bob');

function ask(user: TestClient, roomId: string, ts: number, dir: string): Promise<Answer> {
  return user.try('GET', `/_matrix/client/v1${inRoom(roomId)}/timestamp_to_event?ts=${ts}&dir=${dir}`);
}

interface Said {
  readonly eventId: string;
  readonly ts: number;
}

async function say(user: TestClient, roomId: string, count: number): Promise<Said[]> {
  const said: Said[] = [];
  for (let n = 0; n < count; n++) {
    now += 1_000;
    said.push({ eventId: await user.send(roomId, `${n}`), ts: now });
  }
  return said;
}

function idsIn(events: readonly Body[]): string[] {
  return events.map((event) => event.event_id);
}

test('an event from before the join is found by asking a server that was there, and read around', async () => {
  const roomId = await alice.createRoom();
  const said = await say(alice, roomId, 12);
  const [third, fourth, fifth] = said.slice(3, 6) as [Said, Said, Said];
  await bob.join(roomId, [one.serverName]);
  for (const [ts, dir] of [
    [fourth.ts - 500, 'f'],
    [fourth.ts + 500, 'b'],
  ] as const) {
    const { status, body } = await ask(bob, roomId, ts, dir);
    assert.equal(status, 200, JSON.stringify(body));
    assert.deepEqual(body, { event_id: fourth.eventId, origin_server_ts: fourth.ts });
  }
  const context = await bob.get(`${inRoom(roomId)}/context/${encodeURIComponent(fourth.eventId)}?limit=2`);
  assert.deepEqual(idsIn(context.events_before), [third.eventId]);
  assert.deepEqual(idsIn(context.events_after), [fifth.eventId]);
  const older = await bob.get(`${inRoom(roomId)}/messages?dir=b&limit=100&from=${context.start}`);
  const before = said.slice(0, 3).map(({ eventId }) => eventId);
  assert.deepEqual(idsIn(older.chunk).slice(0, 3), before.reverse());
  const newer = await bob.get(`${inRoom(roomId)}/messages?dir=f&limit=100&from=${context.end}`);
  const following = said.slice(6).map(({ eventId }) => eventId);
  assert.deepEqual(idsIn(newer.chunk).slice(0, following.length), following);
});

test('nobody is asked where no history is missing at that time', async () => {
  await using peer = await new RoomPeer(fleet.authority).start();
  const room = peer.makeRoom();
  await alice.join(room.roomId, [peer.name]);
  now += 60_000;
  const [first, second] = (await say(alice, room.roomId, 2)) as [Said, Said];
  assert.equal((await ask(alice, room.roomId, first.ts + 500, 'f')).body.event_id, second.eventId);
  assert.equal((await ask(alice, room.roomId, first.ts + 500, 'b')).body.event_id, first.eventId);
  assert.equal((await ask(alice, room.roomId, second.ts + 500, 'f')).status, 404);
  assert.deepEqual(peer.asked('/timestamp_to_event/'), []);
});

test('a server is told events that it may see, of rooms that it is in, and nothing else', async () => {
  const roomId = await alice.createRoom({
    initial_state: [{ type: 'm.room.history_visibility', content: { history_visibility: 'joined' } }],
  });
  const [unseen] = (await say(alice, roomId, 1)) as [Said];
  await using peer = await new RoomPeer(fleet.authority).start();
  const path = (id: string, query: string) =>
    `/_matrix/federation/v1/timestamp_to_event/${encodeURIComponent(id)}?${query}`;
  for (const id of [roomId, '!no:x.test']) {
    const { status, body } = await peer.request(one, { path: path(id, `ts=${now}&dir=b`) });
    assert.deepEqual([status, body.errcode], [403, 'M_FORBIDDEN']);
  }
  now += 1_000;
  await bob.join(roomId, [one.serverName]);
  const [seen] = (await say(alice, roomId, 1)) as [Said];
  const answersSeen = async () => (await ask(bob, roomId, seen.ts, 'f')).body.event_id === seen.eventId;
  await until(answersSeen, 'that the event has arrived');
  const { body } = await ask(bob, roomId, unseen.ts, 'f');
  assert.notEqual(body.event_id, unseen.eventId);

  const room = peer.makeRoom();
  await alice.join(room.roomId, [peer.name]);
  const last = await peer.request(one, { path: path(room.roomId, `ts=${Date.now() + 1e10}&dir=b`) });
  assert.equal(last.status, 200);
  for (const query of ['dir=b', 'ts=1', 'ts=x&dir=b', 'ts=-1&dir=b', 'ts=1&dir=up']) {
    assert.equal((await peer.request(one, { path: path(room.roomId, query) })).status, 400, query);
  }
  const none = await peer.request(one, { path: path(room.roomId, 'ts=1&dir=b') });
  assert.deepEqual([none.status, none.body.errcode], [404, 'M_NOT_FOUND']);
});

test('what a hostile server names is not believed: another side, another time, another room, no event', async () => {
  await using peer = await new RoomPeer(fleet.authority).start();
  const room = peer.makeRoom();
  const mallory = peer.user('mallory');
  const early = room.message(mallory, 'early');
  const hidden = room.message(mallory, 'never to be had');
  await alice.join(room.roomId, [peer.name]);
  const nearest = (await ask(alice, room.roomId, 0, 'f')).body.event_id;
  const answers: unknown[] = [
    { event_id: early.eventId, origin_server_ts: 5 },
    { event_id: early.eventId, origin_server_ts: early.originServerTs + 1 },
    { event_id: 'early', origin_server_ts: early.originServerTs },
    { event_id: '$nobody-has-it', origin_server_ts: early.originServerTs },
    { event_id: hidden.eventId, origin_server_ts: hidden.originServerTs },
    {},
    [],
  ];
  peer.hidden.add(hidden.eventId);
  const asking = async (answer: unknown, ts: number) => {
    peer.script = ({ url }) =>
      url.includes('/timestamp_to_event/') ? (response) => response.end(JSON.stringify(answer)) : undefined;
    const { status, body } = await ask(alice, room.roomId, ts, 'f');
    assert.deepEqual([status, body.event_id], [200, nearest], JSON.stringify(answer));
    assert.equal(await loadEvent(one.ctx, early.eventId), undefined);
  };
  for (const answer of answers) await asking(answer, 10);
  await asking({ event_id: early.eventId, origin_server_ts: early.originServerTs }, early.originServerTs + 1);
});

test('an event that no fetched history leads back to is had by itself, with what is before it', async () => {
  await using peer = await new RoomPeer(fleet.authority).start();
  const room = peer.makeRoom();
  const mallory = peer.user('mallory');
  const before = room.message(mallory, 'before it');
  const wanted = room.message(mallory, 'long ago');
  for (let n = 0; n < 30; n++) room.message(mallory, `between ${n}`);
  peer.script = (request) => {
    if (request.url.includes('/timestamp_to_event/')) {
      return { json: { event_id: wanted.eventId, origin_server_ts: wanted.originServerTs } };
    }
    // Nothing leads back to it: the history between cannot be had.
    const asked = new URL(request.url, 'https://peer').searchParams.getAll('v');
    if (request.url.includes('/backfill/') && !asked.includes(wanted.eventId)) return { json: { pdus: [] } };
    return undefined;
  };
  await alice.join(room.roomId, [peer.name]);
  const { body } = await ask(alice, room.roomId, wanted.originServerTs, 'f');
  assert.equal(body.event_id, wanted.eventId, JSON.stringify(body));
  const path = `${inRoom(room.roomId)}/context/${encodeURIComponent(wanted.eventId)}?limit=2`;
  const context = await alice.get(path);
  assert.deepEqual(idsIn(context.events_before), [before.eventId]);
});

test('row 106: a server that was never in a room, or is no more, learns no event of it by a time', async () => {
  await using peer = await new RoomPeer(fleet.authority).start();
  await using stranger = await new RoomPeer(fleet.authority).start();
  const room = peer.makeRoom();
  const mallory = peer.user('mallory');
  await alice.join(room.roomId, [peer.name]);
  await say(alice, room.roomId, 1);
  const times = [0, 1, now, now + 1e9];
  const asked = async (by: RoomPeer, roomId: string) => {
    const path = `/_matrix/federation/v1/timestamp_to_event/${encodeURIComponent(roomId)}`;
    const queries = times.flatMap((ts) => ['f', 'b'].map((dir) => `ts=${ts}&dir=${dir}`));
    return Promise.all(queries.map((query) => by.request(one, { path: `${path}?${query}` })));
  };
  assert.ok((await asked(peer, room.roomId)).some(({ status }) => status === 200));
  const never = await asked(stranger, room.roomId);
  const invented = await asked(stranger, '!nothing:x.test');
  assert.deepEqual(never, invented);
  const gone = room.leave(mallory);
  const { body } = await peer.send(one, [gone]);
  assert.deepEqual(body.pdus[gone.eventId], {});
  await untilMember(alice, room.roomId, mallory, 'leave');
  for (const answers of [never, await asked(peer, room.roomId)]) {
    for (const answer of answers)
      assert.deepEqual([answer.status, answer.body.errcode], [403, 'M_FORBIDDEN']);
  }
});
