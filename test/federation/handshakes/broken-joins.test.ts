/** F33: a join whose answer breaks off anywhere leaves nothing, and succeeds by another server. */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { encodeCanonical } from '#keys/canonical-json.ts';
import type { RoomId } from '#keys/ids.ts';
import { getRoom, isInRoom } from '#rooms/room.ts';
import { register } from '#test/harness/client.ts';
import { inRoom } from '#test/harness/conversation.ts';
import { startFleet } from '#test/harness/fleet.ts';
import type { PeerAnswer } from '#test/harness/peer.ts';
import { RoomPeer, type Script } from '#test/harness/room-peer.ts';

const MEMBERS = 300;
const fleet = await startFleet(1);
after(() => fleet[Symbol.asyncDispose]());
const server = fleet.at(0);
const alice = await register(server, 'alice');

/** Of the answer to send_join only so much, and then nothing more; the server takes no notice of the join. */
function breakingOff(peer: RoomPeer, share: number): Script {
  return (request) => {
    if (!request.url.includes('/send_join/')) return undefined;
    const { events, stateMap, heads } = peer.room;
    const [eventsBefore, stateBefore] = [new Set(events.keys()), new Map(stateMap)];
    const { json } = peer.usual(request) as Extract<PeerAnswer, { json: unknown }>;
    for (const eventId of events.keys()) if (!eventsBefore.has(eventId)) events.delete(eventId);
    stateMap.clear();
    for (const [key, event] of stateBefore) stateMap.set(key, event);
    peer.room.heads = heads;
    const text = encodeCanonical(json);
    return (response) => {
      response.writeHead(200, { 'content-type': 'application/json', 'content-length': text.length });
      response.write(text.slice(0, text.length * share), () => response.destroy());
    };
  };
}

for (const share of [0, 0.1, 0.5, 0.9, 0.999]) {
  test(`F33: a join that breaks off after ${share * 100} % makes no room; by another server all of it is there`, async () => {
    await using peer = await new RoomPeer(fleet.authority).start();
    await using other = await new RoomPeer(fleet.authority).start();
    const room = peer.makeRoom();
    for (let member = 0; member < MEMBERS; member++) room.join(peer.user(`member${member}`));
    const { roomId } = room;
    peer.script = breakingOff(peer, share);
    const path = (...via: string[]) =>
      `/join/${encodeURIComponent(roomId)}?${via.map((name) => `via=${encodeURIComponent(name)}`).join('&')}`;
    const { status } = await alice.try('POST', path(peer.name));
    assert.ok(status >= 400, String(status));
    assert.equal(await isIn(roomId), false);
    assert.equal((await alice.sync()).rooms?.join?.[roomId], undefined);
    assert.equal((await alice.try('GET', `${inRoom(roomId)}/state`)).status, 403);
    // It serves the same room, under a key of its own.
    other.script = (request) => (request.url.includes('/_matrix/key/') ? undefined : peer.usual(request));
    await alice.post(path(peer.name, other.name));
    const { joined } = await alice.get(`${inRoom(roomId)}/joined_members`);
    assert.equal(Object.keys(joined).length, MEMBERS + 2);
    await alice.send(roomId, 'here at last');
  });
}

async function isIn(roomId: RoomId): Promise<boolean> {
  const room = await getRoom(server.ctx, roomId);
  return room !== undefined && isInRoom(server.ctx, room);
}
