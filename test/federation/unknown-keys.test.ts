/** Some servers send keys beside those of the specification, at the top level of what they send. */

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { generateSeed, keyPairFromSeed } from '#keys/ed25519.ts';
import type { JsonObject } from '#keys/json.ts';
import { signJson } from '#keys/sign-json.ts';
import { eventFrom } from '#rooms/event.ts';
import { signEvent } from '#rooms/sign-event.ts';
import { rulesOf } from '#rooms/versions.ts';
import { register } from '#test/harness/client.ts';
import { inRoom } from '#test/harness/conversation.ts';
import { startFleet } from '#test/harness/fleet.ts';
import { keyPairOf } from '#test/harness/room-builder.ts';
import { RoomPeer } from '#test/harness/room-peer.ts';
import { specBundle } from '#test/harness/spec/bundle.ts';

const fleet = await startFleet(1);
after(() => fleet[Symbol.asyncDispose]());
const server = fleet.at(0);
const alice = await register(server, 'alice');
const encode = encodeURIComponent;
const BASE = '/_matrix/federation';
const EXTRA: JsonObject = {
  'org.example.extra': { deep: [1] },
  hashes: { sha256: 'AAAA' },
  signatures: { nobody: {} },
};

interface Asked {
  readonly path: string;
  readonly body: JsonObject;
}

/** What makes a request of the other server's that is answered with 200. */
type Row = (peer: RoomPeer) => Promise<Asked>;

/** An event of a room of ours that the peer hands in, with a key of its own, which the signature covers. */
function handsIn(kind: 'join' | 'leave' | 'knock', api: string): Row {
  return async (peer) => {
    const joinRule = kind === 'knock' ? 'knock' : 'public';
    const roomId = await alice.createRoom({
      room_version: '11',
      initial_state: [{ type: 'm.room.join_rules', content: { join_rule: joinRule } }],
    });
    const userId = peer.user('guest');
    if (kind === 'leave') await alice.post(`${inRoom(roomId)}/invite`, { user_id: userId });
    const path = `${BASE}/v1/make_${kind}/${encode(roomId)}/${encode(userId)}?ver=11`;
    const made = await peer.request(server, { path });
    assert.equal(made.status, 200, JSON.stringify(made.body));
    const rules = rulesOf('11');
    assert.ok(rules);
    const pdu = { ...made.body.event, 'org.example.extra': { deep: [1] } };
    const event = eventFrom(signEvent(pdu, rules, peer.name, keyPairOf(peer.name)), rules);
    return {
      path: `${BASE}/${api}/send_${kind}/${encode(roomId)}/${encode(event.eventId)}`,
      body: event.pdu,
    };
  };
}

function invites(version: string): Row {
  return async (peer) => {
    const room = peer.makeRoom({ version });
    const target = (await register(server)).userId;
    const options = { type: 'm.room.member', state_key: target, content: { membership: 'invite' } };
    const event = room.draft(peer.user('mallory'), {
      ...options,
      pdu: { 'org.example.extra': { deep: [1] } },
    });
    const api = version === '1' ? 'v1' : 'v2';
    const path = `${BASE}/${api}/invite/${encode(room.roomId)}/${encode(event.eventId)}`;
    if (api === 'v1') return { path, body: event.pdu };
    const shown = [{ ...room.create.pdu, unsigned: { age: 1 } }];
    const whole = { room_version: version, event: event.pdu, invite_room_state: shown };
    return { path, body: { ...whole, ...EXTRA } };
  };
}

async function withGuest(peer: RoomPeer): Promise<string> {
  const room = peer.makeRoom({ join_rule: 'public' });
  await alice.join(room.roomId, [peer.name]);
  return encode(room.roomId);
}

function plain(path: string, body: JsonObject): Row {
  return async () => ({ path, body: { ...body, ...EXTRA } });
}

