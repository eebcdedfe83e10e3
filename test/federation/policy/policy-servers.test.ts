/** https://spec.matrix.org/v1.19/server-server-api/#policy-servers, as a homeserver in a room that uses one. */

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { objectAt } from '#keys/json.ts';
import { loadEvent } from '#rooms/load.ts';
import { type Answer, register, type TestClient } from '#test/harness/client.ts';
import { startFleet } from '#test/harness/fleet.ts';
import { enterPolicyRoom, PolicyPeer, type PolicyRoom } from '#test/harness/policy-peer.ts';
import { until } from '#test/harness/until.ts';

const fleet = await startFleet(2);
after(() => fleet[Symbol.asyncDispose]());
const server = fleet.at(0);

let transactions = 0;

function trySend(client: TestClient, roomId: string, body: string): Promise<Answer> {
  transactions += 1;
  const path = `/rooms/${encodeURIComponent(roomId)}/send/m.room.message/x${transactions}`;
  return client.try('PUT', path, { msgtype: 'm.text', body });
}

async function bodies({ alice, roomId }: PolicyRoom): Promise<string[]> {
  const { chunk } = await alice.get(`/rooms/${encodeURIComponent(roomId)}/messages?dir=b&limit=50`);
  return chunk
    .map(({ content }: { content: { body?: string } }) => content.body)
    .filter(Boolean)
    .reverse();
}

const REFUSAL = {
  errcode: 'M_FORBIDDEN',
  error: 'The message appears to contain possible spam',
  'org.why': 7,
};

test('an event of ours is signed by the policy server before anybody gets it, and keeps the signature', async () => {
  await using room = await enterPolicyRoom(fleet);
  const { peer, alice, roomId } = room;
  const { status, body } = await trySend(alice, roomId, 'hello');
  assert.equal(status, 200);
  assert.deepEqual(
    peer.judged.map(({ content }) => content.body),
    ['hello'],
  );
  const stored = await loadEvent(server.ctx, body.event_id);
  const signatures = objectAt(stored?.event.pdu ?? {}, 'signatures') ?? {};
  assert.deepEqual(Object.keys(signatures).sort(), [peer.name, server.serverName].sort());
  assert.deepEqual(Object.keys(objectAt(signatures, peer.name) ?? {}), ['ed25519:policy_server']);
  await until(() =>
    peer.peer.requests.some(
      ({ url, body: sent }) => url.includes('/send/') && sent.includes('policy_server'),
    ),
  );
});

test('what the policy server refuses is not in the room, and the client gets its error', async () => {
  await using room = await enterPolicyRoom(fleet);
  const { peer, alice, roomId } = room;
  peer.judge = ({ content }) => (content.body === 'spam' ? { status: 400, json: REFUSAL } : undefined);
  const answers = await Promise.all(
    ['one', 'spam', 'two', 'three'].map((text) => trySend(alice, roomId, text)),
  );
  assert.deepEqual(
    answers.map(({ status }) => status),
    [200, 400, 200, 200],
  );
  assert.deepEqual(answers[1]?.body, REFUSAL);
  assert.deepEqual(await bodies(room), ['one', 'two', 'three']);
});

test('a policy server cannot sign people out by its errors', async () => {
  await using room = await enterPolicyRoom(fleet);
  const { peer, alice, roomId } = room;
  for (const [status, errcode] of [
    [403, 'M_UNKNOWN_TOKEN'],
    [402, 'M_USER_LOCKED'],
    [418, 'M_TEAPOT'],
  ] as const) {
    peer.judge = () => ({ status, json: { errcode, error: 'go away', soft_logout: true } });
    const { status: told, body } = await trySend(alice, roomId, 'hello');
    assert.deepEqual([told, body], [400, { errcode: 'M_FORBIDDEN', error: 'go away' }]);
  }
});

test('state and memberships are asked for too, and refused alike', async () => {
  await using room = await enterPolicyRoom(fleet);
  const { peer, alice, roomId } = room;
  peer.judge = () => ({ status: 400, json: REFUSAL });
  const left = await alice.try('POST', `/rooms/${encodeURIComponent(roomId)}/leave`, {});
  assert.deepEqual([left.status, left.body.error], [403, REFUSAL.error]);
  peer.judge = () => undefined;
  await alice.post(`/rooms/${encodeURIComponent(roomId)}/leave`, {});
  assert.deepEqual(
    peer.judged.map(({ type }) => type),
    ['m.room.member', 'm.room.member'],
  );
});

