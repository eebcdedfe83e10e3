/** Events whose servers cannot be asked for their keys when they come: they are answered for, and tried again later. */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import type { Event } from '#rooms/event.ts';
import { eventFrom } from '#rooms/event.ts';
import { loadEvent } from '#rooms/load.ts';
import * as postponedEvents from '#storage/postponed-events.ts';
import { register } from '#test/harness/client.ts';
import { inRoom, messagesOf, untilMember, untilMessages } from '#test/harness/conversation.ts';
import { startFleet } from '#test/harness/fleet.ts';
import type { PeerAnswer } from '#test/harness/peer.ts';
import { RoomPeer, type Script } from '#test/harness/room-peer.ts';
import { until } from '#test/harness/until.ts';

const MINUTE_MS = 60_000;

/** It stands still until it is set: turns come when a test wants them. The keys of peers are valid all the time. */
const clock = { ts: Date.now() - 24 * 60 * MINUTE_MS, now: () => clock.ts };
const fleet = await startFleet(1, { clock });
after(() => fleet[Symbol.asyncDispose]());
const server = fleet.at(0);
const alice = await register(server, 'alice');

const cutOff: PeerAnswer = (response) => void response.destroy();
const fault: PeerAnswer = { status: 500, json: {} };
const busy: PeerAnswer = { status: 429, json: { errcode: 'M_LIMIT_EXCEEDED', error: 'Later' } };

const withoutKeys: Script = ({ url }) => (url.includes('/_matrix/key/') ? cutOff : undefined);

/** A peer with a room that our user is in. */
async function peerWithGuest(version?: string): Promise<RoomPeer> {
  const peer = await new RoomPeer(fleet.authority).start();
  peer.makeRoom(version === undefined ? {} : { version });
  await alice.join(peer.room.roomId, [peer.name]);
  return peer;
}

async function postponed(peer: RoomPeer): Promise<postponedEvents.PostponedRow[]> {
  const all = { now: Number.MAX_SAFE_INTEGER, limit: 1_000 };
  return postponedEvents.due(server.ctx.db, peer.room.roomId, all);
}

/** The event as somebody hands it on who has not the key of its server. */
function forged({ pdu, rules }: Event, signer: string): Event {
  const signatures = { [signer]: { 'ed25519:other': 'A'.repeat(86) } };
  return eventFrom({ ...pdu, signatures }, rules);
}

/** The room's name, as our user sees it. */
async function nameOf(peer: RoomPeer): Promise<unknown> {
  return alice.get(`${inRoom(peer.room.roomId)}/state/m.room.name`);
}

/** The next turn, when servers that were left alone may be asked again. */
async function nextTurn(): Promise<void> {
  await server.stop();
  clock.ts += 2 * MINUTE_MS;
  await server.start();
}

test('an event whose server cannot be asked for its key when it comes is answered for, and comes when it can', async () => {
  await using peer = await peerWithGuest();
  await using other = await new RoomPeer(fleet.authority).start();
  other.script = withoutKeys;
  const oscar = other.user('oscar');
  const line = peer.room.fork();
  const join = line.join(oscar);
  const message = line.message(oscar, 'from afar');
  const beside = peer.room.message(peer.user('mallory'), 'beside');
  const { status, body } = await peer.send(server, [join, message, beside]);
  assert.equal(status, 200);
  const ids = [join, message, beside].map(({ eventId }) => eventId);
  assert.deepEqual(body.pdus, Object.fromEntries(ids.map((eventId) => [eventId, {}])));
  // What can be verified does not wait for it.
  await untilMessages(alice, peer.room.roomId, ['beside']);
  assert.deepEqual(
    (await postponed(peer)).map(({ eventId }) => eventId),
    [join.eventId, message.eventId],
  );
  // One turn for nothing.
  await nextTurn();
  await until(async () => (await postponed(peer)).every(({ turns }) => turns === 2), 'the turn');
  other.script = () => undefined;
  await nextTurn();
  await untilMember(alice, peer.room.roomId, oscar, 'join');
  await untilMessages(alice, peer.room.roomId, ['from afar']);
  await until(async () => (await postponed(peer)).length === 0);
});

