import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { encodeCanonical } from '#keys/canonical-json.ts';
import type { JsonObject } from '#keys/json.ts';
import { eventFrom } from '#rooms/event.ts';
import { eventIdOf } from '#rooms/hashes.ts';
import { loadEvent } from '#rooms/load.ts';
import { signEvent } from '#rooms/sign-event.ts';
import { type Body, register } from '#test/harness/client.ts';
import { inRoom, messagesOf, untilMessages } from '#test/harness/conversation.ts';
import { startFleet } from '#test/harness/fleet.ts';
import { isWarning } from '#test/harness/log-lines.ts';
import { keyPairOf, roomOf } from '#test/harness/room-builder.ts';
import { RoomPeer } from '#test/harness/room-peer.ts';
import { until } from '#test/harness/until.ts';

const fleet = await startFleet(1);
after(() => fleet[Symbol.asyncDispose]());
const server = fleet.at(0);
const alice = await register(server, 'alice');

async function peerWithGuest(version = '12', power_levels: JsonObject = {}): Promise<RoomPeer> {
  const peer = await new RoomPeer(fleet.authority).start();
  peer.makeRoom({ version, power_levels });
  await alice.join(peer.room.roomId, [peer.name]);
  return peer;
}

test('bad PDUs have their own errors in the answer, and the others of the transaction are accepted', async () => {
  await using peer = await peerWithGuest();
  const { room } = peer;
  const mallory = peer.user('mallory');
  const roomId = room.roomId;
  const [keyPair, otherKeyPair] = [keyPairOf(peer.name), keyPairOf('elsewhere.test')];
  const base = room.draft(mallory, { type: 'm.room.message', content: { body: 'bad' } }).pdu;
  const unsigned = { ...base, signatures: {} };
  const badlySigned = signEvent({ ...base, signatures: {} }, room.rules, peer.name, otherKeyPair);
  const signed = (parts: JsonObject) =>
    encodeCanonical(signEvent({ ...base, signatures: {}, ...parts }, room.rules, peer.name, keyPair));
  const deep = `${'['.repeat(150)}${']'.repeat(150)}`;
  const bad = {
    'no signature': encodeCanonical(unsigned),
    'wrong signature': encodeCanonical(badlySigned),
    'too large': signed({ content: { body: 'x'.repeat(70_000) } }),
    'a fraction': signed({ content: { body: 'n' } }).replace('"body":"n"', '"body":"n","n":1.5'),
    'a number beyond 2^53': signed({ content: { body: 'm' } }).replace(
      '"body":"m"',
      '"body":"m","n":9007199254740993',
    ),
    'too deep': signed({ content: { body: 'd' } }).replace('"body":"d"', `"body":"d","n":${deep}`),
    'duplicate keys': signed({ content: { body: 'k' } }).replace('"body":"k"', '"body":"k","body":"k"'),
    'of a room that we do not know': signed({ room_id: `!unknown:${peer.name}` }),
    'of a room of another version': signed({ room_id: `!${'A'.repeat(43)}` }),
    'no sender': signed({ sender: '' }),
    'prev_events of a wrong type': signed({ prev_events: {} }),
    'a depth below zero': signed({ depth: -1 }),
  };
  const good = Array.from({ length: 49 - Object.keys(bad).length }, (_, count) =>
    room.message(mallory, `good ${count}`),
  );
  // One that says __proto__ is as good as any.
  const proto = JSON.parse('{"body":"proto","__proto__":{"x":1}}') as JsonObject;
  good.push(room.send(mallory, { type: 'm.room.message', content: proto }));

  const pdus = [...Object.values(bad), ...good];
  assert.equal(pdus.length, 50);
  const answer = await peer.send(server, pdus);
  assert.equal(answer.status, 200);
  for (const [what, text] of Object.entries(bad)) {
    const id = eventIdOf(JSON.parse(text) as JsonObject, room.rules);
    assert.equal(typeof answer.body.pdus[id]?.error, 'string', `${what}: no error`);
    assert.equal(await loadEvent(server.ctx, id), undefined, `${what}: stored`);
  }
  for (const { eventId } of good) assert.deepEqual(answer.body.pdus[eventId], {});
  const expected = good.map(({ content }) => String(content.body));
  assert.deepEqual(await untilMessages(alice, roomId, expected), expected);
  const stored = await loadEvent(server.ctx, good.at(-1)?.eventId ?? '$none');
  assert.equal(stored?.event.json, good.at(-1)?.json);
});

test('an item that is no object has no entry, and harms nobody', async () => {
  await using peer = await peerWithGuest();
  const good = peer.room.message(peer.user('mallory'), 'good');
  const answer = await peer.send(server, ['7', '"x"', 'null', '[]', '{}', good]);
  assert.equal(answer.status, 200);
  assert.deepEqual(answer.body.pdus[good.eventId], {});
  await untilMessages(alice, peer.room.roomId, ['good']);
});

