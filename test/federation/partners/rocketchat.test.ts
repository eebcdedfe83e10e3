/**
 * How Kurir gets on with Rocket.Chat: one test for each thing that is special about it. The other side is a server of
 * the test's own that does what Rocket.Chat does; that it is one was chosen by the operator.
 */

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { encodeCanonical } from '#keys/canonical-json.ts';
import type { EventId, UserId } from '#keys/ids.ts';
import { isObject, type JsonObject } from '#keys/json.ts';
import { eventFrom } from '#rooms/event.ts';
import { sendEvent } from '#rooms/send.ts';
import { signEvent } from '#rooms/sign-event.ts';
import { rulesOf } from '#rooms/versions.ts';
import { partnersKind } from '#server/config/partner-option.ts';
import { defaultConfig, warningsFor } from '#server/config.ts';
import { type Answer, type Body, register, type TestClient } from '#test/harness/client.ts';
import { bringIn, inRoom, untilInvited, untilMember, untilMessages } from '#test/harness/conversation.ts';
import { startFleet } from '#test/harness/fleet.ts';
import { partner } from '#test/harness/partner.ts';
import { keyPairOf } from '#test/harness/room-builder.ts';
import { RoomPeer } from '#test/harness/room-peer.ts';
import { startServer, type TestServer } from '#test/harness/server.ts';
import { until } from '#test/harness/until.ts';

const fleet = await startFleet(2);
after(() => fleet[Symbol.asyncDispose]());
const server = fleet.at(0);
const alice = await register(server);
const encode = encodeURIComponent;
const V1 = '/_matrix/federation/v1';
const V2 = '/_matrix/federation/v2';

/** A Rocket.Chat. */
async function startRocketChat(on: TestServer = server): Promise<RoomPeer> {
  const peer = await new RoomPeer(fleet.authority).start();
  await on.ctx.partners.put(partner(peer.name, { profile: 'rocketchat' }));
  return peer;
}

async function versionOf(roomId: string): Promise<string> {
  return (await alice.get(`${inRoom(roomId)}/state/m.room.create`)).room_version;
}

/** Joins a user of the peer to a room of ours, as its server does it. */
async function joinFrom(peer: RoomPeer, roomId: string, userId: UserId, on: TestServer = server) {
  const made = await peer.request(on, { path: `${V1}/make_join/${encode(roomId)}/${encode(userId)}?ver=10` });
  assert.equal(made.status, 200, JSON.stringify(made.body));
  const rules = rulesOf(made.body.room_version);
  assert.ok(rules);
  const join = eventFrom(signEvent(made.body.event, rules, peer.name, keyPairOf(peer.name)), rules);
  const path = `${V2}/send_join/${encode(roomId)}/${encode(join.eventId)}`;
  return peer.request(on, { method: 'PUT', path, body: join.pdu });
}

/** A room of ours with a user of the peer in it. */
async function roomWith(peer: RoomPeer, user: TestClient = alice, on: TestServer = server) {
  const guest = peer.user('rocky');
  const { room_id: roomId } = await user.post('/createRoom', { invite: [guest] });
  assert.equal((await joinFrom(peer, roomId, guest, on)).status, 200);
  return { roomId: roomId as string, guest };
}

/** Has a user of the peer invite one of ours to the peer's room. */
async function inviteFrom(peer: RoomPeer, userId: string, extra: JsonObject = {}) {
  const { room } = peer;
  const invite = room.invite(peer.user('mallory'), userId as UserId);
  const body = {
    event: invite.pdu,
    room_version: room.rules.version,
    invite_room_state: [...room.stateMap.values()].map(({ pdu }) => pdu),
    ...extra,
  };
  const path = `${V2}/invite/${encode(room.roomId)}/${encode(invite.eventId)}`;
  return peer.request(server, { method: 'PUT', path, body });
}

function refusedWith(answer: Answer, status: number, errcode: string, says: RegExp): void {
  assert.deepEqual([answer.status, answer.body.errcode], [status, errcode], JSON.stringify(answer.body));
  assert.match(answer.body.error, says);
}

