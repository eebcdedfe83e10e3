import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import type { EventId } from '#keys/ids.ts';
import type { JsonObject } from '#keys/json.ts';
import { loadEvent } from '#rooms/load.ts';
import { register } from '#test/harness/client.ts';
import { startFleet } from '#test/harness/fleet.ts';
import { RoomPeer } from '#test/harness/room-peer.ts';

const fleet = await startFleet(1);
after(() => fleet[Symbol.asyncDispose]());
const server = fleet.at(0);
const alice = await register(server, 'alice');

test('backfill: what our history does not lead back to is not taken in, and the room goes on', async () => {
  await using peer = await new RoomPeer(fleet.authority).start();
  const room = peer.makeRoom();
  room.message(peer.user('mallory'), 'before the join');
  await alice.join(room.roomId, [peer.name]);
  const invented = room.fork().message(peer.user('mallory'), 'follows the newest event');
  peer.script = (request) => {
    if (!request.url.includes('/backfill/')) return undefined;
    const { json } = peer.usual(request) as { json: { pdus: JsonObject[] } };
    return { json: { pdus: [invented.pdu, ...json.pdus] } };
  };
  const messages = await alice.get(`/rooms/${encodeURIComponent(room.roomId)}/messages?dir=b&limit=50`);
  assert.ok(JSON.stringify(messages).includes('before the join'));
  assert.equal(peer.asked('/backfill/').length > 0, true);
  assert.equal(await loadEvent(server.ctx, invented.eventId), undefined);
  await alice.send(room.roomId, 'the room goes on');
});

test('backfill: events that nobody has, however many are cited, do not keep the history away', async () => {
  await using peer = await new RoomPeer(fleet.authority).start();
  const room = peer.makeRoom();
  const mallory = peer.user('mallory');
  const bodies = Array.from({ length: 60 }, (_, index) => `before ${index}`);
  for (const body of bodies) room.message(mallory, body);
  for (let count = 0; count < 3; count++) {
    const nobodys = Array.from(
      { length: 19 },
      (_, index): EventId => `$000${count}${index}`.padEnd(44, '0') as EventId,
    );
    const prev_events = [room.last.eventId, ...nobodys];
    room.send(mallory, { type: 'm.room.message', content: { body: 'poisoned' }, prev_events });
  }
  peer.script = ({ url }) => {
    if (!url.includes('/backfill/')) return undefined;
    // It begins from what it has of what it is asked for.
    const asked = new URL(url, 'https://peer').searchParams.getAll('v');
    const events = [...room.events.values()];
    const end = events.findLastIndex(({ eventId }) => asked.includes(eventId)) + 1;
    return { json: { pdus: events.slice(Math.max(0, end - 20), end).map(({ pdu }) => pdu) } };
  };
  await alice.join(room.roomId, [peer.name]);
  const seen: string[] = [];
  for (let from = ''; ; ) {
    const path = `/rooms/${encodeURIComponent(room.roomId)}/messages?dir=b&limit=20${from}`;
    const { chunk, end } = await alice.get(path);
    seen.push(...chunk.map(({ content }: { content: { body: string } }) => content.body));
    if (end === undefined) break;
    from = `&from=${end}`;
  }
  assert.deepEqual(
    bodies.filter((body) => !seen.includes(body)),
    [],
  );
});
