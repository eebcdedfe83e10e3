import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import type { JsonObject } from '#keys/json.ts';
import { eventFrom } from '#rooms/event.ts';
import { signEvent } from '#rooms/sign-event.ts';
import { rulesOf } from '#rooms/versions.ts';
import { type Answer, type Body, register, type TestClient } from '#test/harness/client.ts';
import { bringIn, inRoom, membershipOf, untilMember } from '#test/harness/conversation.ts';
import { startFleet } from '#test/harness/fleet.ts';
import { keyPairOf } from '#test/harness/room-builder.ts';
import { RoomPeer } from '#test/harness/room-peer.ts';
import { until } from '#test/harness/until.ts';

const fleet = await startFleet(3);
after(() => fleet[Symbol.asyncDispose]());
const alice = await register(fleet.at(0), 'alice');
const bob = await register(fleet.at(1), 'bob');
const carol = await register(fleet.at(2), 'carol');
const [home, second] = [fleet.at(0).serverName, fleet.at(1).serverName];
const encode = encodeURIComponent;
const BASE = '/_matrix/federation';
const KINDS = [
  ['8', 'restricted'],
  ['10', 'knock_restricted'],
  ['12', 'restricted'],
] as const;

interface Rooms {
  readonly club: string;
  readonly roomId: string;
}

/** A club that anybody may join, and a room for its members; of the two alice is the only one who may invite. */
async function clubAndRoom(version: string, joinRule: string): Promise<Rooms> {
  const club = await alice.createRoom();
  const allow = [{ type: 'm.room_membership', room_id: club }];
  const roomId = await alice.createRoom({
    ...{ room_version: version, preset: 'private_chat' },
    power_level_content_override: { invite: 100 },
    initial_state: [{ type: 'm.room.join_rules', content: { join_rule: joinRule, allow } }],
  });
  return { club, roomId };
}

function tryJoin(user: TestClient, roomId: string, via: readonly string[]): Promise<Answer> {
  const query = via.map((server) => `via=${encode(server)}`).join('&');
  return user.try('POST', `/join/${encode(roomId)}?${query}`);
}

async function authoriserOf(viewer: TestClient, roomId: string, userId: string): Promise<unknown> {
  const member = await viewer.get(`${inRoom(roomId)}/state/m.room.member/${encode(userId)}`);
  return member.join_authorised_via_users_server;
}

for (const [version, joinRule] of KINDS) {
  test(`v${version} ${joinRule}: who cannot let a user in is passed over for who can`, async () => {
    const { club, roomId } = await clubAndRoom(version, joinRule);
    for (const room of [club, roomId]) await bringIn(alice, bob, room);
    await carol.join(club, [home]);
    await untilMember(bob, club, carol.userId, 'join');
    // Of the second server nobody may invite.
    assert.equal((await tryJoin(carol, roomId, [second])).status, 403);
    assert.equal(await membershipOf(alice, roomId, carol.userId), undefined);
    assert.equal((await tryJoin(carol, roomId, [second, home])).status, 200);
    await untilMember(bob, roomId, carol.userId, 'join');
    assert.equal(await authoriserOf(bob, roomId, carol.userId), alice.userId);

    // Nor is it in the club any more, so that it does not know who is.
    await carol.post(`${inRoom(roomId)}/leave`);
    await untilMember(bob, roomId, carol.userId, 'leave');
    await untilMember(alice, roomId, carol.userId, 'leave');
    await bob.post(`${inRoom(club)}/leave`);
    assert.equal((await tryJoin(carol, roomId, [second])).status, 403);
    assert.equal((await tryJoin(carol, roomId, [second, home])).status, 200);
    for (const viewer of [alice, bob]) await untilMember(viewer, roomId, carol.userId, 'join');
  });

  test(`v${version} ${joinRule}: a server in the room that cannot let its own user in asks one that can`, async () => {
    const { club, roomId } = await clubAndRoom(version, joinRule);
    await bringIn(alice, bob, roomId);
    const dora = await register(fleet.at(1));
    // Not in the club: neither server lets her in, whomever she names.
    for (const via of [[], [second], [home]]) {
      assert.equal((await tryJoin(dora, roomId, via)).status, 403);
    }
    await dora.join(club, [home]);
    await untilMember(alice, club, dora.userId, 'join');
    assert.equal((await tryJoin(dora, roomId, [second])).status, 200);
    for (const viewer of [alice, bob]) await untilMember(viewer, roomId, dora.userId, 'join');
    assert.equal(await authoriserOf(alice, roomId, dora.userId), alice.userId);
    // The room goes on between the servers.
    const sent = await dora.send(roomId, 'in');
    const path = `${inRoom(roomId)}/event/${encode(sent)}`;
    await until(async () => (await alice.try('GET', path)).status === 200, 'the message of dora');

    // Once one of its own may invite, nobody is asked.
    const levels = `${inRoom(roomId)}/state/m.room.power_levels`;
    await alice.put(levels, { ...(await alice.get(levels)), invite: 0 });
    const invite = async () => (await bob.get(levels)).invite;
    await until(async () => (await invite()) === 0, 'the levels');
    const emil = await register(fleet.at(1));
    await emil.join(club, [home]);
    await until(async () => (await membershipOf(dora, club, emil.userId)) === 'join', 'emil in the club');
    await emil.join(roomId);
    const by = String(await authoriserOf(emil, roomId, emil.userId));
    assert.ok(by.endsWith(`:${second}`), by);
    await untilMember(alice, roomId, emil.userId, 'join');
  });
}

