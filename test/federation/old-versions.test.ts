/** What servers of other ages say to each other: the first version of the handshakes, ids with slashes, old pairs. */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { isObject, type JsonObject } from '#keys/json.ts';
import { type Event, eventFrom } from '#rooms/event.ts';
import { loadEvent } from '#rooms/load.ts';
import { countersign, signEvent } from '#rooms/sign-event.ts';
import { rulesOf } from '#rooms/versions.ts';
import { register, type TestClient } from '#test/harness/client.ts';
import {
  inRoom,
  membershipOf,
  untilInvited,
  untilMember,
  untilMessages,
} from '#test/harness/conversation.ts';
import { startFleet } from '#test/harness/fleet.ts';
import type { PeerAnswer, PeerRequest } from '#test/harness/peer.ts';
import { keyPairOf } from '#test/harness/room-builder.ts';
import { RoomPeer, type Script } from '#test/harness/room-peer.ts';

const fleet = await startFleet(1);
after(() => fleet[Symbol.asyncDispose]());
const server = fleet.at(0);
const alice = await register(server, 'alice');
const FEDERATION = '/_matrix/federation';
const unrecognized: PeerAnswer = {
  status: 404,
  json: { errcode: 'M_UNRECOGNIZED', error: 'no such endpoint' },
};

async function peerWithRoom(options = {}): Promise<RoomPeer> {
  const peer = await new RoomPeer(fleet.authority).start();
  peer.makeRoom(options);
  return peer;
}

