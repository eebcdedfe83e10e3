import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import type { JsonObject } from '#keys/json.ts';
import { eventFrom } from '#rooms/event.ts';
import { loadEvent } from '#rooms/load.ts';
import { signEvent } from '#rooms/sign-event.ts';
import { JOINABLE_VERSIONS, rulesOf, SUPPORTED_VERSIONS } from '#rooms/versions.ts';
import { register } from '#test/harness/client.ts';
import { inRoom, membershipOf, untilInvited, untilMessages } from '#test/harness/conversation.ts';
import { startFleet } from '#test/harness/fleet.ts';
import type { PeerAnswer, PeerRequest } from '#test/harness/peer.ts';
import { keyPairOf } from '#test/harness/room-builder.ts';
import { RoomPeer } from '#test/harness/room-peer.ts';

const fleet = await startFleet(1);
after(() => fleet[Symbol.asyncDispose]());
const server = fleet.at(0);
const alice = await register(server, 'alice');

async function peerWithRoom(options = {}): Promise<RoomPeer> {
  const peer = await new RoomPeer(fleet.authority).start();
  peer.makeRoom(options);
  return peer;
}

function tryJoin(peer: RoomPeer): Promise<{ status: number; body: { errcode?: string } }> {
  const path = `/join/${encodeURIComponent(peer.room.roomId)}?via=${encodeURIComponent(peer.name)}`;
  return alice.try('POST', path);
}

/** The usual answer to one endpoint, with some members changed. */
function changed(
  peer: RoomPeer,
  part: string,
  change: (json: JsonObject) => JsonObject,
): (request: PeerRequest) => PeerAnswer | undefined {
  return (request) => {
    if (!request.url.includes(part)) return undefined;
    const usual = peer.usual(request);
    return typeof usual === 'function' ? usual : { ...usual, json: change(usual.json) };
  };
}

for (const version of SUPPORTED_VERSIONS) {
  test(`row 28: v${version}: one bad event in the state does not keep a join from succeeding`, async () => {
    await using peer = await peerWithRoom({ version });
    const { room } = peer;
    const mallory = peer.user('mallory');
    for (let count = 0; count < 20; count++) {
      room.state(mallory, 'org.example.entry', String(count), { count });
    }
    const topic = room.state(mallory, 'm.room.topic', '', { topic: 'bad' });
    const { content, ...withoutContent } = topic.pdu;
    const unsigned = { ...topic.pdu, signatures: {} };
    const foreign = signEvent(
      { ...topic.pdu, room_id: '!other:elsewhere.test', signatures: {} },
      room.rules,
      peer.name,
      keyPairOf(peer.name),
    );
    const bad = [withoutContent, unsigned, foreign, 'garbage', { ...topic.pdu, depth: 1.5 }];
    peer.script = changed(peer, '/send_join/', (json) => {
      const state = (json.state as JsonObject[]).filter((pdu) => pdu.type !== 'm.room.topic');
      return { ...json, state: [...bad, ...state] as JsonObject[] };
    });
    assert.equal((await tryJoin(peer)).status, 200);
    const state = await alice.get(`${inRoom(room.roomId)}/state`);
    const types = state.map((event: { type: string }) => event.type);
    assert.equal(types.filter((type: string) => type === 'org.example.entry').length, 20);
    assert.ok(!types.includes('m.room.topic'));
    await peer.send(server, [room.message(mallory, 'welcome')]);
    await untilMessages(alice, room.roomId, ['welcome']);
  });
}

const templates: Readonly<Record<string, (event: JsonObject) => JsonObject>> = {
  'of another type': (event) => ({ ...event, type: 'm.room.power_levels', state_key: '' }),
  'of another room': (event) => ({ ...event, room_id: '!other:elsewhere.test' }),
  'of another sender': (event) => ({ ...event, sender: `@root:${server.serverName}` }),
  'about another user': (event) => ({ ...event, state_key: `@root:${server.serverName}` }),
  'of another membership': (event) => ({ ...event, content: { membership: 'ban' } }),
  'without references': (event) => ({ ...event, prev_events: [] }),
};

for (const [what, change] of Object.entries(templates)) {
  test(`row 96: a template ${what} is not signed`, async () => {
    await using peer = await peerWithRoom();
    peer.script = changed(peer, '/make_join/', (json) => ({
      ...json,
      event: change(json.event as JsonObject),
    }));
    assert.equal((await tryJoin(peer)).status, 504);
    assert.equal(peer.asked('/send_join/').length, 0);
  });
}