function bodiesTo(peer: RoomPeer, part: string): JsonObject[] {
  return peer.peer.requests
    .filter(({ url }) => url.includes(part))
    .map(({ body }) => JSON.parse(body) as JsonObject);
}

function pdusTo(peer: RoomPeer): JsonObject[] {
  return bodiesTo(peer, '/send/').flatMap(({ pdus }) => (Array.isArray(pdus) ? pdus.filter(isObject) : []));
}

test('RC1: a room for its users has version 10, or 11 once it says that it knows it; others are refused before they are sent', async () => {
  await using peer = await startRocketChat();
  const guest = peer.user('rocky');
  const { room_id: roomId } = await alice.post('/createRoom', { invite: [guest] });
  assert.equal(await versionOf(roomId), '10');
  assert.equal(bodiesTo(peer, '/invite/')[0]?.room_version, '10');

  const chosen = await alice.try('POST', '/createRoom', { invite: [guest], room_version: '11' });
  refusedWith(
    chosen,
    400,
    'M_UNSUPPORTED_ROOM_VERSION',
    /Rocket\.Chat.*version 10 only.*version 11.*Make a new room/,
  );
  const other = await alice.createRoom({ room_version: '11', preset: 'private_chat' });
  const invited = await alice.try('POST', `${inRoom(other)}/invite`, { user_id: guest });
  refusedWith(
    invited,
    400,
    'M_UNSUPPORTED_ROOM_VERSION',
    /version 10 only, and this room has version 11\. Make a new room/,
  );
  const upgraded = await alice.try('POST', `${inRoom(roomId)}/upgrade`, { new_version: '11' });
  refusedWith(
    upgraded,
    400,
    'M_UNSUPPORTED_ROOM_VERSION',
    /This room has users of .*Rocket\.Chat.*version 10 only/,
  );
  assert.equal(bodiesTo(peer, '/invite/').length, 1, 'nothing else was sent');

  const versions = ['3', '4', '5', '6', '7', '8', '9', '10', '11']
    .map((version) => `ver=${version}`)
    .join('&');
  await peer.request(server, { path: `${V1}/make_join/${encode(roomId)}/${encode(guest)}?${versions}` });
  const { room_id: newer } = await alice.post('/createRoom', { invite: [guest] });
  assert.equal(await versionOf(newer), '11');
  await alice.post(`${inRoom(other)}/invite`, { user_id: guest });
});

test('RC2: its users are never brought into rooms of version 12, whatever it says', async () => {
  await using peer = await startRocketChat();
  const guest = peer.user('rocky');
  const { room_id: roomId } = await alice.post('/createRoom', { invite: [guest] });
  await peer.request(server, { path: `${V1}/make_join/${encode(roomId)}/${encode(guest)}?ver=11&ver=12` });
  const { room_id: newest } = await alice.post('/createRoom', { invite: [guest] });
  assert.equal(await versionOf(newest), '11');
  const room = await alice.createRoom({ preset: 'private_chat' });
  assert.equal(await versionOf(room), '12');
  const invited = await alice.try('POST', `${inRoom(room)}/invite`, { user_id: guest });
  refusedWith(invited, 400, 'M_UNSUPPORTED_ROOM_VERSION', /version 11 only, and this room has version 12/);
});

test('RC3: an invitation to a room whose making server is gone is refused, since it joins through no other', async () => {
  await using peer = await startRocketChat();
  const host = await register(fleet.at(1));
  const roomId = await host.createRoom({ room_version: '10', preset: 'private_chat' });
  await bringIn(host, alice, roomId);
  await alice.post(`${inRoom(roomId)}/invite`, { user_id: peer.user('early') });
  await host.post(`${inRoom(roomId)}/leave`);
  await untilMember(alice, roomId, host.userId, 'leave');
  const late = await alice.try('POST', `${inRoom(roomId)}/invite`, { user_id: peer.user('late') });
  refusedWith(
    late,
    403,
    'M_FORBIDDEN',
    /through the server that made it, and localhost:\d+ is no longer in this room\. Make a new room/,
  );
});

