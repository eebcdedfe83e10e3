import assert from 'node:assert/strict';
import { after, afterEach, test } from 'node:test';
import { encodeCanonical } from '#keys/canonical-json.ts';
import type { UserId } from '#keys/ids.ts';
import type { JsonObject } from '#keys/json.ts';
import { type Event, eventFrom } from '#rooms/event.ts';
import { loadEvent } from '#rooms/load.ts';
import { signEvent } from '#rooms/sign-event.ts';
import { rulesOf } from '#rooms/versions.ts';
import { register } from '#test/harness/client.ts';
import { inRoom, membershipOf, untilInvited, untilMessages } from '#test/harness/conversation.ts';
import type { PeerAnswer, PeerRequest } from '#test/harness/peer.ts';
import { keyPairOf, roomOf } from '#test/harness/room-builder.ts';
import type { RoomPeer } from '#test/harness/room-peer.ts';
import { startWitness } from './witness.ts';

const witness = await startWitness();
after(() => witness[Symbol.asyncDispose]());
afterEach(() => witness.check());
const { alice, server } = witness;

/** The usual answer to one endpoint, with some members changed. */
function changed(peer: RoomPeer, part: string, change: (json: JsonObject) => JsonObject) {
  return (request: PeerRequest): PeerAnswer | undefined => {
    if (!request.url.includes(part)) return undefined;
    const usual = peer.usual(request);
    return typeof usual === 'function' ? usual : { ...usual, json: change(usual.json) };
  };
}

/** The script of a peer that has a key, and nothing else. */
function knowsNothing({ url }: PeerRequest): PeerAnswer | undefined {
  return url.includes('/key/') ? undefined : { status: 404, json: { errcode: 'M_NOT_FOUND', error: 'no' } };
}

function join(peer: RoomPeer, roomId: string = peer.room.roomId) {
  return alice.try('POST', `/join/${encodeURIComponent(roomId)}?via=${encodeURIComponent(peer.name)}`);
}

/** A state event of the peer, signed, whatever it says. */
function signedBy(peer: RoomPeer, parts: Record<string, JsonObject[string]>, version?: string): JsonObject {
  const rules = rulesOf(version ?? peer.room.rules.version);
  assert.ok(rules);
  const mallory = peer.user('mallory');
  const base = {
    room_id: peer.room.roomId,
    sender: mallory,
    state_key: '',
    content: {},
    depth: 5,
    origin_server_ts: 1_700_000_000_000,
    prev_events: [peer.room.last.eventId],
    auth_events: [peer.room.get('m.room.member', mallory)?.eventId ?? ''],
  };
  return signEvent({ ...base, ...parts }, rules, peer.name, keyPairOf(peer.name));
}

/** What arrived at the peer with our signature, but the requests' own. */
function signedByUs(peer: RoomPeer): JsonObject[] {
  return peer.peer.requests
    .filter(({ body }) => body.includes(`"signatures":{"${server.serverName}"`))
    .map(({ body }) => JSON.parse(body) as JsonObject);
}

const lies: Readonly<Record<string, (json: JsonObject, event: JsonObject) => JsonObject>> = {
  'a state_key of another type': (json, event) => ({ ...json, event: { ...event, state_key: 7 } }),
  'no state_key': (json, { state_key: _, ...event }) => ({ ...json, event }),
  'content that is a list': (json, event) => ({ ...json, event: { ...event, content: ['join'] } }),
  'a depth that is a fraction': (json, event) => ({ ...json, event: { ...event, depth: 1.5 } }),
  'a version that is __proto__': (json) => ({ ...json, room_version: '__proto__' }),
  'a version that is a number': (json) => ({ ...json, room_version: 12 }),
  'prev_events that are an object': (json, event) => ({
    ...json,
    event: { ...event, prev_events: { length: 1e9 } },
  }),
  'prev_events that are no ids': (json, event) => ({ ...json, event: { ...event, prev_events: [1, null] } }),
};

for (const [what, lie] of Object.entries(lies)) {
  test(`make_join: with ${what} nothing is signed`, async () => {
    await using peer = await witness.peerWithRoom();
    peer.script = changed(peer, '/make_join/', (json) => lie(json, json.event as JsonObject));
    const { status } = await join(peer);
    assert.ok(status === 504 || status === 400, `${status}`);
    assert.deepEqual(signedByUs(peer), []);
  });
}