test('nothing of a template but the references gets into the join', async () => {
  await using peer = await peerWithRoom();
  peer.script = changed(peer, '/make_join/', (json) => {
    const event = json.event as JsonObject;
    const content = { membership: 'join', displayname: 'Mallory', evil: true };
    return {
      ...json,
      event: { ...event, content, origin: 'evil', unsigned: { x: 1 }, redacts: '$x', extra: 1 },
    };
  });
  assert.equal((await tryJoin(peer)).status, 200);
  const path = `${inRoom(peer.room.roomId)}/state/m.room.member/${encodeURIComponent(alice.userId)}`;
  const content = await alice.get(path);
  assert.equal(content.evil, undefined);
  assert.notEqual(content.displayname, 'Mallory');
  const join = await loadEvent(server.ctx, peer.room.last.eventId);
  for (const key of ['origin', 'redacts', 'extra', 'unsigned'])
    assert.ok(!(key in (join?.event.pdu ?? {})), key);
});

const answers: Readonly<Record<string, (json: JsonObject) => JsonObject>> = {
  'without its create event': (json) => ({
    ...json,
    state: (json.state as JsonObject[]).filter((pdu) => pdu.type !== 'm.room.create'),
    auth_chain: (json.auth_chain as JsonObject[]).filter((pdu) => pdu.type !== 'm.room.create'),
  }),
  'that is empty': (json) => ({ ...json, state: [], auth_chain: [] }),
  'that is no list': (json) => ({ ...json, state: {} }),
};

for (const [what, change] of Object.entries(answers)) {
  test(`row 97: a room state ${what} makes no room`, async () => {
    await using peer = await peerWithRoom();
    peer.script = changed(peer, '/send_join/', change);
    assert.equal((await tryJoin(peer)).status, 504);
    assert.equal(await membershipOf(alice, peer.room.roomId, alice.userId), undefined);
  });
}

test('a server that does not let us in is believed', async () => {
  await using peer = await peerWithRoom({ join_rule: 'invite' });
  peer.script = ({ url }) =>
    url.includes('/make_join/') ? { status: 403, json: { errcode: 'M_FORBIDDEN', error: 'no' } } : undefined;
  assert.deepEqual((await tryJoin(peer)).body.errcode, 'M_FORBIDDEN');
});

test('a room of a version that we do not know is an incompatible one', async () => {
  await using peer = await peerWithRoom();
  peer.script = ({ url }) =>
    url.includes('/make_join/')
      ? { status: 400, json: { errcode: 'M_INCOMPATIBLE_ROOM_VERSION', error: 'no', room_version: '99' } }
      : undefined;
  const { status, body } = await tryJoin(peer);
  assert.deepEqual(
    [status, body],
    [400, { ...body, errcode: 'M_INCOMPATIBLE_ROOM_VERSION', room_version: '99' }],
  );
  const versions = new URL(peer.asked('/make_join/')[0] ?? '', 'https://peer').searchParams.getAll('ver');
  assert.deepEqual(versions, JOINABLE_VERSIONS);
});

test('row 109: events that come before the join is finished are received after it', async () => {
  await using peer = await peerWithRoom();
  const { room } = peer;
  let sent: Promise<unknown> | undefined;
  peer.script = async (request) => {
    if (!request.url.includes('/send_join/')) return undefined;
    const answer = peer.usual(request);
    sent = peer.send(server, [room.message(peer.user('mallory'), 'you are in')]);
    // The transaction is on its way before the answer is.
    await new Promise((resolve) => setTimeout(resolve, 100));
    return answer;
  };
  assert.equal((await tryJoin(peer)).status, 200);
  await sent;
  await untilMessages(alice, room.roomId, ['you are in']);
});

