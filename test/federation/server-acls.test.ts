/** https://spec.matrix.org/v1.19/server-server-api/#server-access-control-lists-acls */

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import type { UserId } from '#keys/ids.ts';
import type { JsonObject } from '#keys/json.ts';
import { type Body, register } from '#test/harness/client.ts';
import { inRoom, membershipOf, untilMessages } from '#test/harness/conversation.ts';
import { startFleet } from '#test/harness/fleet.ts';
import { RoomPeer } from '#test/harness/room-peer.ts';
import { specBundle } from '#test/harness/spec/bundle.ts';
import { until } from '#test/harness/until.ts';

const fleet = await startFleet(1);
after(() => fleet[Symbol.asyncDispose]());
const server = fleet.at(0);
const alice = await register(server, 'alice');
const encode = encodeURIComponent;
const V1 = '/_matrix/federation/v1';
const V2 = '/_matrix/federation/v2';
const NO_EVENT = `$${'A'.repeat(43)}`;

/** A room of another server that alice is in, so that we are asked about it. */
async function peerWithGuest(joinRule = 'public'): Promise<RoomPeer> {
  const peer = await new RoomPeer(fleet.authority).start();
  const room = peer.makeRoom({ version: '11', join_rule: joinRule });
  room.invite(peer.user('mallory'), alice.userId as UserId);
  await alice.join(room.roomId, [peer.name]);
  return peer;
}

/** The room denies the peer from now on, by its own word. */
async function deny(peer: RoomPeer): Promise<void> {
  const { room } = peer;
  const content = { allow: ['*'], deny: ['localhost'] };
  await peer.send(server, [room.state(peer.user('mallory'), 'm.room.server_acl', '', content)]);
  const path = `${inRoom(room.roomId)}/state/m.room.server_acl/`;
  await until(async () => (await alice.try('GET', path)).status === 200, 'the access control list');
}

interface Row {
  readonly method?: string;
  readonly path: (ids: { room: string; event: string; user: string }) => string;
  readonly body?: (peer: RoomPeer) => JsonObject;
  readonly joinRule?: string;
}

const invitation = (peer: RoomPeer) => {
  const { room } = peer;
  const content = { membership: 'invite' };
  const options = { type: 'm.room.member', state_key: `@x:${server.serverName}`, content };
  return room.draft(peer.user('mallory'), { ...options, origin_server_ts: 1_700_000_000_000 });
};

/** Every endpoint that another server names a room to. Those of the list "MUST be protected", and two more. */
const rows: Readonly<Record<string, Row>> = {
  make_join: { path: ({ room, user }) => `${V1}/make_join/${room}/${user}?ver=11` },
  make_leave: { path: ({ room, user }) => `${V1}/make_leave/${room}/${user}` },
  make_knock: { path: ({ room, user }) => `${V1}/make_knock/${room}/${user}?ver=11`, joinRule: 'knock' },
  'send_join v1': handsIn(`${V1}/send_join`),
  'send_join v2': handsIn(`${V2}/send_join`),
  'send_leave v1': handsIn(`${V1}/send_leave`),
  'send_leave v2': handsIn(`${V2}/send_leave`),
  send_knock: handsIn(`${V1}/send_knock`),
  'invite v1': handsIn(`${V1}/invite`),
  'invite v2': {
    ...handsIn(`${V2}/invite`),
    body: (peer) => ({ room_version: '11', event: invitation(peer).pdu, invite_room_state: [] }),
  },
  state: { path: ({ room, event }) => `${V1}/state/${room}?event_id=${event}` },
  state_ids: { path: ({ room, event }) => `${V1}/state_ids/${room}?event_id=${event}` },
  backfill: { path: ({ room, event }) => `${V1}/backfill/${room}?v=${event}&limit=1` },
  event_auth: { path: ({ room, event }) => `${V1}/event_auth/${room}/${event}` },
  get_missing_events: {
    method: 'POST',
    path: ({ room }) => `${V1}/get_missing_events/${room}`,
    body: (peer) => ({ latest_events: [peer.room.last.eventId], earliest_events: [] }),
  },
  timestamp_to_event: { path: ({ room }) => `${V1}/timestamp_to_event/${room}?ts=2000000000000&dir=b` },
  exchange_third_party_invite: {
    method: 'PUT',
    path: ({ room }) => `${V1}/exchange_third_party_invite/${room}`,
    body: () => ({}),
  },
};

/** A finished event that is none: what is wrong with it is said to those who may ask. */
function handsIn(path: string): Row {
  return { method: 'PUT', path: ({ room }) => `${path}/${room}/${encode(NO_EVENT)}`, body: () => ({}) };
}

async function ask(peer: RoomPeer, { method, path, body }: Row, user: string) {
  const ids = { room: peer.room.roomId, event: peer.room.last.eventId, user: peer.user(user) };
  const encoded = { room: encode(ids.room), event: encode(ids.event), user: encode(ids.user) };
  return peer.request(server, {
    path: path(encoded),
    ...(method !== undefined && { method }),
    ...(body !== undefined && { body: body(peer) }),
  });
}