test('RC4: a name with a port is warned of where Rocket.Chat is a partner', () => {
  const partners =
    partnersKind.parse([
      new Map([
        ['name', 'rc.test:8448'],
        ['profile', 'rocketchat'],
      ]),
    ]) ?? [];
  const warnings = warningsFor({ ...defaultConfig(), serverName: 'here.test:8448', partners }).join('\n');
  assert.match(warnings, /cannot federate by here\.test:8448/);
  assert.match(warnings, /cannot federate by rc\.test:8448/);
  const without = { ...defaultConfig(), serverName: 'here.test:8448' };
  assert.doesNotMatch(warningsFor(without).join('\n'), /Rocket\.Chat/);
});

test('RC5: its users are in no encrypted and no public rooms, and a room with them does not become one', async () => {
  await using peer = await startRocketChat();
  const guest = peer.user('rocky');
  const encryption = {
    type: 'm.room.encryption',
    state_key: '',
    content: { algorithm: 'm.megolm.v1.aes-sha2' },
  };
  const encrypted = await alice.try('POST', '/createRoom', { invite: [guest], initial_state: [encryption] });
  refusedWith(
    encrypted,
    403,
    'M_FORBIDDEN',
    /cannot read encrypted messages.*Make a room without encryption/,
  );
  const open = await alice.try('POST', '/createRoom', { invite: [guest], preset: 'public_chat' });
  refusedWith(open, 403, 'M_FORBIDDEN', /join rule "public"\. Use "invite"/);
  assert.equal(bodiesTo(peer, '/invite/').length, 0);

  const { roomId } = await roomWith(peer);
  const encrypt = () => alice.try('PUT', `${inRoom(roomId)}/state/m.room.encryption/`, encryption.content);
  refusedWith(await encrypt(), 403, 'M_FORBIDDEN', /users of .*Rocket\.Chat.*cannot read encrypted messages/);
  const openUp = { join_rule: 'public' };
  refusedWith(
    await alice.try('PUT', `${inRoom(roomId)}/state/m.room.join_rules/`, openUp),
    403,
    'M_FORBIDDEN',
    /"public"/,
  );
  const bob = await register(server);
  assert.equal((await bob.try('PUT', `${inRoom(roomId)}/state/m.room.encryption/`, {})).status, 403);
  await alice.post(`${inRoom(roomId)}/kick`, { user_id: guest });
  assert.equal((await encrypt()).status, 200);
  const again = await alice.try('POST', `${inRoom(roomId)}/invite`, { user_id: guest });
  refusedWith(again, 403, 'M_FORBIDDEN', /encryption cannot be turned off/);
});

test('RC6: restricted and knock_restricted rooms are not for its users', async () => {
  await using peer = await startRocketChat();
  const guest = peer.user('rocky');
  const { roomId } = await roomWith(peer);
  for (const joinRule of ['restricted', 'knock_restricted']) {
    const content = { join_rule: joinRule, allow: [{ type: 'm.room_membership', room_id: roomId }] };
    const state = { type: 'm.room.join_rules', state_key: '', content };
    const made = await alice.try('POST', '/createRoom', { invite: [guest], initial_state: [state] });
    refusedWith(made, 403, 'M_FORBIDDEN', new RegExp(`join rule "${joinRule}"`));
    const set = await alice.try('PUT', `${inRoom(roomId)}/state/m.room.join_rules/`, content);
    refusedWith(set, 403, 'M_FORBIDDEN', new RegExp(`join rule "${joinRule}"`));
    const room = await alice.createRoom({
      room_version: '10',
      preset: 'private_chat',
      initial_state: [state],
    });
    const invited = await alice.try('POST', `${inRoom(room)}/invite`, { user_id: guest });
    refusedWith(invited, 403, 'M_FORBIDDEN', new RegExp(`join rule "${joinRule}"`));
  }
});

test('RC7: its questions before an invitation, a signed version and a profile, are answered with 200', async () => {
  await using peer = await startRocketChat();
  const nameless = await register(server);
  const version = await peer.request(server, { path: `${V1}/version` });
  assert.equal(version.status, 200);
  const profile = await peer.request(server, {
    path: `${V1}/query/profile?user_id=${encode(nameless.userId)}`,
  });
  assert.deepEqual([profile.status, profile.body], [200, {}]);
});

