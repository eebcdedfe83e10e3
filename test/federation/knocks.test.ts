import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import type { UserId } from '#keys/ids.ts';
import type { JsonObject } from '#keys/json.ts';
import { eventFrom } from '#rooms/event.ts';
import { signEvent } from '#rooms/sign-event.ts';
import { JOINABLE_VERSIONS, rulesOf, SUPPORTED_VERSIONS } from '#rooms/versions.ts';
import { type Answer, type Body, register, type TestClient } from '#test/harness/client.ts';
import {
  inRoom,
  membershipOf,
  untilInvited,
  untilKnocking,
  untilMember,
} from '#test/harness/conversation.ts';
import { startFleet } from '#test/harness/fleet.ts';
import type { PeerRequest } from '#test/harness/peer.ts';
import { keyPairOf } from '#test/harness/room-builder.ts';
import { RoomPeer } from '#test/harness/room-peer.ts';
import { until } from '#test/harness/until.ts';

const fleet = await startFleet(3);
after(() => fleet[Symbol.asyncDispose]());
const alice = await register(fleet.at(0), 'alice');
const neighbour = await register(fleet.at(0), 'neighbour');
const bob = await register(fleet.at(1), 'bob');
const carol = await register(fleet.at(2), 'carol');
const encode = encodeURIComponent;
const [home, away] = [fleet.at(0).serverName, fleet.at(1).serverName];

function tryKnock(user: TestClient, room: string, body: JsonObject = {}, via = [home]): Promise<Answer> {
  const query = via.map((server) => `via=${encode(server)}`).join('&');
  return user.try('POST', `/knock/${encode(room)}?${query}`, body);
}

async function knock(user: TestClient, room: string, body: JsonObject = {}): Promise<void> {
  const { status, body: answer } = await tryKnock(user, room, body);
  assert.equal(status, 200, JSON.stringify(answer));
}

function knockRoom(options: { version?: string; joinRule?: string; name?: string } = {}): Promise<string> {
  const { version = '12', joinRule = 'knock', name = 'Club' } = options;
  return alice.createRoom({
    ...{ preset: 'private_chat', name, room_version: version },
    initial_state: [{ type: 'm.room.join_rules', content: { join_rule: joinRule } }],
  });
}

/** Waits until the room is among those that the user has left; answers the membership that ended it. */
async function untilLeft(user: TestClient, roomId: string, since: string): Promise<Body> {
  const { rooms } = await user.syncUntil((answer: Body) => answer.rooms?.leave?.[roomId] !== undefined, {
    since,
  });
  return rooms.leave[roomId].timeline.events.at(-1);
}

for (const version of SUPPORTED_VERSIONS.filter((each) => rulesOf(each)?.knocking)) {
  test(`v${version}: a user knocks on a room elsewhere, is told what room it is, and is let in`, async () => {
    const roomId = await knockRoom({ version });
    await knock(bob, roomId, { reason: 'It is me' });
    await untilMember(alice, roomId, bob.userId, 'knock');
    const member = `${inRoom(roomId)}/state/m.room.member/${encode(bob.userId)}`;
    assert.equal((await alice.get(member)).reason, 'It is me');

    const shown = await untilKnocking(bob, roomId);
    assert.equal(shown.find(({ type }) => type === 'm.room.name')?.content.name, 'Club');
    assert.ok(shown.some(({ type }) => type === 'm.room.create'));
    const own = shown.find(({ type }) => type === 'm.room.member');
    assert.deepEqual([own.state_key, own.content.membership], [bob.userId, 'knock']);
    for (const event of shown) {
      assert.deepEqual(Object.keys(event).sort(), ['content', 'sender', 'state_key', 'type']);
    }

    await alice.post(`${inRoom(roomId)}/invite`, { user_id: bob.userId });
    await untilInvited(bob, roomId);
    assert.equal((await bob.sync()).rooms?.knock?.[roomId], undefined);
    await bob.join(roomId);
    await untilMember(alice, roomId, bob.userId, 'join');
  });
}

