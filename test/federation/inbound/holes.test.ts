/** Holes in a room's graph: larger than what is fetched, with servers that refuse, half-answer, lie, or come back. */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import type { RoomId } from '#keys/ids.ts';
import type { Event } from '#rooms/event.ts';
import { loadEvent, loadEvents } from '#rooms/load.ts';
import { getRoom } from '#rooms/room.ts';
import * as eventEdges from '#storage/event-edges.ts';
import * as stagedEvents from '#storage/staged-events.ts';
import { register } from '#test/harness/client.ts';
import { inRoom, messagesOf, untilMessages } from '#test/harness/conversation.ts';
import { startFleet } from '#test/harness/fleet.ts';
import type { PeerAnswer, PeerRequest } from '#test/harness/peer.ts';
import { roomOf } from '#test/harness/room-builder.ts';
import { RoomPeer, type Script } from '#test/harness/room-peer.ts';
import { until } from '#test/harness/until.ts';

const fleet = await startFleet(1);
after(() => fleet[Symbol.asyncDispose]());
const server = fleet.at(0);
const alice = await register(server, 'alice');

async function peerWithGuest(): Promise<RoomPeer> {
  const peer = await new RoomPeer(fleet.authority).start();
  peer.makeRoom();
  await alice.join(peer.room.roomId, [peer.name]);
  return peer;
}

function messages(peer: RoomPeer, prefix: string, count: number): Event[] {
  const bodies = names(prefix, count);
  return bodies.map((body) => peer.room.message(peer.user('mallory'), body));
}

function names(prefix: string, count: number): string[] {
  return Array.from({ length: count }, (_, index) => `${prefix}${index}`);
}

/** What our user reads page by page, back to the beginning of the room. */
async function readBack(roomId: string): Promise<string[]> {
  const seen: string[] = [];
  let from = '';
  for (let pages = 0; pages < 100; pages++) {
    const { chunk, end } = await alice.get(`${inRoom(roomId)}/messages?dir=b&limit=50${from}`);
    const read = chunk.filter(({ type }: { type: string }) => type === 'm.room.message');
    seen.push(...read.map(({ content }: { content: { body: string } }) => content.body));
    if (end === undefined) return seen;
    from = `&from=${end}`;
  }
  return assert.fail('the pages do not end');
}

/** What accepted events of the room cite and the server does not have. */
async function holesOf(peer: RoomPeer): Promise<string[]> {
  const room = await getRoom(server.ctx, peer.room.roomId);
  assert.ok(room);
  return eventEdges.backwardExtremities(server.ctx.db, room.roomNid, { limit: 100 });
}

/** True where events of the room have not had their turn yet. */
async function isWaiting(roomId: RoomId): Promise<boolean> {
  return (await stagedEvents.next(server.ctx.db, roomId, 1)).length > 0;
}

function isAbout(request: PeerRequest, ...endpoints: string[]): boolean {
  return endpoints.some((endpoint) => request.url.includes(`/${endpoint}/`));
}

const refusal: PeerAnswer = { status: 403, json: { errcode: 'M_FORBIDDEN', error: 'Not for you' } };

test('a gap larger than all budgets is bridged, marked, and filled by who reads back; each event is there once', async () => {
  await using peer = await peerWithGuest();
  const { roomId } = peer.room;
  await peer.send(server, messages(peer, 'before ', 3));
  await untilMessages(alice, roomId, names('before ', 3));
  const missed = messages(peer, 'missed ', 450);
  const [late] = messages(peer, 'late ', 1);
  assert.ok(late);
  await peer.send(server, [late]);
  await until(async () => (await loadEvent(server.ctx, late.eventId))?.position !== undefined);
  const stored = await loadEvents(
    server.ctx,
    missed.map(({ eventId }) => eventId),
  );
  const oldest = missed.findIndex(({ eventId }) => stored.has(eventId));
  assert.ok(oldest > 200, 'not more than the budget is fetched at once');
  // What the oldest event that was fetched cites.
  assert.deepEqual(await holesOf(peer), [missed[oldest - 1]?.eventId]);
  await alice.send(roomId, 'our own');
  const all = [...names('before ', 3), ...names('missed ', 450), 'late 0', 'our own'];
  const seen = await readBack(roomId);
  assert.deepEqual(seen.toSorted(), all.toSorted());
  assert.deepEqual(await holesOf(peer), []);
});