test('RC8: the Authorization header names origin, destination, key and sig, all of them quoted', async () => {
  await using peer = await startRocketChat();
  await roomWith(peer);
  const signed = peer.peer.requests.filter(({ headers }) => headers.authorization !== undefined);
  assert.ok(signed.length > 0);
  for (const { headers } of signed) {
    assert.match(
      String(headers.authorization),
      /^X-Matrix origin="localhost:\d+",destination="localhost:\d+",key="ed25519:\w+",sig="[A-Za-z0-9+/]+"$/,
    );
  }
});

test('RC9: .well-known/matrix/server names the port, also where the option does not', async () => {
  for (const [federationAddress, told] of [
    ['matrix.example.org', 'matrix.example.org:8448'],
    ['matrix.example.org:443', 'matrix.example.org:443'],
  ] as const) {
    await using named = await startServer({ federationAddress });
    const answer = await fetch(`${named.clientUrl}/.well-known/matrix/server`);
    assert.deepEqual(await answer.json(), { 'm.server': told });
  }
});

test('RC10: there is one key that is valid, and events carry one signature, by it', async () => {
  await using peer = await startRocketChat();
  const { roomId } = await roomWith(peer);
  const { body } = await peer.request(server, { path: '/_matrix/key/v2/server' });
  const keys = Object.keys(body.verify_keys);
  assert.equal(keys.length, 1);
  const eventId = await alice.send(roomId, 'signed');
  await until(() => pdusTo(peer).length > 0, 'that the message arrives');
  const told = await peer.request(server, { path: `${V1}/event/${encode(eventId)}` });
  assert.deepEqual(Object.keys(told.body.pdus[0].signatures), [server.serverName]);
  assert.deepEqual(Object.keys(told.body.pdus[0].signatures[server.serverName]), keys);
});

test('RC11: joins and leaves that go to it have our name as origin; those to others do not', async () => {
  await using peer = await startRocketChat();
  peer.makeRoom({ version: '10', join_rule: 'invite' });
  assert.equal((await inviteFrom(peer, alice.userId)).status, 200);
  await alice.join(peer.room.roomId);
  assert.deepEqual(
    bodiesTo(peer, '/send_join/').map(({ origin }) => origin),
    [server.serverName],
  );
  const bob = await register(server);
  await using second = await startRocketChat();
  second.makeRoom({ version: '10', join_rule: 'invite' });
  assert.equal((await inviteFrom(second, bob.userId)).status, 200);
  await bob.post(`${inRoom(second.room.roomId)}/leave`);
  assert.equal(bodiesTo(second, '/send_leave/')[0]?.origin, server.serverName);
  await using other = await new RoomPeer(fleet.authority).start();
  other.makeRoom({ version: '10' });
  await alice.join(other.room.roomId, [other.name]);
  assert.equal(Object.hasOwn(bodiesTo(other, '/send_join/')[0] ?? {}, 'origin'), false);
});

test('RC12: send_join answers JSON, whose auth chain holds the create event', async () => {
  await using peer = await startRocketChat();
  const guest = peer.user('rocky');
  const { room_id: roomId } = await alice.post('/createRoom', { invite: [guest] });
  const answer = await joinFrom(peer, roomId, guest);
  assert.equal(answer.status, 200);
  assert.match(answer.contentType ?? '', /application\/json/);
  assert.ok(answer.body.auth_chain.some((pdu: Body) => pdu.type === 'm.room.create'));
  assert.ok(isObject(answer.body.event));
});