/** A server from before the second version of the handshakes: its answers are pairs. */
function onlyV1(peer: RoomPeer): Script {
  return (request: PeerRequest) => {
    if (/\/v2\/(send_join|send_leave|invite)\//.test(request.url)) return unrecognized;
    if (!/\/v1\/(send_join|send_leave|invite)\//.test(request.url)) return undefined;
    const usual = request.url.includes('/invite/') ? signedInvite(peer, request) : peer.usual(request);
    assert.ok(typeof usual !== 'function');
    return { ...usual, json: [200, usual.json] as unknown as JsonObject };
  };
}

function signedInvite(peer: RoomPeer, request: PeerRequest): PeerAnswer {
  const rules = rulesOf('1');
  const pdu: unknown = JSON.parse(request.body);
  assert.ok(rules && isObject(pdu));
  const { unsigned, ...event } = pdu;
  assert.ok(isObject(unsigned) && Array.isArray(unsigned.invite_room_state));
  return { json: { event: countersign(event, rules, peer.name, keyPairOf(peer.name)) } };
}

/** A handshake by the first version of an endpoint, which answers with a pair. */
async function putV1(peer: RoomPeer, endpoint: string, event: Event, body: JsonObject = event.pdu) {
  const ids = `${encodeURIComponent(event.roomId)}/${encodeURIComponent(event.eventId)}`;
  const path = `${FEDERATION}/v1/${endpoint}/${ids}`;
  return peer.request(server, { method: 'PUT', path, body });
}

/** The membership event of a template, completed as the peer does. */
async function completed(peer: RoomPeer, roomId: string, userId: string, membership: 'join' | 'leave') {
  const ids = `${encodeURIComponent(roomId)}/${encodeURIComponent(userId)}`;
  const versions = Array.from({ length: 12 }, (_, index) => `ver=${index + 1}`).join('&');
  const query = membership === 'join' ? `?${versions}` : '';
  const { body } = await peer.request(server, { path: `${FEDERATION}/v1/make_${membership}/${ids}${query}` });
  const rules = rulesOf(body.room_version);
  assert.ok(rules, JSON.stringify(body));
  const own = rules.eventIds === 'chosen' ? { event_id: `$${membership}${roomId.length}:${peer.name}` } : {};
  const pdu = signEvent(
    { ...body.event, ...own, origin_server_ts: 1 },
    rules,
    peer.name,
    keyPairOf(peer.name),
  );
  return { template: body.event as JsonObject, event: eventFrom(pdu, rules) };
}

for (const version of ['1', '2', '6', '12']) {
  test(`v${version}: send_join and send_leave of v1 are served, with a pair for an answer`, async () => {
    await using peer = await new RoomPeer(fleet.authority).start();
    const roomId = await alice.createRoom({ room_version: version });
    const user = peer.user('eve');
    const join = await completed(peer, roomId, user, 'join');
    assert.equal(join.template.event_id, undefined, 'who completes the event chooses its id');
    const { status, body } = await putV1(peer, 'send_join', join.event);
    assert.equal(status, 200, JSON.stringify(body));
    assert.ok(Array.isArray(body) && body.length === 2 && body[0] === 200);
    const types = body[1].state.map((event: JsonObject) => event.type);
    assert.ok(types.includes('m.room.create') && types.includes('m.room.power_levels'));
    assert.ok(body[1].auth_chain.length > 0);
    await untilMember(alice, roomId, user, 'join');

    const leave = await completed(peer, roomId, user, 'leave');
    const left = await putV1(peer, 'send_leave', leave.event);
    assert.deepEqual([left.status, left.body], [200, [200, {}]]);
    await untilMember(alice, roomId, user, 'leave');
  });

  test(`v${version}: where a server has no v2 of send_join and send_leave, v1 is asked`, async () => {
    await using peer = await peerWithRoom({ version });
    const { room } = peer;
    peer.script = onlyV1(peer);
    await alice.join(room.roomId, [peer.name]);
    assert.equal(peer.asked('/v1/send_join/').length, 1);
    await peer.send(server, [room.message(peer.user('mallory'), 'welcome')]);
    await untilMessages(alice, room.roomId, ['welcome']);
    await alice.post(`${inRoom(room.roomId)}/leave`);
  });
}

for (const version of ['1', '2']) {
  test(`v${version}: an invitation by v1 of invite is taken, declined by v1 of send_leave, and the room joined later`, async () => {
    await using peer = await peerWithRoom({ version });
    const { room } = peer;
    const mallory = peer.user('mallory');
    peer.script = onlyV1(peer);
    const shown = {
      invite_room_state: [{ type: 'm.room.name', state_key: '', sender: mallory, content: { name: 'Old' } }],
    };
    const first = room.invite(mallory, alice.userId as `@${string}`);
    const { status, body } = await putV1(peer, 'invite', first, { ...first.pdu, unsigned: shown });
    assert.deepEqual([status, body[0]], [200, 200], JSON.stringify(body));
    assert.ok(body[1].event.signatures[server.serverName]);
    const stripped = await untilInvited(alice, room.roomId);
    assert.ok(stripped.some((event) => event.content.name === 'Old'));

    await alice.post(`${inRoom(room.roomId)}/leave`);
    assert.equal(peer.asked('/v1/send_leave/').length, 1);
    const second = room.invite(mallory, alice.userId as `@${string}`);
    assert.equal((await putV1(peer, 'invite', second, { ...second.pdu, unsigned: shown })).status, 200);
    await untilInvited(alice, room.roomId);
    await alice.join(room.roomId, [peer.name]);
    assert.equal(await membershipOf(alice, room.roomId, alice.userId), 'join');
    const { content } = (await alice.get(`${inRoom(room.roomId)}/state?format=event`)).find(
      (event: { type: string }) => event.type === 'm.room.create',
    );
    assert.equal(content.room_version, version);
  });

  test(`v${version}: where a server has no v2 of invite, v1 is asked`, async () => {
    await using peer = await new RoomPeer(fleet.authority).start();
    peer.script = onlyV1(peer);
    const roomId = await alice.createRoom({ preset: 'private_chat', room_version: version });
    const target = peer.user('eve');
    await alice.post(`${inRoom(roomId)}/invite`, { user_id: target });
    assert.equal(peer.asked('/v1/invite/').length, 1);
    assert.equal(await membershipOf(alice, roomId, target), 'invite');
  });
}

test('v3: where a server has no v2 of invite, v1 is not asked: it would take the room for one of version 1', async () => {
  await using peer = await new RoomPeer(fleet.authority).start();
  peer.script = onlyV1(peer);
  const roomId = await alice.createRoom({ preset: 'private_chat', room_version: '3' });
  const { status } = await alice.try('POST', `${inRoom(roomId)}/invite`, { user_id: peer.user('eve') });
  assert.ok(status >= 400);
  assert.equal(peer.asked('/v1/invite/').length, 0);
});

/** A message whose id has both characters that are special in a path. */
async function messageWithSlash(user: TestClient, roomId: string): Promise<string> {
  for (let count = 0; count < 200; count++) {
    // One after the other, until chance brings one.
    const eventId = await user.send(roomId, `message ${count}`);
    if (eventId.includes('/') && eventId.includes('+')) return eventId;
  }
  throw new Error('no id has a slash and a plus');
}

test('v3: an id with a slash and a plus is found by clients and servers, in every path', async () => {
  await using peer = await peerWithRoom({ version: '3' });
  const { room } = peer;
  await alice.join(room.roomId, [peer.name]);
  const eventId = await messageWithSlash(alice, room.roomId);
  const id = encodeURIComponent(eventId);
  const path = inRoom(room.roomId);
  assert.equal((await alice.get(`${path}/event/${id}`)).event_id, eventId);
  assert.equal((await alice.get(`${path}/context/${id}`)).event.event_id, eventId);
  await alice.post(`${path}/receipt/m.read/${id}`);
  await alice.post(`${path}/read_markers`, { 'm.fully_read': eventId });
  // A plus may also stand as it is.
  assert.equal((await alice.get(`${path}/event/${id.replaceAll('%2B', '+')}`)).event_id, eventId);

  const asked = (rest: string) => peer.request(server, { path: `${FEDERATION}/v1/${rest}` });
  const inPath = encodeURIComponent(room.roomId);
  assert.equal((await asked(`event/${id}`)).body.pdus.length, 1);
  assert.ok((await asked(`event_auth/${inPath}/${id}`)).body.auth_chain.length > 0);
  assert.ok((await asked(`state_ids/${inPath}?event_id=${id}`)).body.pdu_ids.length > 0);
  assert.equal((await asked(`backfill/${inPath}?v=${id}&limit=1`)).body.pdus.length, 1);

  await alice.put(`${path}/redact/${id}/r1`, {});
  assert.deepEqual((await alice.get(`${path}/event/${id}`)).content, {});
});

test('v3: an event with a slash in its id is fetched from another server by that id', async () => {
  await using peer = await peerWithRoom({ version: '3' });
  const { room } = peer;
  const mallory = peer.user('mallory');
  await alice.join(room.roomId, [peer.name]);
  let missed = room.message(mallory, 'missed 0');
  for (let count = 1; !/[/+]/.test(missed.eventId); count++)
    missed = room.message(mallory, `missed ${count}`);
  await peer.send(server, [room.message(mallory, 'after it')]);
  await untilMessages(alice, room.roomId, ['after it', String(missed.content.body)]);
});

test('v1: a transaction is answered by the ids that its events have chosen; one without an id has no answer', async () => {
  await using peer = await peerWithRoom({ version: '1' });
  const { room } = peer;
  const mallory = peer.user('mallory');
  await alice.join(room.roomId, [peer.name]);
  const good = room.message(mallory, 'good');
  const { event_id: _, ...without } = room.draft(mallory, { type: 'm.room.message' }).pdu;
  const foreign = room.draft(mallory, { type: 'm.room.message', pdu: { event_id: '$taken:elsewhere.test' } });
  const { body } = await peer.send(server, [good, JSON.stringify(without), foreign]);
  assert.deepEqual(Object.keys(body.pdus).sort(), [good.eventId, foreign.eventId].sort());
  assert.deepEqual(body.pdus[good.eventId], {});
  assert.match(body.pdus[foreign.eventId].error, /not signed by elsewhere.test/);
  await untilMessages(alice, room.roomId, ['good']);
  const stored = await loadEvent(server.ctx, good.eventId);
  assert.equal(stored?.event.json, good.json);
});