test('an event whose content hash is wrong is received in its redacted form', async () => {
  await using peer = await peerWithGuest();
  const { room } = peer;
  const event = room.message(peer.user('mallory'), 'true');
  const altered = event.json.replace('"body":"true"', '"body":"lie!"');
  const answer = await peer.send(server, [altered]);
  assert.deepEqual(answer.body.pdus[event.eventId], {});
  const path = `${inRoom(room.roomId)}/event/${encodeURIComponent(event.eventId)}`;
  await until(async () => (await alice.try('GET', path)).status === 200);
  assert.deepEqual((await alice.get(path)).content, {});
});

test('what the rules do not allow is no error of the transaction, and nobody sees it', async () => {
  await using peer = await peerWithGuest('12', { events_default: 50 });
  const { room } = peer;
  const mallory = peer.user('mallory');
  const eve = peer.user('eve');
  room.join(eve);
  const [join] = room.heads;
  assert.ok(join);
  const forbidden = room.draft(eve, { type: 'm.room.message', content: { body: 'forbidden' } });
  const allowed = room.message(mallory, 'allowed');
  const answer = await peer.send(server, [join, forbidden, allowed]);
  assert.deepEqual(answer.body.pdus, { [join.eventId]: {}, [forbidden.eventId]: {}, [allowed.eventId]: {} });
  assert.deepEqual(await untilMessages(alice, room.roomId, ['allowed']), ['allowed']);
  assert.equal((await loadEvent(server.ctx, forbidden.eventId))?.status, 'rejected');
});

test("an event that claims a user of another server needs that server's signature", async () => {
  await using peer = await peerWithGuest();
  const { room } = peer;
  const base = room.draft(peer.user('mallory'), { type: 'm.room.message', content: { body: 'forged' } }).pdu;
  const forged = signEvent(
    { ...base, sender: alice.userId, signatures: {} },
    room.rules,
    peer.name,
    keyPairOf(peer.name),
  );
  const event = eventFrom(forged, room.rules);
  const answer = await peer.send(server, [event]);
  assert.match(answer.body.pdus[event.eventId].error, /not signed/);
});

test('the same transaction again gives the same answer, and nothing twice', async () => {
  await using peer = await peerWithGuest();
  const event = peer.room.message(peer.user('mallory'), 'once');
  const first = await peer.send(server, [event, '{"room_id":"!x:y"}'], { txnId: 'same' });
  const answers = await Promise.all(
    [1, 2].map(() => peer.send(server, [event, '{"room_id":"!x:y"}'], { txnId: 'same' })),
  );
  for (const again of answers) assert.deepEqual(again, first);
  await untilMessages(alice, peer.room.roomId, ['once']);
  // The same event by another transaction.
  await peer.send(server, [event]);
  assert.deepEqual(await messagesOf(alice, peer.room.roomId), ['once']);
});

test('more than 50 PDUs or 100 EDUs are refused', async () => {
  await using peer = await new RoomPeer(fleet.authority).start();
  assert.equal(
    (
      await peer.send(
        server,
        Array.from({ length: 51 }, () => '{}'),
      )
    ).status,
    400,
  );
  const edus = Array.from({ length: 101 }, () => ({ edu_type: 'm.none', content: {} }));
  assert.equal((await peer.send(server, [], { edus })).status, 400);
  assert.equal((await peer.send(server, [], { edus: edus.slice(1) })).status, 200);
});

test('a transaction that is no transaction is refused', async () => {
  await using peer = await new RoomPeer(fleet.authority).start();
  const path = '/_matrix/federation/v1/send/t';
  for (const body of ['{"pdus":{}}', '{"pdus":[],"edus":{}}', '{"pdus":[],"origin":"other.test"}']) {
    const { status } = await peer.request(server, { method: 'PUT', path, body });
    assert.ok(status === 400 || status === 403, body);
  }
});

test('extra members beside the events do no harm', async () => {
  await using peer = await peerWithGuest();
  const event = peer.room.message(peer.user('mallory'), 'signed twice');
  const path = '/_matrix/federation/v1/send/extra';
  const body = `{"hashes":{"sha256":"x"},"origin":"${peer.name}","origin_server_ts":1,"pdus":[${event.json}],"signatures":{}}`;
  assert.equal((await peer.request(server, { method: 'PUT', path, body })).status, 200);
  await untilMessages(alice, peer.room.roomId, ['signed twice']);
});

