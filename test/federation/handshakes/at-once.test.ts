/** Joins, leaves and invitations of one room that run at the same time. */

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import type { UserId } from '#keys/ids.ts';
import type { JsonObject } from '#keys/json.ts';
import { checkRooms } from '#rooms/db-check.ts';
import type { Event } from '#rooms/event.ts';
import { sendEvent } from '#rooms/send.ts';
import { register, type TestClient } from '#test/harness/client.ts';
import {
  inRoom,
  membershipOf,
  untilInvited,
  untilMember,
  untilMessages,
} from '#test/harness/conversation.ts';
import { startFleet } from '#test/harness/fleet.ts';
import { RoomPeer } from '#test/harness/room-peer.ts';
import { until } from '#test/harness/until.ts';

const fleet = await startFleet(1);
after(() => fleet[Symbol.asyncDispose]());
const server = fleet.at(0);
const encode = encodeURIComponent;

interface Setting extends AsyncDisposable {
  readonly peer: RoomPeer;
  readonly user: TestClient;
  readonly neighbour: TestClient;
  readonly roomId: string;
}

/** A room that nobody may enter uninvited, and two of our users who are invited; only the first one is told of it. */
async function invitedToRoom(): Promise<Setting> {
  const peer = await new RoomPeer(fleet.authority).start();
  const room = peer.makeRoom({ join_rule: 'invite' });
  const [user, neighbour] = [await register(server), await register(server)];
  room.invite(peer.user('mallory'), neighbour.userId as UserId);
  await handIn(peer, room.invite(peer.user('mallory'), user.userId as UserId));
  await untilInvited(user, room.roomId);
  const { roomId } = room;
  return { peer, user, neighbour, roomId, [Symbol.asyncDispose]: () => peer[Symbol.asyncDispose]() };
}

async function handIn(peer: RoomPeer, { pdu, roomId, eventId }: Event): Promise<void> {
  const { status } = await peer.request(server, {
    method: 'PUT',
    path: `/_matrix/federation/v2/invite/${encode(roomId)}/${encode(eventId)}`,
    body: { room_version: '12', event: pdu, invite_room_state: [peer.room.create.pdu] },
  });
  assert.equal(status, 200);
}

function join(user: TestClient, { roomId, peer }: Pick<Setting, 'roomId' | 'peer'>) {
  return user.try('POST', `/join/${encode(roomId)}?via=${encode(peer.name)}`);
}

function leave(user: TestClient, { roomId }: Pick<Setting, 'roomId'>) {
  return user.try('POST', `${inRoom(roomId)}/leave`, {});
}

/** A neighbour is in the room, and a user has an invitation that it has not heard of: it is accepted by way of who gave it. */
async function lateGuest(setting: Setting): Promise<TestClient> {
  const { peer } = setting;
  const late = await register(server);
  const elsewhere = peer.room.fork();
  const invite = elsewhere.invite(peer.user('mallory'), late.userId as UserId);
  await handIn(peer, invite);
  assert.equal((await join(setting.neighbour, setting)).status, 200);
  peer.room.merge([elsewhere], [invite]);
  return late;
}

/** What the server has sent of a user to the peer. */
function sentOf(peer: RoomPeer, userId: string): unknown[] {
  const transactions = peer.peer.requests.filter(({ url }) => url.includes('/v1/send/'));
  const pdus = transactions.flatMap(({ body }) => (JSON.parse(body) as { pdus?: JsonObject[] }).pdus ?? []);
  return pdus
    .filter(({ state_key: key }) => key === userId)
    .map(({ content }) => (content as JsonObject).membership);
}

test('who declines an invitation while a neighbour joins is out of the room, though nobody sends the leave back', async () => {
  await using setting = await invitedToRoom();
  const { peer, user, neighbour, roomId } = setting;
  peer.script = async (request) => {
    if (!request.url.includes('/send_leave/')) return undefined;
    // The room that lets the neighbour in does not know of it yet.
    assert.equal((await join(neighbour, setting)).status, 200);
    return peer.usual(request);
  };
  assert.equal((await leave(user, setting)).status, 200);
  assert.equal(await membershipOf(neighbour, roomId, user.userId), 'leave');
  assert.equal((await user.sync()).rooms?.invite?.[roomId], undefined);
  assert.equal((await join(user, setting)).status, 403);
  assert.deepEqual(await Array.fromAsync(checkRooms(server.ctx)), []);
});