/** What make_join says, and what send_join says to a join that names a user of that server. */
async function answersFor(
  peer: RoomPeer,
  server: number,
  { roomId, by }: { roomId: string; by: TestClient },
) {
  const userId = peer.user('guest');
  const target = fleet.at(server);
  const path = `${BASE}/v1/make_join/${encode(roomId)}/${encode(userId)}?ver=10`;
  const made = await peer.request(target, { path });
  const state: Body[] = await by.get(`${inRoom(roomId)}/state`);
  const idOf = (type: string, key = '') =>
    state.find((event) => event.type === type && event.state_key === key).event_id;
  const rules = rulesOf('10');
  assert.ok(rules);
  const template: JsonObject = {
    ...{ type: 'm.room.member', room_id: roomId, sender: userId, state_key: userId },
    content: { membership: 'join', join_authorised_via_users_server: by.userId },
    ...{ depth: 100, origin_server_ts: Date.now(), prev_events: [idOf('m.room.join_rules')] },
    auth_events: [
      ...['m.room.create', 'm.room.power_levels', 'm.room.join_rules'].map((type) => idOf(type)),
      idOf('m.room.member', by.userId),
    ],
  };
  const join = eventFrom(signEvent(template, rules, peer.name, keyPairOf(peer.name)), rules);
  const sent = await peer.request(target, {
    ...{ method: 'PUT', body: join.pdu },
    path: `${BASE}/v2/send_join/${encode(roomId)}/${encode(join.eventId)}`,
  });
  return [made, sent].map(({ status, body }) => [status, body.errcode]);
}

test('who has just come into the room that gives the right to join is let in, though the server that says so does not know it yet', async () => {
  const { club, roomId } = await clubAndRoom('12', 'restricted');
  for (const room of [club, roomId]) await bringIn(alice, bob, room);
  for (let count = 0; count < 5; count++) {
    const dora = await register(fleet.at(1));
    // Here, since bob is in it; the other server is told of it afterwards.
    await dora.join(club);
    assert.equal((await tryJoin(dora, roomId, [home])).status, 200);
    assert.equal(await authoriserOf(dora, roomId, dora.userId), alice.userId);
  }
});

test('M_UNABLE_TO_AUTHORISE_JOIN, M_UNABLE_TO_GRANT_JOIN and M_FORBIDDEN each mean what they say', async () => {
  await using peer = await new RoomPeer(fleet.authority).start();
  const { club, roomId } = await clubAndRoom('10', 'restricted');
  await bringIn(alice, bob, roomId);
  const unable = [400, 'M_UNABLE_TO_AUTHORISE_JOIN'];
  // Not in the club, it cannot tell.
  assert.deepEqual(await answersFor(peer, 1, { roomId, by: bob }), [unable, unable]);
  // In the club, it sees that the user is not.
  const forbidden = [403, 'M_FORBIDDEN'];
  await bringIn(alice, bob, club);
  assert.deepEqual(await answersFor(peer, 1, { roomId, by: bob }), [forbidden, forbidden]);
  assert.deepEqual(await answersFor(peer, 0, { roomId, by: alice }), [forbidden, forbidden]);
  // The user is, but nobody there may invite.
  const guest = peer.user('guest');
  const path = `${BASE}/v1/make_join/${encode(club)}/${encode(guest)}?ver=12`;
  const { event } = (await peer.request(fleet.at(0), { path })).body;
  const rules = rulesOf('12');
  assert.ok(rules);
  const join = eventFrom(signEvent(event, rules, peer.name, keyPairOf(peer.name)), rules);
  const sent = await peer.request(fleet.at(0), {
    ...{ method: 'PUT', body: join.pdu },
    path: `${BASE}/v2/send_join/${encode(club)}/${encode(join.eventId)}`,
  });
  assert.equal(sent.status, 200);
  await untilMember(bob, club, guest, 'join');
  const noInviter = [400, 'M_UNABLE_TO_GRANT_JOIN'];
  assert.deepEqual(await answersFor(peer, 1, { roomId, by: bob }), [noInviter, noInviter]);
  assert.equal(await membershipOf(bob, roomId, guest), undefined);
  const [made] = await answersFor(peer, 0, { roomId, by: alice });
  assert.deepEqual(made, [200, undefined]);
});

test('join rules that name no condition, or malformed ones, let nobody in', async () => {
  const { club, roomId } = await clubAndRoom('10', 'restricted');
  await carol.join(club, [home]);
  const rules = `${inRoom(roomId)}/state/m.room.join_rules`;
  for (const allow of [undefined, [], 'x', [7], [{ type: 'm.other', room_id: club }], [{ room_id: club }]]) {
    await alice.put(rules, { join_rule: 'restricted', ...(allow !== undefined && { allow }) });
    assert.equal((await tryJoin(carol, roomId, [home])).status, 403, JSON.stringify(allow));
  }
  await alice.put(rules, {
    join_rule: 'restricted',
    allow: [7, { type: 'm.room_membership', room_id: club }],
  });
  assert.equal((await tryJoin(carol, roomId, [home])).status, 200);
});
