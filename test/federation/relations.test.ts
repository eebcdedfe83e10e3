/** Events that relate to others, and come from other servers in whatever order. */

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import type { Event } from '#rooms/event.ts';
import { type Body, register, type TestClient } from '#test/harness/client.ts';
import { bringIn, inRoom, untilMessages } from '#test/harness/conversation.ts';
import { startFleet } from '#test/harness/fleet.ts';
import { edit, idsOf, relate, relationsPath } from '#test/harness/relations.ts';
import { RoomPeer } from '#test/harness/room-peer.ts';
import { until } from '#test/harness/until.ts';

const fleet = await startFleet(2);
after(() => fleet[Symbol.asyncDispose]());
const server = fleet.at(0);
const alice = await register(server, 'alice');

function send(peer: RoomPeer, relType: string, to: string, content = {}): Event {
  const relatesTo = { rel_type: relType, event_id: to };
  return peer.room.send(peer.user('mallory'), {
    type: 'm.room.message',
    content: { body: relType, 'm.relates_to': relatesTo, ...content },
  });
}

async function bundleOf(user: TestClient, roomId: string, eventId: string): Promise<Body> {
  const { status, body } = await user.try('GET', `${inRoom(roomId)}/event/${encodeURIComponent(eventId)}`);
  return status === 200 ? body.unsigned['m.relations'] : undefined;
}

test('what relates to events is the same on both servers', async () => {
  const bob = await register(fleet.at(1), 'bob');
  const roomId = await alice.createRoom();
  await bringIn(alice, bob, roomId);
  const root = await alice.send(roomId, 'root');
  await untilMessages(bob, roomId, ['root']);
  await relate(bob, roomId, 'm.thread', root);
  const reply = await relate(bob, roomId, 'm.thread', root);
  const edited = await edit(alice, roomId, root, 'edited');
  const reference = await relate(bob, roomId, 'm.reference', root);
  for (const user of [alice, bob]) {
    const whole = async () => {
      const bundle = await bundleOf(user, roomId, root);
      return bundle?.['m.reference'] !== undefined && bundle['m.replace'] !== undefined;
    };
    await until(whole, `that ${user.userId} has it all`);
    const bundle = await bundleOf(user, roomId, root);
    assert.equal(bundle['m.replace'].event_id, edited);
    assert.deepEqual(idsOf(bundle['m.reference'].chunk), [reference]);
    const thread = bundle['m.thread'];
    assert.deepEqual([thread.latest_event.event_id, thread.count], [reply, 2]);
    const { chunk } = await user.get(`/_matrix/client/v1${inRoom(roomId)}/threads`);
    assert.deepEqual(idsOf(chunk), [root]);
  }
  await bob.put(`${inRoom(roomId)}/redact/${reply}/r`);
  await until(
    async () => (await bundleOf(alice, roomId, root))['m.thread'].count === 1,
    'that the redaction has come',
  );
});

test('children that come before their parent are its children once it is here: of history that is fetched back too', async () => {
  await using peer = await new RoomPeer(fleet.authority).start();
  const { roomId } = peer.makeRoom();
  const root = peer.room.message(peer.user('mallory'), 'root');
  const first = send(peer, 'm.thread', root.eventId);
  const reply = send(peer, 'm.reference', root.eventId);
  await alice.join(roomId, [peer.name]);
  const late = send(peer, 'm.thread', root.eventId);
  const edited = send(peer, 'm.replace', root.eventId, { 'm.new_content': { body: 'edited' } });
  const { body } = await peer.send(server, [late, edited]);
  assert.deepEqual(body.pdus, { [late.eventId]: {}, [edited.eventId]: {} });
  const isHere = async (event: Event) =>
    (await alice.try('GET', `${inRoom(roomId)}/event/${encodeURIComponent(event.eventId)}`)).status === 200;
  await until(() => isHere(edited), 'that the edit is here');
  assert.equal((await alice.try('GET', relationsPath(roomId, root.eventId))).status, 404);
  assert.deepEqual((await alice.get(`/_matrix/client/v1${inRoom(roomId)}/threads`)).chunk, []);

  const { chunk } = await alice.get(`${inRoom(roomId)}/messages?dir=b&limit=50`);
  const found = chunk.find((event: Body) => event.event_id === root.eventId);
  const bundle = found.unsigned['m.relations'];
  assert.equal(bundle['m.replace'].event_id, edited.eventId);
  assert.deepEqual(idsOf(bundle['m.reference'].chunk), [reply.eventId]);
  assert.deepEqual([bundle['m.thread'].latest_event.event_id, bundle['m.thread'].count], [late.eventId, 2]);
  const children = await alice.get(relationsPath(roomId, root.eventId, '?dir=f'));
  assert.deepEqual(
    idsOf(children.chunk),
    [first, reply, late, edited].map((event) => event.eventId),
  );
  const threads = await alice.get(`/_matrix/client/v1${inRoom(roomId)}/threads`);
  assert.deepEqual(idsOf(threads.chunk), [root.eventId]);
});

test('what another server relates as it must not is not bundled, and harms no page', async () => {
  await using peer = await new RoomPeer(fleet.authority).start();
  const { roomId } = peer.makeRoom();
  await alice.join(roomId, [peer.name]);
  const root = peer.room.message(peer.user('mallory'), 'root');
  const child = send(peer, 'm.thread', root.eventId);
  const nested = send(peer, 'm.thread', child.eventId);
  const shapes = [[], 'x', { rel_type: {}, event_id: [] }, { rel_type: 'm.thread', event_id: '$' }];
  const odd = shapes.map((shape) =>
    peer.room.send(peer.user('mallory'), {
      type: 'm.room.message',
      content: { body: 'odd', 'm.relates_to': shape },
    }),
  );
  const badEdit = send(peer, 'm.replace', root.eventId, { 'm.new_content': 'text' });
  const twice = [1, 2].map(() => send(peer, 'm.annotation', root.eventId));
  await peer.send(server, [root, child, nested, ...odd, badEdit, ...twice]);
  await until(async () => (await bundleOf(alice, roomId, root.eventId)) !== undefined);
  const last = twice[1];
  assert.ok(last);
  await until(async () => {
    const { chunk } = await alice.get(`${inRoom(roomId)}/messages?dir=b&limit=50`);
    return idsOf(chunk).includes(last.eventId);
  }, 'that all is here');
  const bundle = await bundleOf(alice, roomId, root.eventId);
  assert.deepEqual(Object.keys(bundle), ['m.thread']);
  assert.equal(bundle['m.thread'].latest_event.unsigned['m.relations'], undefined, 'threads do not nest');
  assert.equal(await bundleOf(alice, roomId, child.eventId), undefined);
  const threads = await alice.get(`/_matrix/client/v1${inRoom(roomId)}/threads`);
  assert.deepEqual(idsOf(threads.chunk), [root.eventId]);
});