test('row 148: a policy server that does not answer is an error for who sends, and holds up nobody else', async () => {
  await using room = await enterPolicyRoom(fleet);
  const { peer, alice, roomId } = room;
  await peer.peer.stop();
  const answers = await Promise.all(['a', 'b', 'c'].map((text) => trySend(alice, roomId, text)));
  assert.deepEqual(
    answers.map(({ status, body }) => [status, body.errcode]),
    Array(3).fill([504, 'M_UNKNOWN']),
  );
  const other = await alice.createRoom();
  await alice.send(other, 'elsewhere');
  await peer.peer.start();
  await until(async () => (await trySend(alice, roomId, 'again')).status === 200);
  assert.deepEqual(await bodies(room), ['again']);
});

test('row 148: while a policy server takes its time, the room receives what others send', async () => {
  await using room = await enterPolicyRoom(fleet);
  const { peer, alice, roomId } = room;
  const { promise, resolve } = Promise.withResolvers<void>();
  peer.judge = ({ content }) => (content.body === 'slow' ? promise.then(() => undefined) : undefined);
  const slow = trySend(alice, roomId, 'slow');
  await until(() => peer.judged.length > 0);
  await peer.send(server, [peer.signed(peer.room.message(peer.user('mallory'), 'meanwhile'))]);
  await until(async () => (await bodies(room)).includes('meanwhile'));
  resolve();
  assert.equal((await slow).status, 200);
  assert.deepEqual((await bodies(room)).sort(), ['meanwhile', 'slow']);
});

test('who is removed while the policy server looks at their new name does not come back by it', async () => {
  await using room = await enterPolicyRoom(fleet);
  const { peer, alice, roomId } = room;
  const { promise, resolve } = Promise.withResolvers<void>();
  peer.judge = ({ content }) => (content.displayname === 'New' ? promise.then(() => undefined) : undefined);
  const renamed = alice.put(`/profile/${encodeURIComponent(alice.userId)}/displayname`, {
    displayname: 'New',
  });
  await until(() => peer.judged.length > 0);
  const member = { membership: 'leave' };
  const removal = peer.room.state(peer.user('mallory'), 'm.room.member', alice.userId, member);
  await peer.send(server, [peer.signed(removal)]);
  await until(async () => (await alice.get('/joined_rooms')).joined_rooms.length === 0);
  resolve();
  await renamed;
  assert.deepEqual((await alice.get('/joined_rooms')).joined_rooms, []);
  assert.ok(!peer.peer.requests.some(({ url, body }) => url.includes('/send/') && body.includes('"New"')));
  assert.deepEqual((await trySend(alice, roomId, 'hello')).status, 403);
});

test('an answer that is no signature of the key in the room is none', async () => {
  await using room = await enterPolicyRoom(fleet);
  const { peer, alice, roomId } = room;
  const wrong = { [peer.name]: { 'ed25519:policy_server': 'A'.repeat(86) } };
  for (const json of [{}, wrong, { [peer.name]: { 'ed25519:other': 'A'.repeat(86) } }, { [peer.name]: 7 }]) {
    peer.judge = () => ({ json });
    const { status } = await trySend(alice, roomId, 'hello');
    assert.equal(status, 504, JSON.stringify(json));
  }
  assert.deepEqual(await bodies(room), []);
});

test('an event of others without the signature is asked for; refused, it is soft-failed', async () => {
  await using room = await enterPolicyRoom(fleet);
  const { peer } = room;
  peer.judge = ({ content }) => (content.body === 'spam' ? { status: 400, json: REFUSAL } : undefined);
  const mallory = peer.user('mallory');
  const [good, spam] = ['good', 'spam'].map((text) => peer.room.message(mallory, text));
  const signed = peer.signed(peer.room.message(mallory, 'signed'));
  assert.ok(good !== undefined && spam !== undefined);
  await peer.send(server, [good, spam, signed]);
  await until(async () => (await bodies(room)).includes('signed'));
  assert.deepEqual(await bodies(room), ['good', 'signed']);
  assert.equal((await loadEvent(server.ctx, spam.eventId))?.status, 'soft_failed');
  assert.deepEqual(peer.judged.map(({ content }) => content.body).sort(), ['good', 'spam']);
  // "The homeserver SHOULD persist the policy server's signature with the event".
  assert.match((await loadEvent(server.ctx, good.eventId))?.event.json ?? '', /policy_server/);
});

