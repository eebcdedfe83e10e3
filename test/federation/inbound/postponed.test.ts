/** Events that were answered for, and of which something could not be asked for, come when it can. */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import type { Event } from '#rooms/event.ts';
import { loadEvent } from '#rooms/load.ts';
import * as eduOutbox from '#storage/edu-outbox.ts';
import * as postponedEvents from '#storage/postponed-events.ts';
import * as stagedEvents from '#storage/staged-events.ts';
import { register } from '#test/harness/client.ts';
import { bringIn, messagesOf, untilMember, untilMessages } from '#test/harness/conversation.ts';
import { startFleet } from '#test/harness/fleet.ts';
import type { PeerAnswer } from '#test/harness/peer.ts';
import { RoomPeer, type Script } from '#test/harness/room-peer.ts';
import { until } from '#test/harness/until.ts';

const SECOND_MS = 1_000;
const HOUR_MS = 3_600 * SECOND_MS;
const WAITS_MS = [5, 30, 120, 600, 3_600, 21_600].map((seconds) => seconds * SECOND_MS);

const LOSE = { name: '', text: 'DELETE FROM outbox WHERE seq > 0' };

/** It stands still until it is set: turns come when a test wants them. The keys of peers are valid all the time. */
const clock = { ts: Date.now() - 24 * HOUR_MS, now: () => clock.ts };
const fleet = await startFleet(1, { clock });
after(() => fleet[Symbol.asyncDispose]());
const server = fleet.at(0);
const alice = await register(server, 'alice');

const cutOff: PeerAnswer = (response) => void response.destroy();
const fault: PeerAnswer = { status: 500, json: {} };
const refusal: PeerAnswer = { status: 404, json: { errcode: 'M_NOT_FOUND', error: 'No such event' } };

/** Of a peer that has nothing of a room but its own events. */
const keysOnly: Script = ({ url }) => (url.includes('/_matrix/key/') ? undefined : refusal);

/** A peer with a room that our user is in. */
async function peerWithGuest(): Promise<RoomPeer> {
  const peer = await new RoomPeer(fleet.authority).start();
  peer.makeRoom();
  await alice.join(peer.room.roomId, [peer.name]);
  return peer;
}

/** What the peer answers whoever asks for what an event refers to. */
function answerWith(peer: RoomPeer, answer: PeerAnswer): void {
  peer.script = ({ url }) =>
    /\/(get_missing_events|state_ids|state|event|event_auth)\//.test(url) ? answer : undefined;
}

/** Messages after one that the server does not get. */
function messagesAfterGap(peer: RoomPeer, bodies: readonly string[]): Event[] {
  const mallory = peer.user('mallory');
  peer.room.message(mallory, 'missed');
  return bodies.map((body) => peer.room.message(mallory, body));
}

/** The events of the peer's room that are to have another turn. */
async function postponed(peer: RoomPeer): Promise<postponedEvents.PostponedRow[]> {
  const all = { now: Number.MAX_SAFE_INTEGER, limit: 1_000 };
  return postponedEvents.due(server.ctx.db, peer.room.roomId, all);
}

async function untilPostponed(peer: RoomPeer, count: number, turns = 1): Promise<void> {
  const isSo = async () => (await postponed(peer)).filter((row) => row.turns === turns).length === count;
  await until(isSo, `that ${count} events have had ${turns} turns`);
  assert.deepEqual(await stagedEvents.next(server.ctx.db, peer.room.roomId, 1), [], 'the line is empty');
}

/** Waits until a peer has taken what the server had to tell it of the devices of those it has come to share a room with. */
async function untilTold(peer: RoomPeer): Promise<void> {
  const isTold = async () =>
    peer.asked('/send/').length > 0 && (await eduOutbox.pendingOf(server.ctx.db, peer.name, 1)).length === 0;
  await until(isTold, 'that the peer is told of the devices');
}

/** A transaction that brings nothing but a sign of life. */
async function showLife(peer: RoomPeer): Promise<void> {
  assert.equal((await peer.send(server, [])).status, 200);
}