test('RC13: the limits on how often a server may ask do not hold for it', async () => {
  const { federationCa, tlsCert, tlsKey } = server.ctx.config;
  const options = { rateLimits: true, federationCa };
  await using limited = await startServer(
    tlsCert === undefined || tlsKey === undefined ? options : { ...options, tlsCert, tlsKey },
  );
  const user = await register(limited);
  await using peer = await startRocketChat(limited);
  const { room_id: roomId } = await user.post('/createRoom', { invite: [peer.user('rocky')] });
  assert.equal((await joinFrom(peer, roomId, peer.user('rocky'), limited)).status, 200);
  const eventId = await user.send(roomId, 'asked for often');
  const path = `${V1}/event/${encode(eventId)}`;
  for (let round = 0; round < 20; round++) {
    const answers = await Promise.all(Array.from({ length: 15 }, () => peer.request(limited, { path })));
    assert.ok(answers.every(({ status }) => status === 200));
  }
  const invite = async (by: RoomPeer) => {
    by.makeRoom({
      version: '10',
      join_rule: 'invite',
      create: { n: by.peer.requests.length + Math.random() },
    });
    const event = by.room.invite(by.user('mallory'), user.userId as UserId);
    const to = `${V2}/invite/${encode(by.room.roomId)}/${encode(event.eventId)}`;
    const body = { event: event.pdu, room_version: '10', invite_room_state: [] };
    return (await by.request(limited, { method: 'PUT', path: to, body })).status;
  };
  const statuses = async (by: RoomPeer) => {
    const all = new Set<number>();
    for (let count = 0; count < 25; count++) all.add(await invite(by));
    return [...all];
  };
  assert.deepEqual(await statuses(peer), [200]);
  await using other = await new RoomPeer(fleet.authority).start();
  assert.deepEqual(await statuses(other), [200, 429]);
});

test('RC14: one transaction at a time, and one that is put off is sent again', async () => {
  await using peer = await startRocketChat();
  const { roomId } = await roomWith(peer);
  const held = Promise.withResolvers<void>();
  let running = 0;
  let most = 0;
  let attempts = 0;
  peer.script = async ({ url }) => {
    if (!url.includes('/send/')) return undefined;
    attempts += 1;
    if (attempts === 2) return { status: 429, json: { errcode: 'M_LIMIT_EXCEEDED', error: 'one at a time' } };
    running += 1;
    most = Math.max(most, running);
    await held.promise;
    running -= 1;
    return { json: { pdus: {} } };
  };
  await Promise.all(Array.from({ length: 70 }, (_, index) => alice.send(roomId, `m${index}`)));
  await until(() => attempts > 0, 'that the first transaction is under way');
  held.resolve();
  const wanted = Array.from({ length: 70 }, (_, index) => `m${index}`).sort();
  const bodies = () => new Set(pdusTo(peer).map(({ content }) => (content as Body).body));
  await until(() => wanted.every((body) => bodies().has(body)), 'that all arrive');
  assert.equal(most, 1);
});

test('RC15: after an outage it gets every event, in order, however many', async () => {
  await using peer = await startRocketChat();
  const { roomId } = await roomWith(peer);
  await until(async () => (await server.ctx.backoff.failingSince(peer.name)) === undefined);
  await peer.peer.stop();
  // An outbox is measured for every 1,000 events, and cut beyond as many for a server that fetches what it lacks.
  const count = 2_100;
  const sender = alice.userId as UserId;
  for (let from = 0; from < count; from += 50) {
    const drafts = Array.from({ length: 50 }, (_, index) => ({
      ...{ roomId: roomId as `!${string}`, sender, type: 'm.room.message' },
      content: { msgtype: 'm.text', body: `${from + index}` },
    }));
    // In order: the numbers are what is checked.
    await Promise.all(drafts.map((draft) => sendEvent(server.ctx, draft)));
  }
  await until(
    async () => (await server.ctx.backoff.failingSince(peer.name)) !== undefined,
    'that it is missed',
  );
  await peer.peer.start();
  await server.ctx.backoff.succeeded(peer.name);
  const numbers = () => [...new Set(pdusTo(peer).map(({ content }) => Number((content as Body).body)))];
  await until(() => numbers().length >= count, 'that all arrive');
  assert.deepEqual(
    numbers(),
    Array.from({ length: count }, (_, index) => index),
  );
});