const excesses: Readonly<Record<string, JsonObject>> = {
  'ten thousand prev_events': { prev_events: Array.from({ length: 10_000 }, (_, n) => `$${n}`) },
  'ten thousand auth_events': { auth_events: Array.from({ length: 10_000 }, (_, n) => `$${n}`) },
  'prev_events of 255 bytes': { prev_events: Array.from({ length: 20 }, (_, n) => `$${n}`.padEnd(255, 'x')) },
  'a depth below zero': { depth: -5 },
  'the greatest depth': { depth: Number.MAX_SAFE_INTEGER },
  'signatures and hashes': { signatures: { x: { y: 'z' } }, hashes: { sha256: 'x' }, event_id: '$x' },
};

for (const [what, parts] of Object.entries(excesses)) {
  test(`make_join: with ${what} our join is a valid event all the same, or none`, async () => {
    await using peer = await witness.peerWithRoom();
    const template = changed(peer, '/make_join/', (json) => ({
      ...json,
      event: { ...(json.event as JsonObject), ...parts },
    }));
    const state = [...peer.room.stateMap.values()].map(({ pdu }) => pdu);
    peer.script = (request) => {
      if (request.url.includes('/send_join/')) return { json: { state, auth_chain: [] } };
      return template(request);
    };
    const { status } = await join(peer);
    assert.ok(status === 200 || status === 504, `${status}`);
    for (const event of signedByUs(peer)) {
      assert.ok((event.prev_events as []).length <= 20 && (event.auth_events as []).length <= 10);
      assert.ok(Number.isSafeInteger(event.depth) && (event.depth as number) >= 0);
      assert.deepEqual(
        [event.type, event.sender, event.state_key],
        ['m.room.member', alice.userId, alice.userId],
      );
      assert.deepEqual(Object.keys(event.signatures as JsonObject), [server.serverName]);
      assert.equal(event.event_id, undefined);
    }
    if (status === 200) await alice.send(peer.room.roomId, 'here');
  });
}

test('a reference that is half a surrogate pair does not get into an event of ours', async () => {
  await using peer = await witness.peerWithRoom();
  peer.script = (request) => {
    if (!request.url.includes('/make_join/')) return undefined;
    const usual = peer.usual(request);
    assert.ok(typeof usual !== 'function');
    const text = encodeCanonical(usual.json).replace('"prev_events":[', '"prev_events":["$\\ud800",');
    return (response) => response.end(text);
  };
  await join(peer);
  for (const event of signedByUs(peer))
    assert.ok((event.prev_events as string[]).every((id) => id.isWellFormed()));
  assert.equal((await alice.try('GET', `${inRoom(peer.room.roomId)}/messages?dir=b&limit=50`)).status, 200);
});

test('make_leave: what is not our own leave is not signed, and the invitation ends all the same', async () => {
  const bad: Record<string, JsonObject> = {
    'another type': { type: 'm.room.power_levels', state_key: '' },
    'another room': { room_id: '!other:elsewhere.test' },
    'another sender': { sender: `@root:${server.serverName}` },
    'another user': { state_key: `@root:${server.serverName}` },
    'a join': { content: { membership: 'join' } },
    'a ban': { content: { membership: 'ban' } },
  };
  await using peer = await witness.peer();
  for (const [what, parts] of Object.entries(bad)) {
    const room = roomOf(peer.user('mallory'), { create: { what } });
    peer.script = (request) => {
      if (!request.url.includes('/make_leave/')) return undefined;
      const draft = room.draft(alice.userId as UserId, {
        ...{ type: 'm.room.member', state_key: alice.userId, content: { membership: 'leave' } },
      });
      return { json: { room_version: '12', event: { ...draft.pdu, ...parts } } };
    };
    await invite(peer, room.invite(peer.user('mallory'), alice.userId as UserId), [room.create.pdu]);
    await untilInvited(alice, room.roomId);
    assert.equal((await alice.try('POST', `${inRoom(room.roomId)}/leave`)).status, 200, what);
    assert.equal((await alice.sync()).rooms?.invite?.[room.roomId], undefined, what);
  }
  assert.deepEqual(peer.asked('/send_leave/'), []);
});