for (const [name, row] of Object.entries(rows)) {
  test(`${name}: a server that the room denies is refused with 403 M_FORBIDDEN, and no other`, async () => {
    await using peer = await peerWithGuest(row.joinRule);
    const user = name === 'make_leave' ? 'mallory' : 'guest';
    const before = await ask(peer, row, user);
    assert.notEqual(before.status, 403, JSON.stringify(before.body));
    assert.notEqual(before.status, 404, JSON.stringify(before.body));
    await deny(peer);
    const { status, body } = await ask(peer, row, user);
    assert.deepEqual([status, body.errcode], [403, 'M_FORBIDDEN']);
  });
}

test('the table has every endpoint that names a room, but those that the specification does not protect', async () => {
  const { operations } = await specBundle();
  const endpointOf = (path: string): string => path.split('/').slice(3, 5).join('/');
  const ids = { room: 'r', event: 'e', user: 'u' };
  const tested = new Set(Object.values(rows).map(({ path }) => endpointOf(path(ids))));
  const named = operations
    .filter(({ api, path }) => api === 'server-server' && path.includes('{roomId}'))
    .map(({ path }) => endpointOf(path));
  const missing = [...new Set(named)].filter((endpoint) => !tested.has(endpoint));
  assert.deepEqual(missing.sort(), ['v1/hierarchy']);
});

test('invite: an invitation to a room that denies the server that invites is not signed, and not told', async () => {
  await using peer = await peerWithGuest();
  await deny(peer);
  const user = await register(server);
  const { room } = peer;
  const options = { type: 'm.room.member', state_key: user.userId, content: { membership: 'invite' } };
  const event = room.draft(peer.user('mallory'), options);
  const path = `${V2}/invite/${encode(room.roomId)}/${encode(event.eventId)}`;
  const body = { room_version: '11', event: event.pdu, invite_room_state: [] };
  const answer = await peer.request(server, { method: 'PUT', path, body });
  assert.deepEqual([answer.status, answer.body.errcode], [403, 'M_FORBIDDEN']);
  assert.equal((await user.sync()).rooms?.invite?.[room.roomId], undefined);
  assert.equal(await membershipOf(alice, room.roomId, user.userId), undefined);
});

test('event: an event of a room that denies the server is as one that is not there', async () => {
  await using peer = await peerWithGuest();
  const path = `${V1}/event/${encode(peer.room.last.eventId)}`;
  assert.equal((await peer.request(server, { path })).status, 200);
  await deny(peer);
  assert.equal((await peer.request(server, { path })).status, 404);
});

test('send: each PDU of a room that denies the server has its error, and those of other rooms are taken', async () => {
  await using peer = await peerWithGuest();
  const denied = peer.room;
  await deny(peer);
  const open = peer.makeRoom({ join_rule: 'public' });
  await alice.join(open.roomId, [peer.name]);
  const mallory = peer.user('mallory');
  const refused = denied.message(mallory, 'refused');
  const taken = open.message(mallory, 'taken');
  const { status, body } = await peer.send(server, [refused, taken]);
  assert.equal(status, 200);
  assert.match(body.pdus[refused.eventId].error, /denied/);
  assert.deepEqual(body.pdus[taken.eventId], {});
  assert.ok(!(await untilMessages(alice, open.roomId, ['taken'])).includes('refused'));
  const path = `${inRoom(denied.roomId)}/event/${encode(refused.eventId)}`;
  assert.equal((await alice.try('GET', path)).status, 404);
});

test('send: typing and receipts of a room that denies the server are ignored, and those of other rooms taken', async () => {
  await using peer = await peerWithGuest();
  const denied = peer.room;
  const mallory = peer.user('mallory');
  const first = denied.message(mallory, 'first');
  await peer.send(server, [first]);
  await untilMessages(alice, denied.roomId, ['first']);
  await deny(peer);
  const open = peer.makeRoom({ join_rule: 'public' });
  await alice.join(open.roomId, [peer.name]);
  const other = open.message(mallory, 'other');
  await peer.send(server, [other]);
  await untilMessages(alice, open.roomId, ['other']);
  const typing = (room_id: string) => ({
    ...{ edu_type: 'm.typing', content: { room_id, user_id: mallory, typing: true } },
  });
  const read = (eventId: string) => ({ 'm.read': { [mallory]: { event_ids: [eventId], data: { ts: 1 } } } });
  const receipts = {
    edu_type: 'm.receipt',
    content: { [denied.roomId]: read(first.eventId), [open.roomId]: read(other.eventId) },
  };
  const edus = [typing(denied.roomId), receipts, typing(open.roomId)];
  assert.equal((await peer.send(server, [], { edus })).status, 200);
  const { rooms } = await alice.sync();
  const ephemeral = (roomId: string): string[] =>
    rooms.join[roomId].ephemeral.events.map(({ type }: Body) => type).sort();
  assert.deepEqual(ephemeral(open.roomId), ['m.receipt', 'm.typing']);
  assert.deepEqual(ephemeral(denied.roomId), []);
});

test('"Servers should still send events to denied servers if they are still residents of the room."', async () => {
  await using peer = await peerWithGuest();
  await deny(peer);
  await alice.send(peer.room.roomId, 'still told');
  const sent = () => peer.peer.requests.some(({ body }) => body.includes('still told'));
  await until(sent, 'the message at the denied server');
});