const rows: Readonly<Record<string, Row>> = {
  'PUT v1/3pid/onbind': plain(`${BASE}/v1/3pid/onbind`, {
    ...{ medium: 'email', address: 'a@example.org', mxid: alice.userId, invites: [] },
  }),
  'PUT v1/exchange_third_party_invite': async (peer) => {
    const key = keyPairFromSeed('1', generateSeed());
    const roomId = await alice.createRoom();
    const content = { display_name: 'a', public_key: key.publicKey, public_keys: [] };
    await alice.put(`${inRoom(roomId)}/state/m.room.third_party_invite/token`, content);
    const target = peer.user('guest');
    const signed = signJson({ mxid: target, token: 'token' }, 'identity.test', key);
    const event = {
      ...{ type: 'm.room.member', room_id: roomId, sender: alice.userId, state_key: target },
      content: { membership: 'invite', third_party_invite: { display_name: 'a', signed } },
    };
    const path = `${BASE}/v1/exchange_third_party_invite/${encode(roomId)}`;
    return { path, body: { ...event, ...EXTRA } };
  },
  'POST v1/get_missing_events': async (peer) => {
    const room = await withGuest(peer);
    const body = { latest_events: [peer.room.last.eventId], earliest_events: [], limit: 1, ...EXTRA };
    return { path: `${BASE}/v1/get_missing_events/${room}`, body };
  },
  'PUT v1/invite': invites('1'),
  'PUT v2/invite': invites('12'),
  'PUT v1/send': async (peer) => {
    await withGuest(peer);
    const mallory = peer.user('mallory');
    const event = peer.room.send(mallory, { type: 'm.room.message', pdu: { 'org.example.extra': 1 } });
    const edu = { edu_type: 'm.typing', content: {}, origin: peer.name, ...EXTRA };
    const transaction = { origin: peer.name, origin_server_ts: 1, pdus: [event.pdu], edus: [edu] };
    return { path: `${BASE}/v1/send/extra`, body: { ...EXTRA, ...transaction } };
  },
  'PUT v1/send_join': handsIn('join', 'v1'),
  'PUT v2/send_join': handsIn('join', 'v2'),
  'PUT v1/send_knock': handsIn('knock', 'v1'),
  'PUT v1/send_leave': handsIn('leave', 'v1'),
  'PUT v2/send_leave': handsIn('leave', 'v2'),
  'POST v1/publicRooms': plain(`${BASE}/v1/publicRooms`, { limit: 1 }),
  'POST v1/user/keys/claim': plain(`${BASE}/v1/user/keys/claim`, { one_time_keys: {} }),
  'POST v1/user/keys/query': plain(`${BASE}/v1/user/keys/query`, { device_keys: {} }),
  'POST v2/query': plain('/_matrix/key/v2/query', { server_keys: {} }),
  'POST v1/sign': plain('/_matrix/policy/v1/sign', {}),
};

for (const [name, row] of Object.entries(rows)) {
  test(`${name}: keys that nobody knows are passed over`, async () => {
    await using peer = await new RoomPeer(fleet.authority).start();
    const { path, body } = await row(peer);
    const method = name.split(' ')[0] ?? '';
    const answer = await peer.request(server, { method, path, body });
    if (name === 'POST v1/sign') {
      // This server is no policy server, with or without them.
      assert.deepEqual([answer.status, answer.body?.errcode], [404, 'M_UNRECOGNIZED']);
      return;
    }
    assert.equal(answer.status, 200, JSON.stringify(answer.body));
    for (const verdict of Object.values(answer.body?.pdus ?? {})) assert.deepEqual(verdict, {});
  });
}

test('the table has every endpoint that other servers send something to', async () => {
  const { operations } = await specBundle();
  const missing = operations
    .filter(({ api, method }) => api === 'server-server' && method !== 'GET')
    .map(
      ({ method, path }) =>
        `${method} ${path
          .split('/')
          .slice(3)
          .join('/')
          .replace(/\/\{.*/, '')}`,
    )
    .filter((name) => !Object.hasOwn(rows, name));
  assert.deepEqual(missing, []);
});
