/** Gaps of a room's graph, as clients see them: events of another server that follow what we do not have. */

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import type { Event } from '#rooms/event.ts';
import { type Body, register, type SyncOptions } from '#test/harness/client.ts';
import { startFleet } from '#test/harness/fleet.ts';
import { RoomPeer } from '#test/harness/room-peer.ts';

const fleet = await startFleet(1);
after(() => fleet[Symbol.asyncDispose]());
const server = fleet.at(0);

const KNOWN_BEFORE = 10;

/** Alice has said something; then 51 messages came from elsewhere, of which the oldest 40 cannot be had. */
async function roomWithGap() {
  const alice = await register(server);
  const peer = await new RoomPeer(fleet.authority).start();
  peer.makeRoom();
  await alice.join(peer.room.roomId, [peer.name]);
  const { roomId } = peer.room;
  const { next_batch: since } = await alice.sync();
  const ours = await alice.send(roomId, 'ours');
  const missed: Event[] = [];
  for (let number = 0; number < 50; number++)
    missed.push(peer.room.message(peer.user('mallory'), `${number}`));
  const last = peer.room.message(peer.user('mallory'), 'last');
  const had = missed.slice(-KNOWN_BEFORE);
  peer.script = (request) =>
    request.url.includes('/get_missing_events/')
      ? { json: { events: had.map(({ pdu }) => pdu) } }
      : undefined;
  await peer.send(server, [last]);
  const section = (answer: Body) => answer.rooms?.join?.[roomId];
  const hasLast = (answer: Body) =>
    section(answer)?.timeline.events.some((event: Body) => event.event_id === last.eventId) === true;
  const theirs = [...had, last].map(({ eventId }) => eventId);
  return { alice, peer, roomId, since, ours, theirs, section, hasLast };
}

test('a gap of the graph: what came before it is in no timeline with what came after, which is limited', async () => {
  const { alice, peer, roomId, since, ours, theirs, section, hasLast } = await roomWithGap();
  await using _ = peer;
  await alice.syncUntil(hasLast);
  const limits: SyncOptions[] = [
    { filter: { room: { timeline: { limit: 20 } } } },
    { filter: { room: { timeline: { limit: 20, types: ['m.room.message'] } } } },
  ];
  for (const options of limits) {
    const { timeline } = section(await alice.sync({ ...options, since }));
    assert.deepEqual(idsOf(timeline), theirs);
    assert.equal(timeline.limited, true);
    const path = `/rooms/${encodeURIComponent(roomId)}/messages?dir=b&limit=20`;
    const page = await alice.get(`${path}&from=${timeline.prev_batch}&to=${since}`);
    assert.deepEqual(
      page.chunk.map((event: Body) => event.event_id),
      [ours],
      'what is left out is there to be read back',
    );
  }
});

test('a gap of the graph: who follows it event by event is told of it where it is', async () => {
  const { alice, peer, since, ours, theirs, section, hasLast } = await roomWithGap();
  await using _ = peer;
  const timelines: Body[] = [];
  await alice.syncUntil(
    (answer) => {
      if (section(answer) !== undefined) timelines.push(section(answer).timeline);
      return hasLast(answer);
    },
    { since },
  );
  const limited = timelines.findIndex((timeline) => timeline.limited);
  assert.notEqual(limited, -1);
  const before = timelines.slice(0, limited).flatMap(idsOf);
  assert.ok(before.every((eventId: string) => eventId === ours));
  assert.deepEqual(timelines.slice(limited).flatMap(idsOf), theirs);
});

function idsOf(timeline: Body): string[] {
  return timeline.events.map((event: Body) => event.event_id);
}