test('v7: a knock is refused and the knocker is told, who may knock again, and cannot once banned', async () => {
  const roomId = await knockRoom({ version: '7' });
  const { next_batch: since } = await bob.sync();
  await knock(bob, roomId);
  await alice.post(`${inRoom(roomId)}/kick`, { user_id: bob.userId, reason: 'Not today' });
  const left = await untilLeft(bob, roomId, since);
  assert.deepEqual([left.content.membership, left.content.reason], ['leave', 'Not today']);
  assert.equal((await bob.sync()).rooms?.knock?.[roomId], undefined);

  await knock(bob, roomId);
  await untilMember(alice, roomId, bob.userId, 'knock');
  await alice.post(`${inRoom(roomId)}/ban`, { user_id: bob.userId });
  await until(async () => (await bob.sync()).rooms?.knock?.[roomId] === undefined, 'the ban');
  const refused = await tryKnock(bob, roomId);
  assert.deepEqual([refused.status, refused.body.errcode], [403, 'M_FORBIDDEN']);
});

test('a knock is refused by a member of another server than the one that took it', async () => {
  const roomId = await knockRoom();
  await alice.post(`${inRoom(roomId)}/invite`, { user_id: carol.userId });
  await untilInvited(carol, roomId);
  await carol.join(roomId);
  const levels = `${inRoom(roomId)}/state/m.room.power_levels`;
  await alice.put(levels, { ...(await alice.get(levels)), users: { [carol.userId]: 50 } });
  await knock(bob, roomId);
  await untilMember(carol, roomId, bob.userId, 'knock');
  const carolsLevel = async () => (await carol.get(levels)).users?.[carol.userId];
  await until(async () => (await carolsLevel()) === 50, 'the power of carol');
  await carol.post(`${inRoom(roomId)}/kick`, { user_id: bob.userId });
  await until(async () => (await bob.sync()).rooms?.knock?.[roomId] === undefined, 'the refusal');
});

test('v12: a knock is taken back, with the room told, and can be made again', async () => {
  const roomId = await knockRoom();
  await knock(bob, roomId);
  await untilMember(alice, roomId, bob.userId, 'knock');
  const { next_batch: since } = await bob.sync();
  await bob.post(`${inRoom(roomId)}/leave`, { reason: 'Changed my mind' });
  await untilMember(alice, roomId, bob.userId, 'leave');
  assert.equal((await untilLeft(bob, roomId, since)).content.reason, 'Changed my mind');
  await knock(bob, roomId);
  await untilMember(alice, roomId, bob.userId, 'knock');
  assert.equal((await untilKnocking(bob, roomId)).length > 0, true);
});

test('a knock outlives a restart, and is taken back although no server of the room answers', async () => {
  const roomId = await knockRoom();
  await knock(bob, roomId);
  await fleet.at(1).restart();
  await untilKnocking(bob, roomId);
  await fleet.at(0).stop();
  await bob.post(`${inRoom(roomId)}/leave`);
  assert.equal((await bob.sync()).rooms?.knock?.[roomId], undefined);
  await fleet.at(0).start();
});

test('v10: knock_restricted lets users knock; other rules, members and the invited do not', async () => {
  await knock(bob, await knockRoom({ version: '10', joinRule: 'knock_restricted' }));
  for (const user of [neighbour, bob]) {
    for (const joinRule of ['invite', 'public', 'restricted']) {
      const { status, body } = await tryKnock(user, await knockRoom({ version: '10', joinRule }));
      assert.deepEqual([status, body.errcode], [403, 'M_FORBIDDEN'], `${user.userId} ${joinRule}`);
    }
    const roomId = await knockRoom();
    await alice.post(`${inRoom(roomId)}/invite`, { user_id: user.userId });
    await untilInvited(user, roomId);
    assert.equal((await tryKnock(user, roomId)).status, 403);
    assert.ok((await user.sync()).rooms.invite[roomId], 'the invitation stands');
    await user.join(roomId);
    assert.equal((await tryKnock(user, roomId)).status, 403);
    assert.equal(await membershipOf(alice, roomId, user.userId), 'join');
  }
});