test('row 100: a server that the access control list denies sends nothing into the room, and hears nothing of it', async () => {
  await using peer = await peerWithGuest();
  const { room } = peer;
  const mallory = peer.user('mallory');
  const acl = room.state(mallory, 'm.room.server_acl', '', { allow: ['elsewhere.test'] });
  await peer.send(server, [acl]);
  const path = `${inRoom(room.roomId)}/state/m.room.server_acl/`;
  await until(async () => (await alice.try('GET', path)).status === 200);
  const event = room.message(mallory, 'denied');
  const edu = { edu_type: 'm.typing', content: { room_id: room.roomId, user_id: mallory, typing: true } };
  const answer = await peer.send(server, [event], { edus: [edu] });
  assert.match(answer.body.pdus[event.eventId].error, /denied/);
  assert.deepEqual(server.ctx.typing.in(room.roomId), []);
  const encoded = encodeURIComponent(room.roomId);
  for (const asked of [
    `backfill/${encoded}?v=${encodeURIComponent(acl.eventId)}&limit=10`,
    `state/${encoded}?event_id=${encodeURIComponent(acl.eventId)}`,
    `state_ids/${encoded}?event_id=${encodeURIComponent(acl.eventId)}`,
    `event_auth/${encoded}/${encodeURIComponent(acl.eventId)}`,
    `make_join/${encoded}/${encodeURIComponent(mallory)}?ver=12`,
    `make_leave/${encoded}/${encodeURIComponent(mallory)}`,
  ]) {
    const refused = await peer.request(server, { path: `/_matrix/federation/v1/${asked}` });
    assert.deepEqual([refused.status, refused.body.errcode], [403, 'M_FORBIDDEN'], asked);
  }
});

test('row 17: EDUs count only for users of their server, where these are joined', async () => {
  await using peer = await peerWithGuest();
  const { roomId } = peer.room;
  const message = await alice.send(roomId, 'hello');
  const typing = (user_id: string, room_id = roomId) => ({
    edu_type: 'm.typing',
    content: { room_id, user_id, typing: true },
  });
  const receipt = (userId: string, eventId: string) => ({
    edu_type: 'm.receipt',
    content: { [roomId]: { 'm.read': { [userId]: { event_ids: [eventId], data: { ts: 7 } } } } },
  });
  const strange: JsonObject[] = [
    { edu_type: 'm.typing' },
    { edu_type: 'm.typing', content: { room_id: 5 } },
    { edu_type: 'm.receipt', content: { [roomId]: { 'm.read': { [peer.user('mallory')]: 5 } } } },
    { edu_type: 'm.receipt', content: { constructor: { 'm.read': {} } } },
    { edu_type: 'org.example.unknown', content: {} },
  ];
  const edus = [
    ...strange,
    typing(alice.userId),
    typing(peer.user('nobody')),
    typing(peer.user('mallory'), `!other:${peer.name}`),
    receipt(alice.userId, message),
    receipt(peer.user('nobody'), message),
    typing(peer.user('mallory')),
    receipt(peer.user('mallory'), message),
  ];
  assert.equal((await peer.send(server, [], { edus })).status, 200);
  assert.deepEqual(server.ctx.typing.in(roomId), [peer.user('mallory')]);
  const { rooms } = await alice.sync();
  const events = rooms.join[roomId].ephemeral.events;
  const receipts = events.find((event: Body) => event.type === 'm.receipt').content;
  assert.deepEqual(Object.keys(receipts[message]['m.read']), [peer.user('mallory')]);
});

test('events that were answered for survive a restart before they are received', async () => {
  await using peer = await peerWithGuest();
  const { room } = peer;
  const events = [1, 2, 3].map((count) => room.message(peer.user('mallory'), `staged ${count}`));
  // As a crash leaves them: on disk, and not received.
  await server.ctx.db.write('test.stage', async (tx) => {
    const staged = await import('#storage/staged-events.ts');
    await staged.insert(
      tx,
      events.map(({ roomId, eventId, json }) => ({ roomId, eventId, json, origin: peer.name })),
    );
  });
  await server.restart();
  assert.deepEqual(await untilMessages(alice, room.roomId, ['staged 3']), [
    'staged 1',
    'staged 2',
    'staged 3',
  ]);
});

test('an event of a room that we have left is refused', async () => {
  await using peer = await peerWithGuest();
  const { room } = peer;
  await alice.post(`${inRoom(room.roomId)}/leave`);
  const event = room.message(peer.user('mallory'), 'are you there?');
  const answer = await peer.send(server, [event]);
  assert.match(answer.body.pdus[event.eventId].error, /not in the room/);
});

test('bad events of strangers do not fill the log', async () => {
  const lines: string[] = [];
  await using other = await startFleet(1, { logTo: (line) => lines.push(line) });
  await using peer = await new RoomPeer(other.authority).start();
  const room = roomOf(peer.user('mallory'));
  for (let count = 0; count < 20; count++) {
    const bad = Array.from({ length: 50 }, () => room.message(peer.user('mallory'), 'spam'));
    await peer.send(other.at(0), bad);
  }
  const warnings = lines.filter(isWarning);
  assert.ok(warnings.length <= 2, warnings.join('\n'));
});