test('RC16: it is called as soon as we are up, and what it lost of its queue is fetched from it', async () => {
  await using peer = await startRocketChat();
  peer.makeRoom({ version: '10', join_rule: 'invite' });
  assert.equal((await inviteFrom(peer, alice.userId)).status, 200);
  await alice.join(peer.room.roomId);
  const before = peer.asked('/send/').length;
  await server.restart();
  await until(() => peer.asked('/send/').length > before, 'that it hears of us');
  const { headers } = peer.peer.requests.findLast(({ url }) => url.includes('/send/')) ?? {};
  assert.match(String(headers?.authorization), /^X-Matrix /);
  const lost = Array.from({ length: 30 }, (_, index) =>
    peer.room.message(peer.user('mallory'), `lost ${index}`),
  );
  const last = peer.room.message(peer.user('mallory'), 'the last');
  assert.equal((await peer.send(server, [last])).status, 200);
  const wanted = [...lost.map((_, index) => `lost ${index}`), 'the last'];
  await untilMessages(alice, peer.room.roomId, wanted);
});

test('RC17: an event that it gives by its id, with its origin added, is the event that it was', async () => {
  for (const version of ['10', '11']) {
    await using peer = await startRocketChat();
    peer.makeRoom({ version, join_rule: 'invite' });
    assert.equal((await inviteFrom(peer, alice.userId)).status, 200);
    await alice.join(peer.room.roomId);
    peer.script = (request) => {
      // It knows no auth chains, and adds to what it gives by id.
      if (request.url.includes('/event_auth/')) return { json: { auth_chain: [] } };
      if (!request.url.includes('/event/')) return undefined;
      const answer = peer.usual(request);
      if (typeof answer === 'function') return answer;
      const [pdu] = answer.json.pdus as JsonObject[];
      return { json: { ...answer.json, pdus: [{ ...pdu, origin: peer.name }] } };
    };
    const newcomer = peer.user('newcomer');
    const { room } = peer;
    const invite = room.invite(peer.user('mallory'), newcomer);
    const join = room.join(newcomer);
    // Of which we hear only what comes after.
    const hidden = new Set<EventId>([invite.eventId, join.eventId]);
    for (const eventId of hidden) peer.hidden.delete(eventId);
    const message = room.message(newcomer, `in ${version}`);
    peer.script = withoutMissing(peer.script, peer);
    assert.equal((await peer.send(server, [message])).status, 200);
    await untilMessages(alice, room.roomId, [`in ${version}`]);
    assert.ok(peer.asked('/event/').length > 0, 'events were asked for by their ids');
  }
});

/** As it answers, but get_missing_events gives nothing. */
function withoutMissing(script: RoomPeer['script'], _: RoomPeer): RoomPeer['script'] {
  return (request) =>
    request.url.includes('/get_missing_events/') ? { json: { events: [] } } : script(request);
}

test('RC18: hashes and signatures beside what a request asks are no fault', async () => {
  await using peer = await startRocketChat();
  const extra = { hashes: { sha256: 'abc' }, signatures: { [peer.name]: { 'ed25519:x': 'abc' } } };
  peer.makeRoom({ version: '10', join_rule: 'invite' });
  assert.equal((await inviteFrom(peer, alice.userId, extra)).status, 200);
  await alice.join(peer.room.roomId);
  const message = peer.room.message(peer.user('mallory'), 'with more');
  const sent = await peer.request(server, {
    method: 'PUT',
    path: `${V1}/send/extra`,
    body: { origin: peer.name, origin_server_ts: 1, pdus: [message.pdu], edus: [], ...extra },
  });
  assert.deepEqual([sent.status, sent.body.pdus], [200, { [message.eventId]: {} }]);
  await untilMessages(alice, peer.room.roomId, ['with more']);
  const missing = await peer.request(server, {
    method: 'POST',
    path: `${V1}/get_missing_events/${encode(peer.room.roomId)}`,
    body: { earliest_events: [], latest_events: [message.eventId], limit: 10, ...extra },
  });
  assert.equal(missing.status, 200);
});