test('an invitation to a user of another server is signed there, or is none', async () => {
  await using peer = await new RoomPeer(fleet.authority).start();
  const roomId = await alice.createRoom({ preset: 'private_chat' });
  const target = peer.user('carol');
  const invite = () => alice.try('POST', `${inRoom(roomId)}/invite`, { user_id: target });
  const scripts: Readonly<Record<string, (event: JsonObject) => JsonObject>> = {
    unsigned: (event) => ({ ...event, signatures: {} }),
    'of another user': (event) => ({ ...event, state_key: `@root:${peer.name}` }),
    'signed by another key': (event) => ({
      ...event,
      signatures: { [peer.name]: { 'ed25519:test': 'A'.repeat(86) } },
    }),
  };
  for (const [what, change] of Object.entries(scripts)) {
    peer.script = ({ url, body }) => {
      if (!url.includes('/invite/')) return undefined;
      const { event } = JSON.parse(body) as { event: JsonObject };
      return { json: { event: change(event) } };
    };
    const status = (await invite()).status;
    assert.ok(status >= 500, `${what}: ${status}`);
    assert.equal(await membershipOf(alice, roomId, target), undefined, what);
  }
  peer.script = () => undefined;
  assert.equal((await invite()).status, 200);
  assert.equal(await membershipOf(alice, roomId, target), 'invite');
  const body = JSON.parse(peer.peer.requests.findLast(({ url }) => url.includes('/invite/'))?.body ?? '{}');
  const create = body.invite_room_state.find((pdu: JsonObject) => pdu.type === 'm.room.create');
  assert.ok(create.signatures[server.serverName], 'the create event is a whole PDU');
});

test('row 95: what another server hands in as an invitation is signed only if it is one', async () => {
  await using peer = await peerWithRoom();
  const { room } = peer;
  const mallory = peer.user('mallory');
  const target = alice.userId;
  const member = (membership: string, more: JsonObject = {}) =>
    room.draft(mallory, { type: 'm.room.member', state_key: target, content: { membership }, ...more });
  const put = (event: { eventId: string; pdu: JsonObject }, given: JsonObject = {}, path = event.eventId) =>
    peer.request(server, {
      method: 'PUT',
      path: `/_matrix/federation/v2/invite/${encodeURIComponent(room.roomId)}/${encodeURIComponent(path)}`,
      body: { room_version: '12', event: event.pdu, invite_room_state: [room.create.pdu], ...given },
    });
  const invite = member('invite');
  const bad = {
    'a ban': put(member('ban')),
    'a join': put(
      room.draft(mallory, { type: 'm.room.member', state_key: target, content: { membership: 'join' } }),
    ),
    'power levels': put(room.draft(mallory, { type: 'm.room.power_levels', state_key: '' })),
    'another id in the path': put(invite, {}, '$other'),
    'a user who is not ours': put(
      room.draft(mallory, {
        type: 'm.room.member',
        state_key: '@x:elsewhere.test',
        content: { membership: 'invite' },
      }),
    ),
    'a sender who is ours': put(
      room.draft(`@root:${server.serverName}`, {
        ...{ type: 'm.room.member', state_key: target, content: { membership: 'invite' } },
      }),
    ),
    'another room': put(member('invite', { pdu: { room_id: '!other:elsewhere.test' } })),
    'no signature': put({ ...invite, pdu: { ...invite.pdu, signatures: {} } }),
    'an unknown version': put(invite, { room_version: '99' }),
    'no create event': put(invite, { invite_room_state: [] }),
    'a create event that is stripped': put(invite, {
      invite_room_state: [{ type: 'm.room.create', state_key: '', sender: mallory, content: {} }],
    }),
  };
  for (const [what, answer] of Object.entries(bad)) {
    const { status, body } = await answer;
    assert.ok(status === 400 || status === 403, `${what}: ${status}`);
    assert.equal(body.event, undefined, what);
  }
  assert.equal((await alice.sync()).rooms?.invite?.[room.roomId], undefined);

  const { status, body } = await put(invite);
  assert.equal(status, 200);
  assert.ok(body.event.signatures[server.serverName]);
  await untilInvited(alice, room.roomId);
});