test('a signature of another key, as after a change of keys, is asked for anew', async () => {
  await using room = await enterPolicyRoom(fleet);
  const { peer } = room;
  const event = peer.room.message(peer.user('mallory'), 'moved');
  const signatures = {
    ...(event.pdu.signatures as object),
    [peer.name]: {
      ...(event.pdu.signatures as Record<string, object>)[peer.name],
      'ed25519:policy_server': 'B'.repeat(86),
    },
  };
  await peer.send(server, [JSON.stringify({ ...event.pdu, signatures })]);
  await until(async () => (await bodies(room)).includes('moved'));
  assert.equal(peer.judged.length, 1);
});

test('the policy event itself needs no signature: a room can always free itself', async () => {
  await using room = await enterPolicyRoom(fleet);
  const { peer, alice, roomId } = room;
  peer.judge = () => ({ status: 400, json: REFUSAL });
  await peer.send(server, [peer.room.state(peer.user('mallory'), 'm.room.policy', '', {})]);
  await until(async () => (await trySend(alice, roomId, 'free')).status === 200);
  assert.equal(
    peer.judged.some(({ type }) => type === 'm.room.policy'),
    false,
  );
  const before = peer.judged.length;
  await alice.send(roomId, 'still free');
  assert.equal(peer.judged.length, before);
});

test('who has nobody in the room is not its policy server, and content that lacks something names none', async () => {
  await using other = await new PolicyPeer(fleet.authority).start();
  const alice = await register(server);
  const key = other.keyPair.publicKey;
  for (const content of [
    other.policy,
    { via: server.serverName },
    { via: 7, public_keys: { ed25519: key } },
    { via: server.serverName, public_keys: { ed25519: 7 } },
    { via: server.serverName, public_keys: [] },
  ]) {
    const roomId = await alice.createRoom({ initial_state: [{ type: 'm.room.policy', content }] });
    assert.equal((await trySend(alice, roomId, 'hello')).status, 200);
  }
  assert.deepEqual(other.judged, []);
  const roomId = await alice.createRoom();
  const path = `/rooms/${encodeURIComponent(roomId)}/state/m.room.policy/`;
  await alice.put(path, { via: server.serverName, public_keys: { ed25519: 'no key' } });
  // This server is none, and says so as others do.
  assert.deepEqual((await trySend(alice, roomId, 'hello')).body.errcode, 'M_UNRECOGNIZED');
  await alice.put(path, {});
  assert.equal((await trySend(alice, roomId, 'hello')).status, 200);
});

test('a join that is handed in is signed first, and fails where that is refused', async () => {
  await using room = await enterPolicyRoom(fleet);
  const { peer, roomId } = room;
  const bob = await register(fleet.at(1));
  // By way of server 0.
  peer.script = (
    (usual) => (request) =>
      request.url.includes('/make_join/')
        ? { status: 403, json: { errcode: 'M_FORBIDDEN', error: '' } }
        : usual(request)
  )(peer.script);
  peer.judge = () => ({ status: 400, json: REFUSAL });
  const path = `/join/${encodeURIComponent(roomId)}?via=${encodeURIComponent(server.serverName)}`;
  assert.equal((await bob.try('POST', path)).status, 403);
  peer.judge = () => undefined;
  // The refusal is remembered for an event, and each join is another one.
  assert.equal((await bob.try('POST', path)).status, 200);
});

test('nobody is invited by an event that the policy server refuses', async () => {
  await using room = await enterPolicyRoom(fleet);
  const { peer, alice, roomId } = room;
  const invite = () =>
    alice.try('POST', `/rooms/${encodeURIComponent(roomId)}/invite`, { user_id: peer.user('guest') });
  peer.judge = () => ({ status: 400, json: REFUSAL });
  const refused = await invite();
  assert.deepEqual([refused.status, refused.body.error], [403, REFUSAL.error]);
  assert.deepEqual(peer.asked('/invite/'), []);
  peer.judge = () => undefined;
  assert.equal((await invite()).status, 200);
  assert.equal(peer.asked('/invite/').length, 1);
});