test('RC19: an invitation that shows the whole state of a room is taken', async () => {
  await using peer = await startRocketChat();
  const members = Array.from({ length: 300 }, (_, index) => peer.user(`m${index}`));
  peer.makeRoom({ version: '10', join_rule: 'invite', members });
  assert.ok(peer.room.stateMap.size > 300);
  assert.equal((await inviteFrom(peer, alice.userId)).status, 200);
  const shown = await untilInvited(alice, peer.room.roomId);
  assert.ok(shown.some(({ type }) => type === 'm.room.create'));
});

test('RC20: its public rooms ask for an invitation, and whoever tries without one is told so', async () => {
  await using peer = await startRocketChat();
  peer.makeRoom({ version: '10' });
  const { roomId } = peer.room;
  peer.script = ({ url }) => {
    if (url.includes('/publicRooms')) {
      const chunk = [
        { room_id: roomId, num_joined_members: 1, world_readable: false, guest_can_join: false },
      ];
      return { json: { chunk, total_room_count_estimate: 1 } };
    }
    if (!url.includes('/make_join/')) return undefined;
    return { status: 500, json: { errcode: 'M_UNKNOWN', error: 'not invited' } };
  };
  const { chunk } = await alice.get(`/publicRooms?server=${encode(peer.name)}`);
  assert.equal(chunk[0].join_rule, 'invite');
  const joined = await alice.try('POST', `/join/${encode(roomId)}?via=${encode(peer.name)}`, {});
  refusedWith(joined, 403, 'M_FORBIDDEN', /by invitation only\. Ask somebody who is in the room/);
});

test('RC23: new users get no names by which it could not invite them', async () => {
  await using _peer = await startRocketChat();
  const available = (name: string) => alice.try('GET', `/register/available?username=${encode(name)}`);
  for (const name of ['a/b', 'a+b', 'a=b']) {
    refusedWith(
      await available(name),
      400,
      'M_INVALID_USERNAME',
      /could not invite.*Use a-z, 0-9 and \. _ - only/,
    );
  }
  for (const name of ['a.b', 'a_b-c', 'a=2fb']) assert.equal((await available(name)).status, 200, name);
});

test('RC24: events cite at most 10 auth events and 20 prev events, and there are no third-party invites', async () => {
  await using peer = await startRocketChat();
  const { roomId } = await roomWith(peer);
  await alice.send(roomId, 'cites few');
  await until(() => pdusTo(peer).length > 0);
  for (const pdu of pdusTo(peer)) {
    assert.ok((pdu.auth_events as unknown[]).length <= 10);
    assert.ok((pdu.prev_events as unknown[]).length <= 20);
  }
  const content = { display_name: 'x', key_validity_url: 'https://x', public_key: 'x' };
  const invited = await alice.try('PUT', `${inRoom(roomId)}/state/m.room.third_party_invite/token`, content);
  refusedWith(invited, 403, 'M_FORBIDDEN', /invitations by e-mail mean nothing\. Invite by user id/);
});

test('RC25: its rooms share their history, and what it does not know goes to it with the plain text that it can show', async () => {
  await using peer = await startRocketChat();
  const guest = peer.user('rocky');
  const hidden = {
    type: 'm.room.history_visibility',
    state_key: '',
    content: { history_visibility: 'joined' },
  };
  const made = await alice.try('POST', '/createRoom', { invite: [guest], initial_state: [hidden] });
  refusedWith(made, 403, 'M_FORBIDDEN', /does not keep to the history visibility "joined"\. Use "shared"/);
  const { roomId } = await roomWith(peer);
  const set = await alice.try('PUT', `${inRoom(roomId)}/state/m.room.history_visibility/`, hidden.content);
  refusedWith(set, 403, 'M_FORBIDDEN', /"joined"/);
  const poll = { body: '1. yes 2. no', 'm.text': [{ body: 'yes or no' }], 'm.poll': { kind: 'm.disclosed' } };
  await alice.sendEvent(roomId, 'm.poll.start', poll);
  await until(() => pdusTo(peer).some(({ type }) => type === 'm.poll.start'), 'that the poll arrives');
  const sent = pdusTo(peer).find(({ type }) => type === 'm.poll.start');
  assert.equal(encodeCanonical(sent?.content ?? {}), encodeCanonical(poll));
});