const states: Readonly<Record<string, (peer: RoomPeer, json: JsonObject) => JsonObject>> = {
  'of another room': (peer, json) => {
    const other = roomOf(peer.user('mallory'), { join_rule: 'public', create: { other: true } });
    const state = [...other.stateMap.values()].map(({ pdu }) => pdu);
    return { ...json, state, auth_chain: state };
  },
  'with an altered create event': (_, json) => ({
    ...json,
    state: (json.state as JsonObject[]).map((pdu) =>
      pdu.type === 'm.room.create'
        ? { ...pdu, content: { ...(pdu.content as JsonObject), room_version: '10' } }
        : pdu,
    ),
    auth_chain: [],
  }),
  'in which the create event is none': (_, json) => ({
    ...json,
    state: (json.state as JsonObject[]).map((pdu) =>
      pdu.type === 'm.room.create' ? { type: 'm.room.create' } : pdu,
    ),
    auth_chain: [],
  }),
  'of garbage': (_, json) => ({ ...json, state: [1, 'x', null, [], {}, { type: 5 }], auth_chain: [[[]]] }),
};

for (const version of ['11', '12']) {
  for (const [what, change] of Object.entries(states)) {
    test(`v${version}: a state ${what} makes no room`, async () => {
      await using peer = await witness.peerWithRoom({ version });
      peer.script = changed(peer, '/send_join/', (json) => change(peer, json));
      assert.equal((await join(peer)).status, 504);
      assert.equal(await membershipOf(alice, peer.room.roomId, alice.userId), undefined);
      // The room itself can still be joined.
      peer.script = () => undefined;
      assert.equal((await join(peer)).status, 200);
    });
  }
}

test('a room whose create event says another version than the server that lets us in is not joined', async () => {
  for (const said of ['10', '12', '99', '__proto__']) {
    await using peer = await witness.peerWithRoom({ version: '11', create: { room_version: said } });
    assert.equal((await join(peer)).status, 504, said);
    assert.equal(await membershipOf(alice, peer.room.roomId, alice.userId), undefined);
  }
});

test('v12: a room whose id is not the hash of its create event is not joined', async () => {
  await using peer = await witness.peerWithRoom();
  const roomId = `!${'A'.repeat(43)}`;
  const moved = (pdu: JsonObject) =>
    pdu.type === 'm.room.create' ? pdu : signedBy(peer, { ...pdu, room_id: roomId, signatures: {} } as never);
  peer.script = (request) => {
    if (request.url.includes('/make_join/')) {
      const usual = peer.usual(request);
      assert.ok(typeof usual !== 'function');
      return { json: { ...usual.json, event: { ...(usual.json.event as JsonObject), room_id: roomId } } };
    }
    if (!request.url.includes('/send_join/')) return undefined;
    const state = [...peer.room.stateMap.values()].map(({ pdu }) => moved(pdu));
    return { json: { event: JSON.parse(request.body), state, auth_chain: state, servers_in_room: [] } };
  };
  assert.equal((await join(peer, roomId)).status, 504);
  assert.equal(await membershipOf(alice, roomId, alice.userId), undefined);
});

test('a state that holds memberships of our users which they did not sign, and keys twice, loses those only', async () => {
  await using peer = await witness.peerWithRoom();
  const mallory = peer.user('mallory');
  const bob = await register(server);
  for (let count = 0; count < 490; count++)
    peer.room.state(mallory, 'org.example.entry', `${count}`, { count });
  const forgeries = [
    signedBy(peer, {
      type: 'm.room.member',
      sender: bob.userId,
      state_key: bob.userId,
      content: { membership: 'join' },
    }),
    signedBy(peer, {
      type: 'm.room.member',
      sender: alice.userId,
      state_key: alice.userId,
      content: { membership: 'ban' },
    }),
    signedBy(peer, { type: 'm.room.entry', content: { broken: true }, hashes: { sha256: 1 } } as never),
  ];
  const double = peer.room.fork().state(mallory, 'm.room.topic', '', { topic: 'one' });
  peer.room.state(mallory, 'm.room.topic', '', { topic: 'two' });
  peer.script = changed(peer, '/send_join/', (json) => ({
    ...json,
    state: [...forgeries, ...(json.state as JsonObject[]), double.pdu, double.pdu],
  }));
  assert.equal((await join(peer)).status, 200);
  const { roomId } = peer.room;
  const state: JsonObject[] = await alice.get(`${inRoom(roomId)}/state`);
  assert.equal(state.filter(({ type }) => type === 'org.example.entry').length, 490);
  assert.equal(state.filter(({ type }) => type === 'm.room.topic').length, 1);
  assert.equal(await membershipOf(alice, roomId, bob.userId), undefined);
  assert.equal(await membershipOf(alice, roomId, alice.userId), 'join');
  assert.equal((await bob.sync()).rooms?.join?.[roomId], undefined);
});

