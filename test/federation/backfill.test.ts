import assert from 'node:assert/strict';
import { after, test } from 'node:test';
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
