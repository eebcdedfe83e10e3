/** Invitations of our users to rooms that our server is in: https://spec.matrix.org/v1.19/server-server-api/#inviting-to-a-room */

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import type { UserId } from '#keys/ids.ts';
import type { JsonObject } from '#keys/json.ts';
import type { Event } from '#rooms/event.ts';
import { loadEvent } from '#rooms/load.ts';
import { countersign } from '#rooms/sign-event.ts';
import { type Body, register, type TestClient } from '#test/harness/client.ts';
import {
  inRoom,
  membershipOf,
  untilInvited,
  untilMember,
  untilMessages,
} from '#test/harness/conversation.ts';
import { startFleet } from '#test/harness/fleet.ts';
import { keyPairOf } from '#test/harness/room-builder.ts';
import { RoomPeer } from '#test/harness/room-peer.ts';

const fleet = await startFleet(1);
after(() => fleet[Symbol.asyncDispose]());
const server = fleet.at(0);
const encode = encodeURIComponent;

/** A room of another server that one of our users is in, and that nobody else may enter uninvited. */
async function closedRoom(version: string): Promise<{ peer: RoomPeer; member: TestClient }> {
  const peer = await new RoomPeer(fleet.authority).start();
  const room = peer.makeRoom({ version });
  const member = await register(server);
  await peer.send(server, []);
  await join(member, peer);
  const rules = room.state(peer.user('mallory'), 'm.room.join_rules', '', { join_rule: 'invite' });
  await peer.send(server, [rules, room.message(peer.user('mallory'), 'closed')]);
  await untilMessages(member, room.roomId, ['closed']);
  return { peer, member };
}

function join(user: TestClient, peer: RoomPeer) {
  return user.try('POST', `/join/${encode(peer.room.roomId)}?via=${encode(peer.name)}`);
}

function invitationOf(
  peer: RoomPeer,
  user: TestClient,
  options: { readonly by?: string; readonly pdu?: JsonObject } = {},
) {
  const { by = 'mallory', pdu = {} } = options;
  const content = { membership: 'invite' };
  return peer.room.draft(peer.user(by), { type: 'm.room.member', state_key: user.userId, content, pdu });
}

/** Hands an invitation in, and nothing else: the room is sent nothing. */
function handIn(peer: RoomPeer, event: Event) {
  const { room } = peer;
  return peer.request(server, {
    method: 'PUT',
    path: `/_matrix/federation/v2/invite/${encode(room.roomId)}/${encode(event.eventId)}`,
    body: { room_version: room.rules.version, event: event.pdu, invite_room_state: [room.create.pdu] },
  });
}

async function invitedBySliding(user: TestClient): Promise<readonly string[]> {
  const path = '/_matrix/client/unstable/org.matrix.simplified_msc3575/sync?timeout=0';
  const lists = { all: { ranges: [[0, 9]], required_state: [], timeline_limit: 1 } };
  const { rooms } = await user.post(path, { lists });
  const shown = Object.entries<Body>(rooms).filter(([, room]) => room.invite_state !== undefined);
  return shown.map(([roomId]) => roomId);
}

for (const version of ['1', '5', '11', '12']) {
  test(`v${version}: an invited user sees the invitation and may join at once, before the room has sent it`, async () => {
    const { peer, member } = await closedRoom(version);
    await using _peer = peer;
    const { roomId } = peer.room;
    const user = await register(server);
    assert.equal((await join(user, peer)).status, 403);
    const event = invitationOf(peer, user);
    assert.equal((await handIn(peer, event)).status, 200);
    const { rooms } = await user.sync();
    assert.ok(rooms.invite[roomId].invite_state.events.length > 0);
    assert.deepEqual(await invitedBySliding(user), [roomId]);
    assert.equal(await membershipOf(member, roomId, user.userId), 'invite');
    const joined = await join(user, peer);
    assert.equal(joined.status, 200, JSON.stringify(joined.body));
    assert.equal(await membershipOf(member, roomId, user.userId), 'join');
    // The room may send it still, with both signatures.
    const { rules } = peer.room;
    const signed = countersign(event.pdu, rules, server.serverName, keyPairOf(server.serverName));
    await peer.send(server, [JSON.stringify(signed)]);
    assert.equal(await membershipOf(member, roomId, user.userId), 'join');
  });
}