test('auth chains that lead nowhere, or are very long, end', async () => {
  await using peer = await witness.peerWithRoom({ version: '11' });
  const mallory = peer.user('mallory');
  const { room } = peer;
  // Each power level event authorises the next; depths say the opposite of the truth.
  const chain: Event[] = [];
  const keys = ['m.room.create', 'm.room.member'].map((type) =>
    room.get(type, type === 'm.room.member' ? mallory : ''),
  );
  const [create, member] = keys;
  assert.ok(create && member);
  let last = room.get('m.room.power_levels');
  assert.ok(last);
  for (let count = 0; count < 1_500; count++) {
    const parts = {
      type: 'm.room.power_levels',
      content: { users: { [mallory]: 100 }, count },
      auth_events: [create.eventId, member.eventId, last.eventId],
      depth: 2_000 - count,
    };
    last = eventFrom(signedBy(peer, parts), room.rules);
    chain.push(last);
  }
  const nowhere = signedBy(peer, { type: 'org.example.lost', auth_events: [create.eventId, '$nowhere'] });
  peer.script = changed(peer, '/send_join/', (json) => ({
    ...json,
    state: [...(json.state as JsonObject[]), nowhere],
    auth_chain: [...(json.auth_chain as JsonObject[]), ...chain.map(({ pdu }) => pdu).reverse()],
  }));
  assert.equal((await join(peer)).status, 200);
  await peer.send(server, [room.message(mallory, 'after all')]);
  await untilMessages(alice, room.roomId, ['after all']);
});

function invite(
  peer: RoomPeer,
  event: { eventId: string; pdu: JsonObject; roomId?: string },
  state: unknown,
  more: JsonObject = {},
) {
  const roomId = String(event.roomId ?? event.pdu.room_id);
  const path = `/_matrix/federation/v2/invite/${encodeURIComponent(roomId)}/${encodeURIComponent(event.eventId)}`;
  const body = { room_version: '12', event: event.pdu, invite_room_state: state, ...more } as JsonObject;
  return peer.request(server, { method: 'PUT', path, body });
}

test('row 66: an invitation with state of a wrong shape is refused or shown without it, and can be declined', async () => {
  await using peer = await witness.peer();
  peer.script = knowsNothing;
  const mallory = peer.user('mallory');
  const odd: readonly unknown[] = [
    null,
    {},
    'x',
    [null],
    [[]],
    Array.from({ length: 10_000 }, () => ({})),
    [{ type: 5 }, { type: 'm.room.name', state_key: '', sender: 'nobody', content: { name: 'x' } }],
    [{ type: '__proto__', state_key: 'constructor', sender: mallory, content: { __proto__: 1 } }],
    undefined,
  ];
  for (const [index, state] of odd.entries()) {
    const room = roomOf(mallory, { version: '11', create: { index } });
    const event = room.draft(mallory, {
      ...{ type: 'm.room.member', state_key: alice.userId, content: { membership: 'invite' } },
      pdu: { room_id: `!odd${index}:${peer.name}` },
    });
    const { status } = await invite(peer, event, state, { room_version: '11' });
    assert.ok(status === 200 || status === 400, `${index}: ${status}`);
    const { rooms } = await alice.sync();
    if (status !== 200) assert.equal(rooms?.invite?.[event.roomId], undefined);
    else {
      assert.ok(Array.isArray(rooms.invite[event.roomId].invite_state.events));
      assert.equal((await alice.try('POST', `${inRoom(event.roomId)}/leave`)).status, 200);
    }
  }
});

