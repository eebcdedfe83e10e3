/** F29: EDUs of every type, wrong in every place. What is wrong with one harms neither the others nor the events. */
import assert from 'node:assert/strict';
import { after, afterEach, test } from 'node:test';
import { isObject, type Json, type JsonObject } from '#keys/json.ts';
import { type Body, register } from '#test/harness/client.ts';
import { untilMessages } from '#test/harness/conversation.ts';
import type { HostileServer } from '#test/harness/hostile-server.ts';
import { startWitness } from './witness.ts';

const witness = await startWitness();
after(() => witness[Symbol.asyncDispose]());
afterEach(() => witness.check());
const { alice, server } = witness;

const AT_ONCE = 100;
const WRONG: readonly Json[] = [
  ...[null, true, 0, -1, 2 ** 53 - 1, '', 'x', '\0', '@x:y', '$x', '!x:y', [], [null], [[]], {}],
  { '': '' },
  { a: { a: { a: null } } },
  'x'.repeat(70_000),
];

/** What a good server says of its user, with whatever else servers of the specification send. */
function goodEdus(
  peer: HostileServer,
  { eventId, roomId }: { eventId: string; roomId: string },
): JsonObject[] {
  const user_id = peer.user('mallory');
  const { userId } = alice;
  const keys = { user_id, device_id: 'D', algorithms: ['x'], keys: { 'ed25519:D': 'x' }, signatures: {} };
  return [
    edu('m.typing', { room_id: roomId, user_id, typing: true }),
    edu('m.receipt', { [roomId]: { 'm.read': { [user_id]: { event_ids: [eventId], data: { ts: 1 } } } } }),
    edu('m.presence', {
      push: [{ user_id, presence: 'online', last_active_ago: 1, currently_active: true }],
    }),
    edu('m.device_list_update', {
      ...{ user_id, device_id: 'D', stream_id: 1, prev_id: [], deleted: false, keys },
      device_display_name: 'D',
    }),
    edu('m.signing_key_update', {
      user_id,
      master_key: { user_id, usage: ['master'], keys: { 'ed25519:x': 'x' } },
    }),
    edu('m.direct_to_device', {
      ...{ sender: user_id, type: 'm.test', message_id: 'one' },
      messages: { [userId]: { [alice.deviceId]: { body: 'hello' } } },
    }),
    edu('org.example.unknown', { user_id, room_id: roomId }),
  ];
}

function edu(edu_type: string, content: JsonObject): JsonObject {
  return { edu_type, content };
}

/** The value with each of its parts, the whole included, replaced by each wrong one, or left out. */
function* wrongs(value: Json): Generator<Json> {
  yield* WRONG;
  if (Array.isArray(value)) {
    for (const [index, item] of value.entries())
      for (const wrong of wrongs(item)) yield value.with(index, wrong);
  } else if (isObject(value)) {
    for (const [key, item] of Object.entries(value)) {
      const { [key]: _, ...rest } = value;
      yield rest;
      yield { ...rest, [`${key}x`]: item };
      for (const wrong of wrongs(item)) yield { ...value, [key]: wrong };
    }
  }
}

test('F29: EDUs that are wrong in any place are passed over, and the events and EDUs beside them are taken', async (t) => {
  await using peer = await witness.peerWithGuest();
  const { room } = peer;
  const { roomId } = room;
  const message = room.message(peer.user('mallory'), 'the first');
  await peer.send(server, [message]);
  await untilMessages(alice, roomId, ['the first']);
  const stranger = await register(server);
  const good = goodEdus(peer, { eventId: message.eventId, roomId });
  const all = good.flatMap((each) => [...wrongs(each)]);
  for (let from = 0; from < all.length; from += AT_ONCE) {
    const pdu = room.message(peer.user('mallory'), `beside ${from}`);
    const edus = all.slice(from, from + AT_ONCE).filter(isObject);
    const { status, body } = await peer.send(server, [pdu], { edus });
    assert.equal(status, 200, JSON.stringify(body));
    assert.deepEqual(body.pdus, { [pdu.eventId]: {} });
  }
  await untilMessages(alice, roomId, [`beside ${Math.floor((all.length - 1) / AT_ONCE) * AT_ONCE}`]);
  await alice.sync();
  await stranger.sync();
  // And a good one after them counts.
  const last = room.message(peer.user('mallory'), 'the last');
  const [, receipt] = goodEdus(peer, { eventId: last.eventId, roomId });
  await peer.send(server, [last]);
  await untilMessages(alice, roomId, ['the last']);
  await peer.send(server, [], { edus: [receipt ?? {}] });
  await alice.syncUntil(({ rooms }: Body) =>
    JSON.stringify(rooms?.join?.[roomId]?.ephemeral ?? '').includes(last.eventId),
  );
  t.diagnostic(`${all.length} EDUs`);
});
