/** https://spec.matrix.org/v1.19/server-server-api/#inviting-to-a-room */

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import type { JsonObject } from '#keys/json.ts';
import { eventFrom } from '#rooms/event.ts';
import { signEvent } from '#rooms/sign-event.ts';
import { SUPPORTED_VERSIONS } from '#rooms/versions.ts';
import { register } from '#test/harness/client.ts';
import { inRoom, membershipOf, untilInvited } from '#test/harness/conversation.ts';
import { startFleet } from '#test/harness/fleet.ts';
import type { PeerAnswer } from '#test/harness/peer.ts';
import { keyPairOf, roomOf } from '#test/harness/room-builder.ts';
import { RoomPeer } from '#test/harness/room-peer.ts';

const fleet = await startFleet(1);
after(() => fleet[Symbol.asyncDispose]());
const server = fleet.at(0);
const alice = await register(server, 'alice');
const encode = encodeURIComponent;

function invite(roomId: string, target: string) {
  return alice.try('POST', `${inRoom(roomId)}/invite`, { user_id: target });
}

for (const version of SUPPORTED_VERSIONS) {
  test(`v${version}: an invitation shows the room by whole events of its version, the create event among them`, async () => {
    await using peer = await new RoomPeer(fleet.authority).start();
    const roomId = await alice.createRoom({
      ...{ preset: 'private_chat', room_version: version, name: 'Plans', topic: 'What next' },
    });
    assert.equal((await invite(roomId, peer.user('guest'))).status, 200);
    const sent = JSON.parse(peer.peer.requests.findLast(({ url }) => url.includes('/invite/'))?.body ?? '{}');
    assert.equal(sent.room_version, version);
    const shown: JsonObject[] = sent.invite_room_state;
    const types = shown.map(({ type }) => type);
    for (const type of [
      'm.room.create',
      'm.room.name',
      'm.room.topic',
      'm.room.join_rules',
      'm.room.member',
    ]) {
      assert.ok(types.includes(type), type);
    }
    const state: { event_id: string }[] = await alice.get(`${inRoom(roomId)}/state`);
    const { rules } = eventFromOwn(shown, version);
    const ids = shown.map((pdu) => eventFrom(pdu, rules).eventId);
    for (const id of ids)
      assert.ok(
        state.some(({ event_id: known }) => known === id),
        id,
      );
  });
}

function eventFromOwn(shown: readonly JsonObject[], version: string) {
  const { rules } = roomOf('@x:elsewhere.test', { version });
  for (const pdu of shown) assert.ok((pdu.signatures as JsonObject)[server.serverName]);
  return { rules };
}

for (const [version, status, asksV1] of [
  ['1', 404, true],
  ['2', 400, true],
  ['1', 405, true],
  ['2', 403, false],
  ['3', 404, false],
  ['10', 400, false],
] as const) {
  test(`v${version}: where v2 of invite answers ${status}, v1 is ${asksV1 ? '' : 'not '}asked`, async () => {
    await using peer = await new RoomPeer(fleet.authority).start();
    const roomId = await alice.createRoom({ preset: 'private_chat', room_version: version });
    peer.script = ({ url, body }): PeerAnswer | undefined => {
      const errcode = status === 405 ? 'M_UNRECOGNIZED' : 'M_UNKNOWN';
      if (url.includes('/v2/invite/')) return { status, json: { errcode, error: 'no' } };
      if (!url.includes('/v1/invite/')) return undefined;
      const { unsigned: _, ...pdu } = JSON.parse(body) as JsonObject;
      const { rules } = roomOf('@x:elsewhere.test', { version });
      const event = signEvent(pdu, rules, peer.name, keyPairOf(peer.name));
      return (response) => response.end(JSON.stringify([200, { event }]));
    };
    const { status: answered } = await invite(roomId, peer.user('guest'));
    assert.equal(peer.asked('/v1/invite/').length, asksV1 ? 1 : 0);
    assert.equal(answered === 200, asksV1, `${answered}`);
    const wanted = asksV1 ? 'invite' : undefined;
    assert.equal(await membershipOf(alice, roomId, peer.user('guest')), wanted);
  });
}

test('"If M_MISSING_PARAM or M_INVALID_PARAM is returned [...] the request SHOULD fail with a 5xx error"', async () => {
  await using peer = await new RoomPeer(fleet.authority).start();
  const roomId = await alice.createRoom({ preset: 'private_chat' });
  for (const errcode of ['M_MISSING_PARAM', 'M_INVALID_PARAM']) {
    peer.script = ({ url }) =>
      url.includes('/invite/') ? { status: 400, json: { errcode, error: 'no' } } : undefined;
    assert.equal((await invite(roomId, peer.user('guest'))).status, 504, errcode);
  }
});