test('two servers: what lies before the newest event cannot be asked for when it comes, and is there later without another event', async () => {
  await using servers = await startFleet(2, { hasNetwork: true });
  const { network } = servers;
  const [here, there] = [servers.at(0), servers.at(1)];
  const [host, guest, newcomer] = [await register(here), await register(there), await register(there)];
  const roomId = await host.createRoom({ preset: 'public_chat' });
  await bringIn(host, guest, roomId);
  await untilMember(host, roomId, guest.userId, 'join');
  network.split([[here.serverName], [there.serverName]]);
  await newcomer.join(roomId);
  for (const body of ['1', '2', '3', '4']) await guest.send(roomId, body);
  // As where a server has missed so much that it gets the newest event only.
  const outbox = await there.ctx.db.write('test', (tx) => tx.run(LOSE));
  assert.ok(outbox > 0);
  network.heal();
  network.cut(here.serverName, there.serverName);
  await guest.send(roomId, 'newest');
  const isWaiting = async () => (await postponedEvents.nextTurn(here.ctx.db, 0)) !== undefined;
  await until(isWaiting, 'that the newest event waits');
  assert.deepEqual(await messagesOf(host, roomId), []);
  network.heal();
  const seen = await untilMessages(host, roomId, ['newest']);
  assert.deepEqual(seen, ['1', '2', '3', '4', 'newest']);
  await untilMember(host, roomId, newcomer.userId, 'join');
});

test('an event whose server was cut off when it was asked holds up nobody, and comes at its next sign of life', async () => {
  await using peer = await peerWithGuest();
  await using other = await new RoomPeer(fleet.authority).start();
  const { room } = peer;
  const fork = room.fork();
  const oscar = other.user('oscar');
  other.script = keysOnly;
  const sent = messagesAfterGap(peer, ['waits', 'waits too']);
  answerWith(peer, cutOff);
  await peer.send(server, sent);
  await untilPostponed(peer, 2);
  // The room goes on, from us and from others.
  await alice.send(room.roomId, 'our own');
  const join = fork.join(oscar);
  await other.send(server, [join, fork.message(oscar, 'of others')]);
  await untilMessages(alice, room.roomId, ['our own', 'of others']);
  assert.equal((await postponed(peer)).length, 2);
  peer.script = () => undefined;
  await showLife(peer);
  const bodies = ['missed', 'waits', 'waits too'];
  assert.deepEqual(
    (await untilMessages(alice, room.roomId, bodies)).filter((body) => bodies.includes(body)),
    bodies,
  );
  await untilPostponed(peer, 0);
});

test('a sign of life of a server that goes away again takes none of the turns that count, and asks nobody else', async () => {
  await using peer = await peerWithGuest();
  await using other = await new RoomPeer(fleet.authority).start();
  const join = peer.room.join(other.user('oscar'));
  await peer.send(server, [join]);
  await until(async () => (await loadEvent(server.ctx, join.eventId))?.position !== undefined);
  // What the server tells those who have come to share a room; taken later it would be a sign of life, too.
  await untilTold(peer);
  other.script = keysOnly;
  answerWith(peer, cutOff);
  await peer.send(server, messagesAfterGap(peer, ['waits']));
  await untilPostponed(peer, 1);
  const askedOthers = other.peer.requests.length;
  const [before] = await postponed(peer);
  for (let times = 0; times < 8; times++) {
    const asked = peer.asked('/get_missing_events/').length;
    const isAway = async () => (await server.ctx.backoff.failingSince(peer.name)) !== undefined;
    await until(async () => {
      // One that falls amid a turn, of which the outage comes after it, is followed by another one.
      if (await isAway()) await showLife(peer);
      return peer.asked('/get_missing_events/').length > asked;
    }, 'that it is asked');
    await until(isAway, 'the outage');
  }
  await until(
    async () => (await postponed(peer)).every(({ isCalled }) => !isCalled),
    'that the last one is heard',
  );
  await untilPostponed(peer, 1);
  assert.deepEqual(await postponed(peer), [{ ...before, isCalled: false }]);
  assert.equal(other.peer.requests.length, askedOthers);
});

test('an event waits across a restart, and comes when its turn has come', async () => {
  await using peer = await peerWithGuest();
  answerWith(peer, fault);
  await peer.send(server, messagesAfterGap(peer, ['waits']));
  await untilPostponed(peer, 1);
  await server.restart();
  await untilPostponed(peer, 1);
  peer.script = () => undefined;
  await server.stop();
  clock.ts += WAITS_MS[0] ?? 0;
  await server.start();
  await untilMessages(alice, peer.room.roomId, ['missed', 'waits']);
  await untilPostponed(peer, 0);
});

test('an event that is handed over again takes its turn at once', async () => {
  await using peer = await peerWithGuest();
  answerWith(peer, fault);
  const events = messagesAfterGap(peer, ['waits']);
  await peer.send(server, events);
  await untilPostponed(peer, 1);
  peer.script = () => undefined;
  const { body } = await peer.send(server, events);
  assert.deepEqual(Object.values(body.pdus), [{}]);
  await untilMessages(alice, peer.room.roomId, ['missed', 'waits']);
  await untilPostponed(peer, 0);
});