test('what came before an invitation and has not come yet is fetched, also where the room of who invites does not have it yet', async () => {
  const { peer, member } = await closedRoom('12');
  await using _peer = peer;
  const { roomId } = peer.room;
  const mallory = peer.user('mallory');
  peer.room.message(mallory, 'unheard');
  // Only by this the other one may invite.
  peer.room.invite(mallory, peer.user('mod'));
  peer.room.join(peer.user('mod'));
  peer.room.message(mallory, 'unheard too');
  const user = await register(server);
  assert.equal((await handIn(peer, invitationOf(peer, user, { by: 'mod' }))).status, 200);
  assert.equal(await membershipOf(member, roomId, user.userId), 'invite');
  assert.equal((await join(user, peer)).status, 200);
  await untilMessages(member, roomId, ['unheard', 'unheard too']);
});

test('what came before an invitation cannot be had: it is signed, and comes by the room', async () => {
  const { peer, member } = await closedRoom('12');
  await using _peer = peer;
  const { roomId } = peer.room;
  const unheard = peer.room.message(peer.user('mallory'), 'unheard');
  peer.hidden.add(unheard.eventId);
  const user = await register(server);
  const event = invitationOf(peer, user);
  const { status, body } = await handIn(peer, event);
  assert.equal(status, 200);
  assert.equal(await membershipOf(member, roomId, user.userId), undefined);
  peer.hidden.clear();
  await peer.send(server, [unheard, JSON.stringify(body.event)]);
  await untilInvited(user, roomId);
  assert.equal((await join(user, peer)).status, 200);
});

test('an invitation that the room does not allow is not signed, and nobody sees it', async () => {
  const { peer, member } = await closedRoom('12');
  await using _peer = peer;
  const { room } = peer;
  const user = await register(server);
  room.state(peer.user('mallory'), 'm.room.power_levels', '', { invite: 50 });
  await peer.send(server, [room.last]);
  const banned = await register(server);
  await peer.send(server, [room.ban(peer.user('mallory'), banned.userId as UserId)]);
  await untilMember(member, room.roomId, banned.userId, 'ban');
  const guest = room.fork();
  guest.join(peer.user('stranger'));
  const forged: Record<string, Event> = {
    'by one who is not in the room': invitationOf(peer, user, { by: 'stranger' }),
    'of the banned': invitationOf(peer, banned),
    'of a member': invitationOf(peer, member),
    'by who came in without leave': guest.draft(peer.user('stranger'), {
      ...{ type: 'm.room.member', state_key: user.userId, content: { membership: 'invite' } },
    }),
    'with auth events of its own choice': room.draft(peer.user('mallory'), {
      ...{ type: 'm.room.member', state_key: user.userId, content: { membership: 'invite' } },
      auth_events: [],
    }),
  };
  for (const [what, event] of Object.entries(forged)) {
    const { status, body } = await handIn(peer, event);
    assert.deepEqual([status, body.errcode], [403, 'M_FORBIDDEN'], what);
    assert.notEqual((await loadEvent(server.ctx, event.eventId))?.status, 'accepted', what);
  }
  for (const each of [user, banned]) {
    assert.equal((await each.sync()).rooms?.invite, undefined);
    assert.deepEqual(await invitedBySliding(each), []);
  }
  assert.equal((await join(user, peer)).status, 403);
});

test('an invitation to a room that is known by another version is refused', async () => {
  const { peer } = await closedRoom('11');
  await using _peer = peer;
  const { room } = peer;
  const user = await register(server);
  const event = invitationOf(peer, user);
  const { status } = await peer.request(server, {
    method: 'PUT',
    path: `/_matrix/federation/v2/invite/${encode(room.roomId)}/${encode(event.eventId)}`,
    body: { room_version: '10', event: event.pdu, invite_room_state: [room.create.pdu] },
  });
  assert.equal(status, 403);
  assert.equal((await user.sync()).rooms?.invite, undefined);
});