test('row 138: v12: an invitation whose create event is forged, of another room or another version is not signed', async () => {
  await using peer = await witness.peer();
  await using other = await witness.peer();
  const mallory = peer.user('mallory');
  const room = roomOf(mallory);
  const create = room.create.pdu;
  const member = room.get('m.room.member', mallory)?.pdu ?? {};
  const eleven = roomOf(mallory, { version: '11' });
  const bad: Record<string, readonly JsonObject[]> = {
    'of another room': [roomOf(mallory, { create: { other: 1 } }).create.pdu],
    'without its signature': [{ ...create, signatures: {} }],
    'with another content': [
      { ...create, content: { ...(create.content as JsonObject), 'm.federate': false } },
    ],
    'signed by another server': [
      signEvent({ ...create, signatures: {} }, room.rules, other.name, keyPairOf(other.name)),
    ],
    'with a room id': [{ ...create, room_id: room.roomId }],
    'of another version': [eleven.create.pdu],
    'that is another event': [member],
    'beside a forged event': [create, { ...member, state_key: alice.userId }],
  };
  const event = room.invite(mallory, alice.userId as UserId);
  for (const [what, state] of Object.entries(bad)) {
    const { status, body } = await invite(peer, event, state);
    assert.equal(status, 400, what);
    assert.equal(body.event, undefined, what);
  }
  assert.equal((await alice.sync()).rooms?.invite?.[room.roomId], undefined);
});

test('what we sign as an invitation is an invitation, whatever else its event holds', async () => {
  await using peer = await witness.peer();
  const mallory = peer.user('mallory');
  peer.script = knowsNothing;
  const room = roomOf(mallory);
  const event = room.draft(mallory, {
    ...{ type: 'm.room.member', state_key: alice.userId },
    content: {
      membership: 'invite',
      users: { [mallory]: 100 },
      join_authorised_via_users_server: alice.userId,
    },
    pdu: { redacts: '$x', origin: server.serverName, event_id: '$x', membership: 'join', extra: { a: 1 } },
  });
  const { status, body } = await invite(peer, event, [room.create.pdu]);
  assert.ok(status === 200 || status === 400, `${status}`);
  if (status === 200) {
    const { type, state_key, content } = body.event;
    assert.deepEqual([type, state_key, content.membership], ['m.room.member', alice.userId, 'invite']);
    assert.equal((await alice.try('POST', `${inRoom(room.roomId)}/leave`)).status, 200);
  }
});

test('who invites into a room by a wrong version does not keep our users out of it', async () => {
  await using honest = await witness.peerWithRoom({ version: '11' });
  await using twelve = await witness.peerWithRoom();
  await using peer = await witness.peer();
  peer.script = knowsNothing;
  const mallory = peer.user('mallory');
  for (const { room, name } of [honest, twelve]) {
    const lie = room.rules.version === '11' ? '10' : '11';
    const rules = rulesOf(lie);
    assert.ok(rules);
    const bare = {
      ...{ type: 'm.room.member', room_id: room.roomId, sender: mallory, state_key: alice.userId },
      ...{ content: { membership: 'invite' }, depth: 3, origin_server_ts: 1_700_000_000_000 },
      ...{ prev_events: ['$p'], auth_events: ['$a'] },
    };
    const event = eventFrom(signEvent(bare, rules, peer.name, keyPairOf(peer.name)), rules);
    await invite(peer, event, [], { room_version: lie });
    const answer = await alice.try(
      'POST',
      `/join/${encodeURIComponent(room.roomId)}?via=${encodeURIComponent(name)}`,
    );
    assert.equal(answer.status, 200, `${lie}: ${JSON.stringify(answer.body)}`);
    await alice.send(room.roomId, 'in');
  }
});

test('an event of ours that another server changes in its answer to send_join is kept as we made it', async () => {
  await using peer = await witness.peerWithRoom();
  peer.script = changed(peer, '/send_join/', (json) => ({
    ...json,
    event: { ...(json.event as JsonObject), content: { membership: 'ban' }, type: 'm.room.power_levels' },
  }));
  assert.equal((await join(peer)).status, 200);
  const stored = await loadEvent(server.ctx, peer.room.last.eventId);
  assert.equal(stored?.event.type, 'm.room.member');
  assert.equal(await membershipOf(alice, peer.room.roomId, alice.userId), 'join');
});