test('a user of the server that is in the room knocks, takes it back, and is refused and let in', async () => {
  const roomId = await knockRoom();
  await knock(neighbour, roomId, { reason: 'Hello' });
  assert.equal(await membershipOf(alice, roomId, neighbour.userId), 'knock');
  const shown = await untilKnocking(neighbour, roomId);
  assert.ok(shown.some(({ type }) => type === 'm.room.create'));
  assert.ok(shown.some(({ state_key: key }) => key === neighbour.userId));
  const { next_batch: since } = await neighbour.sync();
  await neighbour.post(`${inRoom(roomId)}/leave`);
  assert.equal((await untilLeft(neighbour, roomId, since)).content.membership, 'leave');
  await knock(neighbour, roomId);
  await alice.post(`${inRoom(roomId)}/kick`, { user_id: neighbour.userId });
  await knock(neighbour, roomId);
  await alice.post(`${inRoom(roomId)}/invite`, { user_id: neighbour.userId });
  await untilInvited(neighbour, roomId);
  await neighbour.join(roomId);
});

test('a knock goes on to the next server where the first does not answer, and finds the room by its alias', async () => {
  const roomId = await knockRoom();
  assert.equal((await tryKnock(bob, roomId, {}, ['localhost:9', home])).status, 200);
  await untilMember(alice, roomId, bob.userId, 'knock');
  const alias = `#knock:${home}`;
  const named = await knockRoom();
  await alice.put(`/directory/room/${encode(alias)}`, { room_id: named });
  const { status, body } = await tryKnock(carol, alias, {}, []);
  assert.deepEqual([status, body], [200, { room_id: named }]);
  await untilMember(alice, named, carol.userId, 'knock');
  assert.equal((await tryKnock(carol, `#none:${home}`, {}, [])).status, 404);
  assert.equal((await tryKnock(carol, 'nothing', {}, [])).body.errcode, 'M_INVALID_PARAM');
  assert.equal((await tryKnock(carol, `!none:${home}`, {}, [])).status, 404);
});

test('an invitation that comes before the knock is recorded stands', async () => {
  await using peer = await new RoomPeer(fleet.authority).start();
  const { room } = { room: peer.makeRoom({ join_rule: 'knock' }) };
  const target = bob.userId as UserId;
  peer.script = async (request: PeerRequest) => {
    if (!request.url.includes('/send_knock/')) return undefined;
    const answer = peer.usual(request);
    const invite = room.invite(peer.user('mallory'), target);
    const path = `/_matrix/federation/v2/invite/${encode(room.roomId)}/${encode(invite.eventId)}`;
    const body = { room_version: '12', event: invite.pdu, invite_room_state: [room.create.pdu] };
    assert.equal((await peer.request(fleet.at(1), { method: 'PUT', path, body })).status, 200);
    return answer;
  };
  assert.equal((await tryKnock(bob, room.roomId, {}, [peer.name])).status, 200);
  const { rooms } = await bob.sync();
  assert.ok(rooms.invite[room.roomId]);
  assert.equal(rooms.knock?.[room.roomId], undefined);
});

test('a refusal that comes before the knock is recorded ends it', async () => {
  await using peer = await new RoomPeer(fleet.authority).start();
  const room = peer.makeRoom({ join_rule: 'knock' });
  let refusal: Promise<unknown> | undefined;
  peer.script = (request: PeerRequest) => {
    if (!request.url.includes('/send_knock/')) return undefined;
    const answer = peer.usual(request);
    const kick = room.kick(peer.user('mallory'), bob.userId as UserId);
    refusal = peer
      .send(fleet.at(1), [kick])
      .then(({ body }) => assert.deepEqual(body.pdus[kick.eventId], {}));
    return answer;
  };
  assert.equal((await tryKnock(bob, room.roomId, {}, [peer.name])).status, 200);
  await refusal;
  assert.equal((await bob.sync()).rooms?.knock?.[room.roomId], undefined);
});