for (const [what, membership] of [
  ['accepted', 'join'],
  ['declined', 'leave'],
] as const) {
  test(`an invitation from before our server was in the room, which the room that let it in has not heard of, is ${what}`, async () => {
    await using peer = await new RoomPeer(fleet.authority).start();
    const room = peer.makeRoom({ join_rule: 'invite' });
    const mallory = peer.user('mallory');
    const user = await register(server);
    const neighbour = await register(server);
    room.invite(mallory, neighbour.userId as UserId);
    const elsewhere = room.fork();
    const invite = elsewhere.invite(mallory, user.userId as UserId);
    assert.equal((await handIn(peer, invite)).status, 200);
    await untilInvited(user, room.roomId);
    assert.equal((await join(neighbour, peer)).status, 200);
    assert.equal(await membershipOf(neighbour, room.roomId, user.userId), undefined);
    room.merge([elsewhere], [invite]);
    const { roomId } = room;
    const answer =
      membership === 'join' ? await join(user, peer) : await user.try('POST', `${inRoom(roomId)}/leave`, {});
    assert.equal(answer.status, 200, JSON.stringify(answer.body));
    assert.equal((await user.sync()).rooms?.invite?.[roomId], undefined);
    if (membership === 'leave') await peer.send(server, [room.last]);
    await untilMember(neighbour, roomId, user.userId, membership);
    await untilMember(neighbour, roomId, neighbour.userId, 'join');
  });
}

test('an invitation that the room has told our server of is declined by our server itself', async () => {
  await using peer = await new RoomPeer(fleet.authority).start();
  const room = peer.makeRoom({ join_rule: 'public' });
  const user = await register(server);
  const neighbour = await register(server);
  room.add(invitationOf(peer, user));
  assert.equal((await join(neighbour, peer)).status, 200);
  assert.equal((await user.try('POST', `${inRoom(room.roomId)}/leave`, {})).status, 200);
  assert.equal(await membershipOf(neighbour, room.roomId, user.userId), 'leave');
  assert.equal(peer.asked('/make_leave/').length, 0);
});

test('an invitation that no server of the room knows of can be declined', async () => {
  await using peer = await new RoomPeer(fleet.authority).start();
  const room = peer.makeRoom({ join_rule: 'invite' });
  const mallory = peer.user('mallory');
  const user = await register(server);
  const neighbour = await register(server);
  assert.equal((await handIn(peer, invitationOf(peer, user))).status, 200);
  await untilInvited(user, room.roomId);
  room.invite(mallory, neighbour.userId as UserId);
  assert.equal((await join(neighbour, peer)).status, 200);
  peer.script = ({ url }) =>
    /make_(join|leave)/.test(url)
      ? { status: 403, json: { errcode: 'M_FORBIDDEN', error: 'no' } }
      : undefined;
  assert.equal((await join(user, peer)).status, 403);
  assert.equal((await user.try('POST', `${inRoom(room.roomId)}/leave`, {})).status, 200);
  assert.equal((await user.sync()).rooms?.invite?.[room.roomId], undefined);
  assert.equal(await membershipOf(neighbour, room.roomId, user.userId), undefined);
});

test('who is invited again while the invitation is being declined has the new invitation', async () => {
  await using peer = await new RoomPeer(fleet.authority).start();
  const room = peer.makeRoom();
  const user = await register(server);
  room.add(invitationOf(peer, user));
  assert.equal((await handIn(peer, room.last)).status, 200);
  await untilInvited(user, room.roomId);
  let second: Event | undefined;
  peer.script = async (request) => {
    if (!request.url.includes('/send_leave/')) return undefined;
    const answer = peer.usual(request);
    second = invitationOf(peer, user, { pdu: { 'org.example.second': true } });
    room.add(second);
    assert.equal((await handIn(peer, second)).status, 200);
    return answer;
  };
  assert.equal((await user.try('POST', `${inRoom(room.roomId)}/leave`, {})).status, 200);
  assert.ok(second);
  await untilInvited(user, room.roomId);
  assert.equal((await user.sync()).rooms?.invite?.[room.roomId] !== undefined, true);
  assert.equal((await join(user, peer)).status, 200);
});