test('who leaves amid their own join is out of the room when it has ended, and the room is told', async () => {
  await using setting = await invitedToRoom();
  const { peer, user, roomId } = setting;
  const { promise: asked, resolve: isAsked } = Promise.withResolvers<void>();
  const { promise: goesOn, resolve: goOn } = Promise.withResolvers<void>();
  peer.script = async (request) => {
    if (!request.url.includes('/send_join/')) return undefined;
    isAsked();
    await goesOn;
    return peer.usual(request);
  };
  const joining = join(user, setting);
  await asked;
  const leaving = leave(user, setting);
  goOn();
  assert.equal((await joining).status, 200);
  assert.equal((await leaving).status, 200);
  const { rooms } = await user.sync({ fullState: true });
  assert.equal(rooms?.join?.[roomId], undefined);
  assert.equal(rooms?.invite?.[roomId], undefined);
  await until(() => sentOf(peer, user.userId).includes('leave'), 'that the room is told');
});

test('the last of our users leaves while another joins by way of the room: each is where they want to be', async () => {
  await using setting = await invitedToRoom();
  const { peer, neighbour, roomId } = setting;
  const late = await lateGuest(setting);
  peer.room.message(peer.user('mallory'), 'a gap');
  peer.script = async (request) => {
    if (!request.url.includes('/send_join/')) return undefined;
    assert.equal((await leave(neighbour, setting)).status, 200);
    return peer.usual(request);
  };
  assert.equal((await join(late, setting)).status, 200);
  await untilMember(late, roomId, late.userId, 'join');
  assert.equal(await membershipOf(late, roomId, neighbour.userId), 'leave');
  assert.equal((await neighbour.sync()).rooms?.join?.[roomId], undefined);
  assert.deepEqual(await Array.fromAsync(checkRooms(server.ctx)), []);
});

test('a room that we are in goes on while another server is asked to let one of our users in', async () => {
  await using setting = await invitedToRoom();
  const { peer, neighbour, roomId } = setting;
  const late = await lateGuest(setting);
  const message = peer.room.message(peer.user('mallory'), 'meanwhile');
  peer.script = async (request) => {
    if (!request.url.includes('/make_join/')) return undefined;
    const sent = peer.send(server, [message]);
    await untilMessages(neighbour, roomId, ['meanwhile']);
    assert.equal((await sent).status, 200);
    return peer.usual(request);
  };
  assert.equal((await join(late, setting)).status, 200);
  assert.equal(peer.asked('/make_join/').length, 2);
});

test('what one of ours does together with the leave of the last of ours goes to the room by a handshake', async () => {
  await using peer = await new RoomPeer(fleet.authority).start();
  const room = peer.makeRoom({ join_rule: 'public' });
  const { roomId } = room;
  const [last, next] = [await register(server), await register(server)];
  assert.equal((await join(last, { peer, roomId })).status, 200);
  const member = (userId: string, membership: string) =>
    sendEvent(server.ctx, {
      ...{ roomId, type: 'm.room.member', content: { membership } },
      ...{ sender: userId as UserId, stateKey: userId },
    });
  // Both wait for the room, and are taken together.
  const sent = await Promise.all([member(last.userId, 'leave'), member(next.userId, 'join')]);
  assert.deepEqual(
    sent.map(({ kind }) => kind),
    ['sent', 'unknown_room'],
  );
  room.member(last.userId as UserId, last.userId as UserId, 'leave');
  const [left, joined] = await Promise.all([leave(last, { roomId }), join(next, { peer, roomId })]);
  assert.deepEqual([left.status, joined.status], [200, 200]);
  assert.equal(peer.asked('/send_join/').length, 2);
});

test('the last of our users leaves and another joins, in any order: the other server agrees who is in the room', async () => {
  await using two = await startFleet(2);
  const admin = await register(two.at(0));
  const users = [await register(two.at(1)), await register(two.at(1))];
  const roomId = await admin.createRoom({ preset: 'public_chat' });
  await users[0]?.join(roomId, [two.at(0).serverName]);
  for (let turn = 0; turn < 6; turn++) {
    const [last, next] = turn % 2 === 0 ? users : users.toReversed();
    assert.ok(last !== undefined && next !== undefined);
    await untilMember(admin, roomId, last.userId, 'join');
    const path = `/join/${encode(roomId)}?via=${encode(two.at(0).serverName)}`;
    const both = [() => leave(last, { roomId }), () => next.try('POST', path)];
    const answers = await Promise.all((turn % 3 === 0 ? both : both.toReversed()).map((act) => act()));
    assert.deepEqual(
      answers.map(({ status }) => status),
      [200, 200],
      `turn ${turn}`,
    );
    await untilMember(next, roomId, next.userId, 'join');
    for (const viewer of [admin, next]) {
      await untilMember(viewer, roomId, next.userId, 'join');
      await untilMember(viewer, roomId, last.userId, 'leave');
    }
  }
});