const unwilling: [what: string, script: (peer: RoomPeer) => Script][] = [
  ['refuses', () => (request) => (isAbout(request, 'get_missing_events') ? refusal : undefined)],
  [
    'tells of another room',
    (peer) => {
      const other = roomOf(peer.user('mallory'), { create: { other: true } });
      const pdus = [...other.events.values()].map(({ pdu }) => pdu);
      return (request) => (isAbout(request, 'get_missing_events') ? { json: { events: pdus } } : undefined);
    },
  ],
];

for (const [what, script] of unwilling) {
  test(`a server that ${what} when it is asked for what is missing wedges nothing, and the hole is filled later`, async () => {
    await using peer = await peerWithGuest();
    const { roomId } = peer.room;
    messages(peer, 'missed ', 5);
    peer.script = script(peer);
    await peer.send(server, messages(peer, 'late ', 1));
    await untilMessages(alice, roomId, ['late 0']);
    assert.deepEqual(await messagesOf(alice, roomId, 1), ['late 0']);
    // What comes after the hole flows, from them and from us.
    await peer.send(server, messages(peer, 'after ', 3));
    await untilMessages(alice, roomId, names('after ', 3));
    await alice.send(roomId, 'our own');
    peer.script = () => undefined;
    const seen = await readBack(roomId);
    const all = [...names('missed ', 5), 'late 0', ...names('after ', 3), 'our own'];
    assert.deepEqual(seen.toSorted(), all.toSorted());
    assert.deepEqual(await holesOf(peer), []);
  });
}

test('what the sender does not give is fetched from another server in the room', async () => {
  await using peer = await peerWithGuest();
  await using other = await new RoomPeer(fleet.authority).start();
  const { room } = peer;
  const join = room.join(other.user('oscar'));
  await peer.send(server, [join]);
  await until(async () => (await loadEvent(server.ctx, join.eventId))?.position !== undefined);
  const missed = messages(peer, 'missed ', 30);
  const [late] = messages(peer, 'late ', 1);
  assert.ok(late);
  peer.script = (request) => (isAbout(request, 'get_missing_events') ? refusal : undefined);
  other.script = (request) => (request.url.includes('/_matrix/key/') ? undefined : peer.usual(request));
  await peer.send(server, [late]);
  assert.deepEqual(await untilMessages(alice, room.roomId, ['late 0']), [
    ...names('missed ', missed.length),
    'late 0',
  ]);
  assert.deepEqual(await holesOf(peer), []);
});

/** An answer that breaks off in the middle of an event. */
function brokenOff(peer: RoomPeer): PeerAnswer {
  const text = JSON.stringify({ events: [peer.room.last.pdu] });
  return (response) => {
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': text.length });
    response.write(text.slice(0, text.length / 2));
    response.destroy();
  };
}

const failing: [what: string, answer: (peer: RoomPeer) => PeerAnswer][] = [
  ['refuses everything', () => refusal],
  ['answers with less than half', brokenOff],
  ['answers with 500', () => ({ status: 500, json: {} })],
];

for (const [what, answer] of failing) {
  test(`a server that ${what}: its event leaves the line, and comes with the next one when the server is itself again`, async () => {
    await using peer = await peerWithGuest();
    const { roomId } = peer.room;
    messages(peer, 'missed ', 3);
    peer.script = (request) =>
      isAbout(request, 'get_missing_events', 'state_ids', 'state', 'event') ? answer(peer) : undefined;
    await peer.send(server, messages(peer, 'given up ', 1));
    await until(() => peer.asked('/get_missing_events/').length > 0);
    // The room goes on meanwhile.
    await alice.send(roomId, 'meanwhile');
    await until(async () => !(await isWaiting(roomId)));
    peer.script = () => undefined;
    await peer.send(server, messages(peer, 'after ', 2));
    const seen = await untilMessages(alice, roomId, names('after ', 2));
    const all = [...names('missed ', 3), 'given up 0', ...names('after ', 2), 'meanwhile'];
    assert.deepEqual(seen.toSorted(), all.toSorted());
  });
}