test('an event that a later one fetches waits no longer', async () => {
  await using peer = await peerWithGuest();
  answerWith(peer, fault);
  await peer.send(server, messagesAfterGap(peer, ['waits']));
  await untilPostponed(peer, 1);
  peer.script = () => undefined;
  await peer.send(server, [peer.room.message(peer.user('mallory'), 'later')]);
  const seen = await untilMessages(alice, peer.room.roomId, ['later']);
  assert.deepEqual(seen, ['missed', 'waits', 'later']);
  const asked = peer.asked('/get_missing_events/').length;
  clock.ts += WAITS_MS[0] ?? 0;
  await untilPostponed(peer, 0);
  assert.equal(peer.asked('/get_missing_events/').length, asked, 'nothing more is asked for');
});

test('an event is given up at once where servers answer that they do not have what it refers to', async () => {
  await using peer = await peerWithGuest();
  answerWith(peer, refusal);
  const [stray] = messagesAfterGap(peer, ['stray']);
  assert.ok(stray);
  await peer.send(server, [stray]);
  const isInLine = async () => (await stagedEvents.next(server.ctx.db, peer.room.roomId, 1)).length > 0;
  await until(async () => peer.asked('/state_ids/').length > 0 && !(await isInLine()));
  assert.deepEqual(await postponed(peer), []);
  assert.equal(await loadEvent(server.ctx, stray.eventId), undefined);
});

test('an event that waited is given up when servers answer at last that they do not have what it refers to', async () => {
  await using peer = await peerWithGuest();
  answerWith(peer, fault);
  const events = messagesAfterGap(peer, ['stray']);
  await peer.send(server, events);
  await untilPostponed(peer, 1);
  answerWith(peer, refusal);
  clock.ts += WAITS_MS[0] ?? 0;
  await peer.send(server, events);
  await untilPostponed(peer, 0);
  assert.deepEqual(await messagesOf(alice, peer.room.roomId), []);
});

test('an event of which nobody tells has a turn after each of the waits, and is then given up', async () => {
  await using peer = await peerWithGuest();
  answerWith(peer, fault);
  const events = messagesAfterGap(peer, ['stray']);
  await peer.send(server, events);
  for (const [index, wait] of WAITS_MS.entries()) {
    await untilPostponed(peer, 1, index + 1);
    const [row] = await postponed(peer);
    assert.equal(row?.turnTs, clock.ts + wait);
    clock.ts += wait;
    // It makes us look at the clock.
    await peer.send(server, events);
  }
  await until(async () => (await postponed(peer)).length === 0);
  assert.deepEqual(await messagesOf(alice, peer.room.roomId), []);
  // And it may come again.
  peer.script = () => undefined;
  await peer.send(server, events);
  await untilMessages(alice, peer.room.roomId, ['missed', 'stray']);
});

test('no more than the newest 20 events of a server wait in a room', async () => {
  await using peer = await peerWithGuest();
  answerWith(peer, fault);
  const mallory = peer.user('mallory');
  const strays = Array.from({ length: 25 }, (_, index) => {
    const line = peer.room.fork();
    line.message(mallory, `hidden ${index}`);
    return line.message(mallory, `stray ${index}`);
  });
  for (const stray of strays) await peer.send(server, [stray]);
  const newest = strays.slice(-20).map(({ eventId }) => eventId);
  const isSo = async () => (await postponed(peer)).map(({ eventId }) => eventId).join() === newest.join();
  await until(isSo, 'that the newest wait');
  await untilPostponed(peer, 20);
  // The others of the room do not notice.
  await alice.send(peer.room.roomId, 'our own');
  assert.deepEqual(await messagesOf(alice, peer.room.roomId), ['our own']);
});

test('an event that is to be verified again after a restart waits for keys that nobody gives', async () => {
  await using peer = await peerWithGuest();
  // The server is stopped while it waits for the answer.
  answerWith(peer, () => undefined);
  await peer.send(server, messagesAfterGap(peer, ['waits']));
  await until(() => peer.asked('/get_missing_events/').length > 0);
  const forget = { name: '', text: `DELETE FROM server_keys WHERE server = '${peer.name}'` };
  assert.ok((await server.ctx.db.write('test', (tx) => tx.run(forget))) > 0);
  await server.stop();
  peer.script = () => cutOff;
  await server.start();
  await untilPostponed(peer, 1);
  peer.script = () => undefined;
  // Whose keys were not given is left alone for a minute.
  clock.ts += 61 * SECOND_MS;
  await showLife(peer);
  await untilMessages(alice, peer.room.roomId, ['missed', 'waits']);
  await untilPostponed(peer, 0);
});
