/** https://spec.matrix.org/v1.19/server-server-api/#presence */

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { OutgoingPresence } from '#federation/outbound/presence.ts';
import type { Json, JsonObject } from '#keys/json.ts';
import { pendingOf } from '#storage/edu-outbox.ts';
import { type Body, register, type TestClient } from '#test/harness/client.ts';
import { bringIn } from '#test/harness/conversation.ts';
import { startFleet } from '#test/harness/fleet.ts';
import type { PeerRequest } from '#test/harness/peer.ts';
import { RoomPeer } from '#test/harness/room-peer.ts';
import { until } from '#test/harness/until.ts';

let now = Date.now();
const fleet = await startFleet(3, { presence: 'federated', clock: { now: () => now } });
after(() => fleet[Symbol.asyncDispose]());
const [one, two, three] = [fleet.at(0), fleet.at(1), fleet.at(2)];
const [alice, bob, carol] = [await register(one), await register(two), await register(three)];

const pathOf = (userId: string) => `/presence/${encodeURIComponent(userId)}/status`;

function set(user: TestClient, presence: string, status?: string): Promise<Body> {
  return user.put(pathOf(user.userId), { presence, ...(status !== undefined && { status_msg: status }) });
}

function told({ presence }: Body, userId: string): Body {
  return presence?.events.find((event: Body) => event.sender === userId)?.content;
}

/** The presence EDUs that a peer was sent, each user's update by itself. */
function updatesSent(requests: readonly PeerRequest[]): Body[] {
  return requests
    .filter(({ url }) => url.includes('/send/'))
    .flatMap(({ body }) => JSON.parse(body).edus ?? [])
    .filter((edu: Body) => edu.edu_type === 'm.presence')
    .flatMap((edu: Body) => edu.content.push);
}

function edu(push: Json): JsonObject {
  return { edu_type: 'm.presence', content: { push } };
}

test('how a user is goes to the servers that share a room with them, and to no other', async () => {
  const roomId = await alice.createRoom();
  await bringIn(alice, bob, roomId);
  const { next_batch: since } = await bob.sync();
  const unconcerned = (await carol.sync()).next_batch;
  await set(alice, 'online', 'at work');
  const answer = await bob.syncUntil((body) => told(body, alice.userId)?.presence === 'online', { since });
  const { status_msg: status, currently_active: isActive, last_active_ago: ago } = told(answer, alice.userId);
  assert.deepEqual([status, isActive, typeof ago], ['at work', true, 'number']);
  assert.equal((await bob.get(pathOf(alice.userId))).status_msg, 'at work');
  await set(alice, 'unavailable');
  const next = { since: answer.next_batch };
  await bob.syncUntil((body) => told(body, alice.userId)?.presence === 'unavailable', next);
  assert.equal(told(await carol.sync({ since: unconcerned }), alice.userId), undefined);
  assert.equal((await carol.try('GET', pathOf(alice.userId))).status, 403);
});

test('a server that was away is told how a user is now, not how they were', async () => {
  await using peer = await new RoomPeer(fleet.authority).start();
  const room = peer.makeRoom();
  await alice.join(room.roomId, [peer.name]);
  let isAway = true;
  peer.script = ({ url }) =>
    isAway && url.includes('/send/') ? { status: 503, json: { errcode: 'M_UNKNOWN' } } : undefined;
  const before = peer.peer.requests.length;
  const states = ['online', 'unavailable'];
  for (const [index, state] of states.entries()) {
    const { next_batch: since } = await alice.sync({ filter: { presence: { types: [] } } });
    assert.ok(since);
    await set(alice, state, `${index}`);
    await until(async () => (await waiting(peer.name)) === `${index}`, 'that it is queued');
  }
  isAway = false;
  await one.ctx.backoff.succeeded(peer.name);
  one.ctx.sender.wake(peer.name);
  const last = () => updatesSent(peer.peer.requests.slice(before)).at(-1);
  await until(() => last()?.status_msg === '1', 'that the peer is told');
  assert.equal(last().user_id, alice.userId);
  assert.equal(last().presence, 'unavailable');
});

/** The status of the last presence that is queued for a server. */
async function waiting(server: string): Promise<unknown> {
  const rows = await pendingOf(one.ctx.db, server, 100);
  const presences = rows.map(({ edu }) => JSON.parse(edu)).filter((edu) => edu.edu_type === 'm.presence');
  return presences.at(-1)?.content.push[0].status_msg;
}

test('other servers speak of their own users only, and only of those who share a room with ours', async () => {
  await using peer = await new RoomPeer(fleet.authority).start();
  const room = peer.makeRoom();
  const { next_batch: since } = await alice.sync();
  const mallory = peer.user('mallory');
  const stranger = peer.user('stranger');
  await alice.join(room.roomId, [peer.name]);
  await set(bob, 'unavailable', 'as bob says');
  const statusHere = (user: string) => one.ctx.presence.of(user as `@${string}`).statusMsg;
  await until(() => statusHere(bob.userId) === 'as bob says', 'that the server knows how bob is');
  const nobody = `@x:${one.serverName}`;
  const claims = [alice.userId, bob.userId, stranger, nobody, mallory].map((user_id) => ({
    ...{ user_id, presence: 'online', last_active_ago: 5, status_msg: 'as mallory says' },
  }));
  assert.equal((await peer.send(one, [], { edus: [edu(claims)] })).status, 200);
  await alice.syncUntil((body) => told(body, mallory)?.status_msg === 'as mallory says', { since });
  for (const user of [alice.userId, bob.userId, stranger, nobody]) {
    assert.notEqual(statusHere(user), 'as mallory says', user);
  }
});