test('one event is asked for once, however often it comes', async () => {
  await using room = await enterPolicyRoom(fleet);
  const { peer } = room;
  const event = peer.room.message(peer.user('mallory'), 'twice');
  await Promise.all([peer.send(server, [event]), peer.send(server, [event])]);
  await until(async () => (await bodies(room)).includes('twice'));
  await peer.send(server, [event]);
  assert.equal(peer.judged.length, 1);
});

test('what follows a new policy event in a gap is asked for, as what follows it in the room is', async () => {
  await using room = await enterPolicyRoom(fleet);
  const { peer } = room;
  const mallory = peer.user('mallory');
  const free = peer.room.state(mallory, 'm.room.policy', '', {});
  await peer.send(server, [free, peer.room.message(mallory, 'free')]);
  await until(async () => (await bodies(room)).includes('free'));
  peer.room.state(mallory, 'm.room.policy', '', peer.policy);
  peer.room.message(mallory, 'in the gap');
  await peer.send(server, [peer.room.message(mallory, 'behind it')]);
  await until(async () => (await bodies(room)).includes('behind it'));
  assert.deepEqual(await bodies(room), ['free', 'in the gap', 'behind it']);
});

/** The room, where alice may replace it. */
async function replaceable(): Promise<PolicyRoom> {
  const room = await enterPolicyRoom(fleet);
  const { peer, alice, roomId } = room;
  const levels = { users: { [alice.userId]: 100 }, events: { 'm.room.tombstone': 100 } };
  await peer.send(server, [peer.room.state(peer.user('mallory'), 'm.room.power_levels', '', levels)]);
  const path = `/rooms/${encodeURIComponent(roomId)}/state/m.room.power_levels/`;
  await until(async () => (await alice.get(path)).users?.[alice.userId] === 100);
  peer.judged.length = 0;
  return room;
}

function upgrade({ alice, roomId }: PolicyRoom): Promise<Answer> {
  return alice.try('POST', `/rooms/${encodeURIComponent(roomId)}/upgrade`, { new_version: '11' });
}

test('the tombstone of a room, and its new power levels, are signed before anybody gets them', async () => {
  await using room = await replaceable();
  const { peer, alice, roomId } = room;
  const { status, body } = await upgrade(room);
  assert.equal(status, 200, JSON.stringify(body));
  assert.deepEqual(peer.judged.map(({ type }) => type).sort(), ['m.room.power_levels', 'm.room.tombstone']);
  for (const event of peer.judged) {
    const { json } = (await loadEvent(server.ctx, event.eventId))?.event ?? {};
    assert.match(json ?? '', /policy_server/, event.type);
  }
  const state = `/rooms/${encodeURIComponent(roomId)}/state`;
  assert.equal((await alice.get(`${state}/m.room.tombstone/`)).replacement_room, body.replacement_room);
});

test('a room whose policy server refuses the tombstone is not replaced; one that refuses the new levels is', async () => {
  await using room = await replaceable();
  const { peer, alice, roomId } = room;
  const tombstone = `/rooms/${encodeURIComponent(roomId)}/state/m.room.tombstone/`;
  peer.judge = ({ type }) => (type === 'm.room.tombstone' ? { status: 400, json: REFUSAL } : undefined);
  const rooms = await alice.get('/joined_rooms');
  const refused = await upgrade(room);
  assert.deepEqual([refused.status, refused.body], [400, REFUSAL]);
  assert.equal((await alice.try('GET', tombstone)).status, 404);
  assert.deepEqual(await alice.get('/joined_rooms'), rooms);
  peer.judge = ({ type }) => (type === 'm.room.power_levels' ? { status: 400, json: REFUSAL } : undefined);
  assert.equal((await upgrade(room)).status, 200);
  assert.equal((await alice.try('GET', tombstone)).status, 200);
  const levels = await alice.get(`/rooms/${encodeURIComponent(roomId)}/state/m.room.power_levels/`);
  assert.equal(levels.events_default, undefined);
});
