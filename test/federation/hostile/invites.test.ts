import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import type { UserId } from '#keys/ids.ts';
import { roomOf } from '#test/harness/room-builder.ts';
import type { RoomPeer } from '#test/harness/room-peer.ts';
import { startWitness } from './witness.ts';

const witness = await startWitness({ rateLimits: true });
after(() => witness[Symbol.asyncDispose]());
const { alice, server } = witness;

async function invite(peer: RoomPeer, index: number): Promise<number> {
  const mallory = peer.user('mallory');
  const room = roomOf(mallory, { create: { index } });
  const event = room.invite(mallory, alice.userId as UserId);
  const [roomId, eventId] = [encodeURIComponent(room.roomId), encodeURIComponent(event.eventId)];
  const path = `/_matrix/federation/v2/invite/${roomId}/${eventId}`;
  const body = { room_version: '12', event: event.pdu, invite_room_state: [room.create.pdu] };
  return (await peer.request(server, { method: 'PUT', path, body })).status;
}

test('a server that invites a user into room after room is held back, and no other', async () => {
  await using peer = await witness.peer();
  await using other = await witness.peer();
  const statuses: number[] = [];
  // One after the other, as they come.
  for (let index = 0; index < 40; index++) statuses.push(await invite(peer, index));
  assert.equal(statuses[0], 200);
  assert.equal(statuses.at(-1), 429);
  assert.equal(await invite(other, 0), 200);
  const { rooms } = await alice.sync();
  assert.ok(Object.keys(rooms.invite).length < 40);
  await witness.check();
});