test('an invitation is withdrawn only by who gave it', async () => {
  await using peer = await peerWithRoom();
  await using other = await peerWithRoom();
  const { room } = peer;
  const mallory = peer.user('mallory');
  const bob = await register(server);
  const invite = room.invite(mallory, bob.userId as `@${string}`);
  const path = `/_matrix/federation/v2/invite/${encodeURIComponent(room.roomId)}/${encodeURIComponent(invite.eventId)}`;
  const body = { room_version: '12', event: invite.pdu, invite_room_state: [room.create.pdu] };
  assert.equal((await peer.request(server, { method: 'PUT', path, body })).status, 200);
  await untilInvited(bob, room.roomId);

  const forged = room.fork().kick(other.user('mallory'), bob.userId as `@${string}`);
  const refused = await other.send(server, [forged]);
  assert.match(refused.body.pdus[forged.eventId].error, /not in the room/);
  assert.ok((await bob.sync()).rooms.invite[room.roomId]);

  // Another of the server that invited: whether that one may kick is known in the room alone.
  const byOther = room.fork().kick(peer.user('eve'), bob.userId as `@${string}`);
  const ofOther = await peer.send(server, [byOther]);
  assert.match(ofOther.body.pdus[byOther.eventId].error, /not in the room/);
  assert.ok((await bob.sync()).rooms.invite[room.roomId]);

  // One from before the invitation, that was late.
  const kickOfBefore = { type: 'm.room.member', state_key: bob.userId, content: { membership: 'leave' } };
  const late = room.draft(mallory, { ...kickOfBefore, auth_events: invite.authEvents });
  const { pdus } = (await peer.send(server, [late])).body;
  assert.match(pdus[late.eventId].error, /not in the room/);
  assert.ok((await bob.sync()).rooms.invite[room.roomId]);

  const kick = room.kick(mallory, bob.userId as `@${string}`);
  assert.deepEqual((await peer.send(server, [kick])).body.pdus, { [kick.eventId]: {} });
  assert.equal((await bob.sync()).rooms?.invite?.[room.roomId], undefined);
});

test('a join that names one of ours as who lets the user in is not signed for one who may not', async () => {
  await using peer = await new RoomPeer(fleet.authority).start();
  const club = await alice.createRoom({ preset: 'private_chat' });
  const allow = [{ type: 'm.room_membership', room_id: club }];
  const roomId = await alice.createRoom({
    preset: 'private_chat',
    room_version: '11',
    initial_state: [{ type: 'm.room.join_rules', content: { join_rule: 'restricted', allow } }],
  });
  const base = '/_matrix/federation';
  const userId = peer.user('eve');
  const made = await peer.request(server, {
    path: `${base}/v1/make_join/${encodeURIComponent(roomId)}/${encodeURIComponent(userId)}?ver=11`,
  });
  assert.equal(made.status, 403);
  // As it would be, had the answer been yes.
  const state = await alice.get(`${inRoom(roomId)}/state`);
  const idOf = (type: string, key = '') =>
    state.find((event: JsonObject) => event.type === type && event.state_key === key).event_id;
  const template = {
    type: 'm.room.member',
    room_id: roomId,
    sender: userId,
    state_key: userId,
    content: { membership: 'join', join_authorised_via_users_server: alice.userId },
    depth: 20,
    origin_server_ts: 1_700_000_000_000,
    prev_events: [idOf('m.room.join_rules')],
    auth_events: [
      idOf('m.room.create'),
      idOf('m.room.power_levels'),
      idOf('m.room.join_rules'),
      idOf('m.room.member', alice.userId),
    ],
  };
  const rules = rulesOf('11');
  assert.ok(rules);
  const join = eventFrom(signEvent(template, rules, peer.name, keyPairOf(peer.name)), rules);
  const sent = await peer.request(server, {
    method: 'PUT',
    path: `${base}/v2/send_join/${encodeURIComponent(roomId)}/${encodeURIComponent(join.eventId)}`,
    body: join.pdu,
  });
  assert.equal(sent.status, 403);
  assert.equal(await loadEvent(server.ctx, join.eventId), undefined);
  // And by a transaction it lacks the signature.
  const { pdus } = (await peer.send(server, [join])).body;
  assert.match(pdus[join.eventId].error, /not signed/);
});

test('a name that is changed while the join is under way is the one in the room', async () => {
  await using peer = await peerWithRoom();
  const carol = await register(server);
  const rename = (displayname: string) =>
    carol.put(`/profile/${encodeURIComponent(carol.userId)}/displayname`, { displayname });
  await rename('Old');
  const [asked, renamed] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  peer.script = async ({ url }) => {
    if (!url.includes('/send_join/')) return undefined;
    asked.resolve();
    await renamed.promise;
    return undefined;
  };
  const { roomId } = peer.room;
  const joining = carol.join(roomId, [peer.name]);
  await asked.promise;
  await rename('New');
  renamed.resolve();
  await joining;
  const path = `${inRoom(roomId)}/state/m.room.member/${encodeURIComponent(carol.userId)}`;
  assert.deepEqual(await carol.get(path), { membership: 'join', displayname: 'New' });
});