test('a copy that nobody could verify gives way to one that is verified, and is dropped where it is forged', async () => {
  await using peer = await peerWithGuest();
  await using other = await new RoomPeer(fleet.authority).start();
  const oscar = other.user('oscar');
  const { room } = peer;
  const mallory = peer.user('mallory');
  other.script = withoutKeys;
  room.message(mallory, 'missed');
  const join = room.join(oscar);
  const forgery = forged(join, other.name);
  assert.equal(forgery.eventId, join.eventId);
  const told = await peer.send(server, [forgery]);
  assert.deepEqual(told.body.pdus, { [join.eventId]: {} });
  assert.equal((await postponed(peer)).length, 1);
  // The true one comes by another server while what lies before it cannot be asked for.
  other.script = ({ url }) => (url.includes('/_matrix/key/') ? undefined : cutOff);
  peer.script = ({ url }) =>
    /\/(get_missing_events|state_ids|state|event)\//.test(url) ? cutOff : undefined;
  clock.ts += 2 * MINUTE_MS;
  await peer.send(server, [join]);
  await until(async () => (await postponed(peer))[0]?.json === join.json, 'the true copy');
  peer.script = () => undefined;
  await nextTurn();
  await untilMember(alice, room.roomId, oscar, 'join');
  // What is forged is dropped as soon as there is the key.
  other.script = withoutKeys;
  await using third = await new RoomPeer(fleet.authority).start();
  third.script = withoutKeys;
  const stranger = forged(room.fork().join(third.user('stranger')), third.name);
  await peer.send(server, [stranger]);
  assert.equal((await postponed(peer)).length, 1);
  third.script = () => undefined;
  await nextTurn();
  await until(async () => (await postponed(peer)).length === 0);
  assert.equal(await loadEvent(server.ctx, stranger.eventId), undefined);
});

test('an event that is signed with a key that its server does not publish has its error in the answer', async () => {
  await using peer = await peerWithGuest();
  await using other = await new RoomPeer(fleet.authority).start();
  const forgery = forged(peer.room.join(other.user('oscar')), other.name);
  const { body } = await peer.send(server, [forgery]);
  assert.match(body.pdus[forgery.eventId].error, /keys of .* cannot be had/);
  assert.deepEqual(await postponed(peer), []);
});

test('v1: an event that cannot be verified has its error in the answer, as whoever forges one chooses its id', async () => {
  await using peer = await peerWithGuest('1');
  await using other = await new RoomPeer(fleet.authority).start();
  other.script = withoutKeys;
  const join = peer.room.join(other.user('oscar'));
  const { body } = await peer.send(server, [join]);
  assert.match(body.pdus[join.eventId].error, /keys of .* cannot be had/);
  assert.deepEqual(await postponed(peer), []);
});

test('no more than the newest 20 events of a server that cannot be verified wait in a room', async () => {
  await using peer = await peerWithGuest();
  await using other = await new RoomPeer(fleet.authority).start();
  other.script = withoutKeys;
  const joins = Array.from({ length: 25 }, (_, index) => peer.room.fork().join(other.user(`o${index}`)));
  await peer.send(server, joins);
  assert.deepEqual(
    (await postponed(peer)).map(({ eventId }) => eventId),
    joins.slice(-20).map(({ eventId }) => eventId),
  );
  assert.deepEqual(await messagesOf(alice, peer.room.roomId), []);
});

/** Of a peer that has nothing of a room but its own events. */
const keysOnly: Script = ({ url }) => (url.includes('/_matrix/key/') ? undefined : fault);

for (const [name, answer] of [
  ['has a fault', fault],
  ['is asked too much', busy],
] as const) {
  /** Two servers in a room, of which the first does not hand out single events; and a message after a gap there. */
  async function atGap(peer: RoomPeer, other: RoomPeer): Promise<Event> {
    const { room } = peer;
    const mallory = peer.user('mallory');
    const oscar = other.user('oscar');
    await peer.send(server, [room.join(oscar)]);
    await untilMember(alice, room.roomId, oscar, 'join');
    room.send(mallory, { type: 'm.room.name', state_key: '', content: { name: 'missed' } });
    peer.script = ({ url }) => {
      if (url.includes('/get_missing_events/')) return { json: { events: [] } };
      return /\/(event|event_auth)\//.test(url) ? answer : undefined;
    };
    return room.message(mallory, 'after');
  }

  test(`a part of the state that a server does not hand out because it ${name} comes from another server`, async () => {
    await using peer = await peerWithGuest();
    await using other = await new RoomPeer(fleet.authority).start();
    other.script = keysOnly;
    const message = await atGap(peer, other);
    other.script = (request) => {
      if (request.url.includes('/get_missing_events/')) return { json: { events: [] } };
      return keysOnly(request) === undefined ? undefined : peer.usual(request);
    };
    await peer.send(server, [message]);
    await untilMessages(alice, peer.room.roomId, ['after']);
    assert.deepEqual(await nameOf(peer), { name: 'missed' });
  });

  test(`a part of the state that a server does not hand out because it ${name}, and no other has, is asked for later`, async () => {
    await using peer = await peerWithGuest();
    await using other = await new RoomPeer(fleet.authority).start();
    other.script = keysOnly;
    const message = await atGap(peer, other);
    await peer.send(server, [message]);
    await until(async () => (await postponed(peer)).length === 1, 'that the message waits');
    assert.equal(await loadEvent(server.ctx, message.eventId), undefined, 'its state is not whole');
    peer.script = ({ url }) => (url.includes('/get_missing_events/') ? { json: { events: [] } } : undefined);
    await nextTurn();
    await untilMessages(alice, peer.room.roomId, ['after']);
    assert.deepEqual(await nameOf(peer), { name: 'missed' });
  });
}