test('a knock is not ended by a server that does not know it', async () => {
  await using peer = await new RoomPeer(fleet.authority).start();
  const room = peer.makeRoom({ join_rule: 'knock' });
  const before = room.fork();
  assert.equal((await tryKnock(bob, room.roomId, {}, [peer.name])).status, 200);
  const blind = before.kick(peer.user('mallory'), bob.userId as UserId);
  const { body } = await peer.send(fleet.at(1), [blind]);
  assert.match(body.pdus[blind.eventId].error, /not in the room/);
  assert.ok((await bob.sync()).rooms.knock[room.roomId]);
});

test('what a server shows of a room on which a user knocks is left out where it is forged', async () => {
  for (const version of ['7', '12']) {
    await using peer = await new RoomPeer(fleet.authority).start();
    const room = peer.makeRoom({ join_rule: 'knock', version });
    const mallory = peer.user('mallory');
    const name = room.state(mallory, 'm.room.name', '', { name: 'Real' });
    const topic = room.state(mallory, 'm.room.topic', '', { topic: 'Forged' });
    peer.script = (request: PeerRequest) => {
      if (!request.url.includes('/send_knock/')) return undefined;
      peer.usual(request);
      const forged = { ...topic.pdu, signatures: { [peer.name]: { 'ed25519:test': 'A'.repeat(86) } } };
      return { json: { knock_room_state: [room.create.pdu, name.pdu, forged, 7] } };
    };
    assert.equal((await tryKnock(bob, room.roomId, {}, [peer.name])).status, 200);
    const types = (await untilKnocking(bob, room.roomId)).map(({ type }) => type);
    assert.deepEqual(types, ['m.room.create', 'm.room.name', 'm.room.member'], version);
  }
});

const templates: Readonly<Record<string, (json: JsonObject) => JsonObject>> = {
  'of another membership': (json) => ({
    ...json,
    event: { ...(json.event as JsonObject), content: { membership: 'join' } },
  }),
  'of another user': (json) => ({
    ...json,
    event: { ...(json.event as JsonObject), sender: `@root:${away}`, state_key: `@root:${away}` },
  }),
  'without a version': ({ room_version: _, ...json }) => json,
  'of a version without knocking': (json) => ({ ...json, room_version: '6' }),
};

for (const [what, change] of Object.entries(templates)) {
  test(`row 96: the template of a knock ${what} is not signed`, async () => {
    await using peer = await new RoomPeer(fleet.authority).start();
    const room = peer.makeRoom({ join_rule: 'knock', version: '7' });
    peer.script = (request) => {
      const usual = request.url.includes('/make_knock/') ? peer.usual(request) : undefined;
      return typeof usual === 'object' ? { ...usual, json: change(usual.json) } : undefined;
    };
    const { status } = await tryKnock(bob, room.roomId, {}, [peer.name]);
    assert.ok(status === 504 || status === 400, `${status}`);
    assert.deepEqual(peer.asked('/send_knock/'), []);
    const versions = new URL(peer.asked('/make_knock/')[0] ?? '', 'https://peer').searchParams.getAll('ver');
    assert.deepEqual(versions, JOINABLE_VERSIONS);
  });
}

const BASE = '/_matrix/federation/v1';