test('v12: an event shown of another room, unsigned or altered is an error; in v11 it is shown as it may be', async () => {
  await using peer = await new RoomPeer(fleet.authority).start();
  const mallory = peer.user('mallory');
  for (const version of ['11', '12']) {
    const room = peer.makeRoom({ version });
    const name = room.state(mallory, 'm.room.name', '', { name: 'Real' });
    const elsewhere = roomOf(mallory, { version: '12', create: { other: true } });
    const bad: Readonly<Record<string, JsonObject>> = {
      'of another room': elsewhere.state(mallory, 'm.room.name', '', { name: 'Elsewhere' }).pdu,
      unsigned: { ...name.pdu, signatures: {} },
      altered: { ...name.pdu, sender: peer.user('other') },
    };
    for (const [what, entry] of Object.entries(bad)) {
      const user = await register(server);
      const options = { type: 'm.room.member', state_key: user.userId, content: { membership: 'invite' } };
      const event = room.draft(mallory, options);
      const { status, body } = await peer.request(server, {
        method: 'PUT',
        path: `/_matrix/federation/v2/invite/${encode(room.roomId)}/${encode(event.eventId)}`,
        body: { room_version: version, event: event.pdu, invite_room_state: [room.create.pdu, entry] },
      });
      if (version === '12') {
        assert.deepEqual([status, body.errcode], [400, 'M_INVALID_PARAM'], what);
        assert.equal((await user.sync()).rooms?.invite, undefined, what);
      } else {
        assert.equal(status, 200, what);
        await untilInvited(user, room.roomId);
      }
    }
  }
});

test('a room whose name and topic are as long as they may be is shown without what is too much', async () => {
  await using peer = await new RoomPeer(fleet.authority).start();
  const roomId = await alice.createRoom({ preset: 'private_chat' });
  const long = 'x'.repeat(60_000);
  for (const [type, key] of [
    ['m.room.name', 'name'],
    ['m.room.topic', 'topic'],
    ['m.room.avatar', 'url'],
    ['m.room.canonical_alias', 'org.example.alias'],
    ['m.room.encryption', 'org.example.key'],
  ] as const) {
    const content = {
      ...(type === 'm.room.encryption' && { algorithm: 'm.megolm.v1.aes-sha2' }),
      [key]: long,
    };
    await alice.put(`${inRoom(roomId)}/state/${type}`, content);
  }
  assert.equal((await invite(roomId, peer.user('guest'))).status, 200);
  const sent = peer.peer.requests.findLast(({ url }) => url.includes('/invite/'))?.body ?? '{}';
  assert.ok(sent.length < 300_000, `${sent.length}`);
  const shown: JsonObject[] = JSON.parse(sent).invite_room_state;
  assert.equal(shown[0]?.type, 'm.room.create');
  assert.ok(shown.some(({ type }) => type === 'm.room.name'));
});

test('of all the state of a room that a server shows, what says most of the room is kept', async () => {
  await using peer = await new RoomPeer(fleet.authority).start();
  const mallory = peer.user('mallory');
  const room = peer.makeRoom({ version: '10' });
  const members = Array.from({ length: 300 }, (_, index) => ({
    ...{ type: 'm.room.member', state_key: peer.user(`m${index}`), sender: mallory },
    content: { membership: 'join' },
  }));
  const long = {
    type: 'org.example.long',
    state_key: '',
    sender: mallory,
    content: { x: 'x'.repeat(70_000) },
  };
  const name = { type: 'm.room.name', state_key: '', sender: mallory, content: { name: 'At the end' } };
  const user = await register(server);
  const options = { type: 'm.room.member', state_key: user.userId, content: { membership: 'invite' } };
  const event = room.draft(mallory, options);
  const { status } = await peer.request(server, {
    method: 'PUT',
    path: `/_matrix/federation/v2/invite/${encode(room.roomId)}/${encode(event.eventId)}`,
    body: {
      ...{ room_version: '10', event: event.pdu },
      invite_room_state: [...members, long, name, room.create.pdu] as unknown as JsonObject[],
    },
  });
  assert.equal(status, 200);
  const shown = await untilInvited(user, room.roomId);
  assert.deepEqual(
    shown.slice(0, 2).map(({ type }) => type),
    ['m.room.create', 'm.room.name'],
  );
  assert.ok(shown.length <= 51, `${shown.length}`);
  assert.ok(!shown.some(({ type }) => type === 'org.example.long'));
});

test('an invited user who joins before the room has the invitation, since it is still on its way back, is let in', async () => {
  await using peer = await new RoomPeer(fleet.authority).start();
  const guest = peer.user('guest');
  const roomId = await alice.createRoom({ preset: 'private_chat', room_version: '11' });
  const path = `/_matrix/federation/v1/make_join/${encode(roomId)}/${encode(guest)}?ver=11`;
  let joining: ReturnType<RoomPeer['request']> | undefined;
  peer.script = ({ url, body }): PeerAnswer | undefined => {
    if (!url.includes('/v2/invite/')) return undefined;
    joining = peer.request(server, { path });
    const { event } = JSON.parse(body) as { event: JsonObject };
    const { rules } = roomOf('@x:elsewhere.test', { version: '11' });
    const signed = signEvent(event, rules, peer.name, keyPairOf(peer.name));
    return (response) => {
      setTimeout(() => response.end(JSON.stringify({ event: signed })), 500);
    };
  };
  assert.equal((await invite(roomId, guest)).status, 200);
  const answer = await joining;
  assert.equal(answer?.status, 200, JSON.stringify(answer?.body));
});