test('what is malformed of a presence EDU is passed over, and the rest taken in', async () => {
  await using peer = await new RoomPeer(fleet.authority).start();
  const room = peer.makeRoom();
  await alice.join(room.roomId, [peer.name]);
  const user_id = peer.user('mallory');
  const of = () => one.ctx.presence.of(user_id as `@${string}`);
  for (const push of ['x', null, 5, {}, [null], [5], [{ user_id: 5 }], [{ user_id }]] as Json[]) {
    assert.equal((await peer.send(one, [], { edus: [edu(push)] })).status, 200);
    assert.equal(
      (await peer.send(one, [], { edus: [{ edu_type: 'm.presence', content: push }] })).status,
      200,
    );
    assert.equal(of().state, 'offline');
  }
  const odd = { user_id, presence: 'online', last_active_ago: 'x', status_msg: 5, currently_active: 'yes' };
  await peer.send(one, [], { edus: [edu([{ user_id, presence: 'busy', last_active_ago: 1 }, odd])] });
  assert.deepEqual(of(), { state: 'online', statusMsg: undefined, lastActiveTs: undefined, isActive: false });
  const long = { user_id, presence: 'online', last_active_ago: -5, status_msg: 'x'.repeat(5_000) };
  await peer.send(one, [], { edus: [edu([long])] });
  assert.equal(of().statusMsg?.length, 1_000);
  const old = { user_id, presence: 'offline', last_active_ago: Number.MAX_SAFE_INTEGER };
  await peer.send(one, [], { edus: [edu([old])] });
  assert.deepEqual([of().state, of().lastActiveTs], ['offline', 0]);
});

test('a user of whom nothing is heard for half an hour is offline', async () => {
  await using peer = await new RoomPeer(fleet.authority).start();
  const room = peer.makeRoom();
  await alice.join(room.roomId, [peer.name]);
  const user_id = peer.user('mallory');
  const of = () => one.ctx.presence.of(user_id as `@${string}`).state;
  const online = edu([{ user_id, presence: 'online', last_active_ago: 0, currently_active: true }]);
  await peer.send(one, [], { edus: [online] });
  now += 29 * 60_000;
  assert.equal(of(), 'online');
  await peer.send(one, [], { edus: [online] });
  now += 29 * 60_000;
  assert.equal(of(), 'online');
  now += 60_000;
  assert.equal(of(), 'offline');
});

test('what holds for long is told again before others take the user for gone', async () => {
  await using peer = await new RoomPeer(fleet.authority).start();
  const room = peer.makeRoom();
  await alice.join(room.roomId, [peer.name]);
  await using outgoing = new OutgoingPresence(one.ctx);
  outgoing.start();
  await set(alice, 'online', 'still here');
  const polling = one.ctx.presence.syncing(
    { userId: alice.userId as `@${string}`, deviceId: alice.deviceId },
    'unavailable',
  );
  const sent = () => updatesSent(peer.peer.requests).filter(({ user_id }) => user_id === alice.userId);
  await until(() => sent().at(-1)?.presence === 'unavailable', 'that the peer is told');
  const before = sent().length;
  now += 19 * 60_000;
  outgoing.repeat();
  now += 60_000;
  outgoing.repeat();
  await until(() => sent().length > before, 'that the peer is told again');
  const { presence, status_msg: status, last_active_ago: ago } = sent().at(-1);
  assert.deepEqual([presence, status], ['unavailable', 'still here']);
  assert.ok(ago >= 20 * 60_000);
  polling[Symbol.dispose]();
});

test('a server that comes to share a room is told how the users are that are there', async () => {
  await using peer = await new RoomPeer(fleet.authority).start();
  const room = peer.makeRoom();
  await set(alice, 'online', 'for newcomers');
  await using outgoing = new OutgoingPresence(one.ctx);
  outgoing.start();
  await alice.join(room.roomId, [peer.name]);
  const dave = await register(one);
  await dave.join(room.roomId);
  outgoing.tellNewcomers();
  await until(() => updatesSent(peer.peer.requests).length > 0, 'that the peer is told');
  for (const { user_id, status_msg } of updatesSent(peer.peer.requests)) {
    // Dave is offline, as everybody thinks of whom they are not told.
    assert.deepEqual([user_id, status_msg], [alice.userId, 'for newcomers']);
  }
});

test('presence: local: nothing is told to other servers, and nothing is believed of them', async () => {
  await using home = await startFleet(1);
  const server = home.at(0);
  const user = await register(server);
  await using peer = await new RoomPeer(home.authority).start();
  const room = peer.makeRoom();
  await user.join(room.roomId, [peer.name]);
  const mallory = peer.user('mallory');
  await set(user, 'online', 'here');
  await peer.send(server, [], {
    edus: [edu([{ user_id: mallory, presence: 'online', last_active_ago: 1 }])],
  });
  await user.send(room.roomId, 'to be sent');
  await until(() => peer.peer.requests.some(({ body }) => body.includes('to be sent')));
  assert.deepEqual(updatesSent(peer.peer.requests), []);
  assert.deepEqual(await user.get(pathOf(mallory)), { presence: 'offline' });
});