test('make_knock names the version where the knocking server does not know it, and needs one that knows knocking', async () => {
  await using peer = await new RoomPeer(fleet.authority).start();
  const ask = (roomId: string, query: string, user = peer.user('x')) =>
    peer.request(fleet.at(0), { path: `${BASE}/make_knock/${encode(roomId)}/${encode(user)}${query}` });
  const roomId = await knockRoom({ version: '7' });
  const other = await ask(roomId, '?ver=1&ver=6');
  assert.deepEqual(
    [other.status, other.body.errcode, other.body.room_version],
    [400, 'M_INCOMPATIBLE_ROOM_VERSION', '7'],
  );
  assert.equal((await ask(roomId, '')).body.errcode, 'M_MISSING_PARAM');
  assert.equal((await ask(roomId, '?ver=7', `@x:${away}`)).status, 403);
  assert.equal((await ask(`!none:${home}`, '?ver=7')).status, 404);
  assert.equal((await ask(await knockRoom({ version: '6' }), '?ver=6')).status, 403);
  const { status, body } = await ask(roomId, '?ver=6&ver=7');
  assert.deepEqual([status, body.room_version, body.event.content], [200, '7', { membership: 'knock' }]);
});

test('send_knock takes a knock and nothing else, and shows the room by whole events', async () => {
  await using peer = await new RoomPeer(fleet.authority).start();
  const roomId = await knockRoom();
  const userId = peer.user('knocker');
  const path = `${BASE}/make_knock/${encode(roomId)}/${encode(userId)}?ver=12`;
  const { event: template } = (await peer.request(fleet.at(0), { path })).body;
  const rules = rulesOf('12');
  assert.ok(rules);
  const signed = (pdu: JsonObject) =>
    eventFrom(signEvent(pdu, rules, peer.name, keyPairOf(peer.name)), rules);
  const put = (pdu: JsonObject, { eventId } = eventFrom(pdu, rules), room = roomId) =>
    peer.request(fleet.at(0), {
      ...{ method: 'PUT', body: pdu },
      path: `${BASE}/send_knock/${encode(room)}/${encode(eventId)}`,
    });
  const good = signed(template);
  const bad = {
    'a join': put(signed({ ...template, content: { membership: 'join' } }).pdu),
    'another type': put(signed({ ...template, type: 'm.room.topic' }).pdu),
    'about another user': put(signed({ ...template, state_key: peer.user('y') }).pdu),
    'a sender of ours': put(signed({ ...template, sender: alice.userId, state_key: alice.userId }).pdu),
    unsigned: put({ ...good.pdu, signatures: {} }),
    'another id': put(good.pdu, signed({ ...template, depth: 1 })),
    'another room': put(good.pdu, good, await knockRoom()),
  };
  for (const [what, answer] of Object.entries(bad)) {
    const { status, body } = await answer;
    assert.ok(status === 400 || status === 403, `${what}: ${status} ${JSON.stringify(body)}`);
  }
  assert.equal(await membershipOf(alice, roomId, userId), undefined);
  const { status, body } = await put(good.pdu);
  assert.equal(status, 200, JSON.stringify(body));
  const create = body.knock_room_state.find((pdu: JsonObject) => pdu.type === 'm.room.create');
  assert.ok(create.signatures[home], 'the create event is a whole PDU');
  assert.ok(body.knock_room_state.some((pdu: JsonObject) => pdu.type === 'm.room.name'));
  assert.equal(await membershipOf(alice, roomId, userId), 'knock');
});

test('a knock that was taken back while no server of the room answered stands again once another user comes back', async () => {
  const roomId = await knockRoom();
  const bella = await register(fleet.at(1));
  const letIn = async (): Promise<void> => {
    await alice.post(`${inRoom(roomId)}/invite`, { user_id: bella.userId });
    await untilInvited(bella, roomId);
    await bella.join(roomId);
  };
  await letIn();
  await knock(bob, roomId);
  await untilMember(alice, roomId, bob.userId, 'knock');
  await bella.post(`${inRoom(roomId)}/leave`);
  await untilMember(alice, roomId, bella.userId, 'leave');
  await fleet.at(0).stop();
  await bob.post(`${inRoom(roomId)}/leave`);
  await fleet.at(0).start();

  await letIn();
  // What the room says counts from now on, and can be ended by it.
  await untilMember(bella, roomId, bob.userId, 'knock');
  await untilKnocking(bob, roomId);
  await bob.post(`${inRoom(roomId)}/leave`);
  await untilMember(alice, roomId, bob.userId, 'leave');
});
