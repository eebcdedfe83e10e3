/** Rooms whose create event says that they are not federated: `m.federate` is false. */

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { generateSeed, keyPairFromSeed } from '#keys/ed25519.ts';
import { signJson } from '#keys/sign-json.ts';
import { register } from '#test/harness/client.ts';
import { inRoom, membershipOf } from '#test/harness/conversation.ts';
import { startFleet } from '#test/harness/fleet.ts';
import { RoomPeer } from '#test/harness/room-peer.ts';

const fleet = await startFleet(2);
after(() => fleet[Symbol.asyncDispose]());
const server = fleet.at(0);
const alice = await register(server, 'alice');
const peer = await new RoomPeer(fleet.authority).start();
after(() => peer[Symbol.asyncDispose]());
const encode = encodeURIComponent;

const CLOSED = { 'm.federate': false };
const SENTENCE = 'Users of other servers cannot be in a room that is not federated';

function closedRoom(options: object = {}): Promise<string> {
  return alice.createRoom({ preset: 'private_chat', creation_content: CLOSED, ...options });
}

const ways = {
  '/invite': (roomId: string, target: string) =>
    alice.try('POST', `${inRoom(roomId)}/invite`, { user_id: target }),
  'a state event': (roomId: string, target: string) =>
    alice.try('PUT', `${inRoom(roomId)}/state/m.room.member/${encode(target)}`, { membership: 'invite' }),
  'the word of an identity server': async (roomId: string, target: string) => {
    const key = keyPairFromSeed('1', generateSeed());
    await alice.put(`${inRoom(roomId)}/state/m.room.third_party_invite/token`, {
      ...{ display_name: 'g...', public_key: key.publicKey, public_keys: [{ public_key: key.publicKey }] },
    });
    const signed = signJson({ mxid: target, token: 'token' }, 'identity.test', key);
    const content = { membership: 'invite', third_party_invite: { display_name: 'g...', signed } };
    const event = { type: 'm.room.member', room_id: roomId, sender: alice.userId, state_key: target };
    const path = `/_matrix/federation/v1/exchange_third_party_invite/${encode(roomId)}`;
    return peer.request(server, { method: 'PUT', path, body: { ...event, content } });
  },
};

for (const [way, inviteBy] of Object.entries(ways)) {
  test(`"m.federate": nobody of another server is invited by ${way}, nor their server told of the room`, async () => {
    const roomId = await closedRoom();
    const target = peer.user('guest');
    const { status, body } = await inviteBy(roomId, target);
    assert.deepEqual([status, body.errcode, body.error], [403, 'M_FORBIDDEN', SENTENCE]);
    assert.deepEqual(peer.asked('/invite/'), []);
    assert.equal(await membershipOf(alice, roomId, target), undefined);
  });
}

test('"m.federate": users of this server are invited as to any other room', async () => {
  const roomId = await closedRoom();
  const bob = await register(server);
  await alice.post(`${inRoom(roomId)}/invite`, { user_id: bob.userId });
  await bob.join(roomId);
});

test('"m.federate": nobody of another server joins or knocks, whatever the join rule', async () => {
  const bob = await register(fleet.at(1), 'bob');
  const club = await alice.createRoom({ preset: 'public_chat' });
  await bob.join(club, [server.serverName]);
  const allow = [{ type: 'm.room_membership', room_id: club }];
  for (const joinRule of ['public', 'restricted', 'knock', 'knock_restricted']) {
    const content = { join_rule: joinRule, ...(joinRule.includes('restricted') && { allow }) };
    const roomId = await closedRoom({ initial_state: [{ type: 'm.room.join_rules', content }] });
    for (const way of ['join', 'knock']) {
      const { status, body } = await bob.try(
        'POST',
        `/${way}/${encode(roomId)}?via=${encode(server.serverName)}`,
      );
      assert.deepEqual([status, body.errcode], [403, 'M_FORBIDDEN'], `${way}: ${joinRule}`);
      assert.equal(await membershipOf(alice, roomId, bob.userId), undefined);
    }
  }
});
