/** Invitations by e-mail address, from end to end: https://spec.matrix.org/v1.19/client-server-api/#third-party-invites */

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import type { JsonObject } from '#keys/json.ts';
import { type Answer, type Body, register, type TestClient } from '#test/harness/client.ts';
import { inRoom, membershipOf, untilInvited, untilMember } from '#test/harness/conversation.ts';
import { startFleet } from '#test/harness/fleet.ts';
import { IdentityServer } from '#test/harness/identity-server.ts';

// The fleet needs the name of the identity server, and the identity server those of the fleet.
const names: string[] = [];
const fleet = await startFleet(2, { identityServers: names });
after(() => fleet[Symbol.asyncDispose]());
const identity = await new IdentityServer(fleet.authority, fleet.servers).start();
after(() => identity[Symbol.asyncDispose]());
names.push(identity.name);
const alice = await register(fleet.at(0), 'alice');
await alice.put(`/profile/${encodeURIComponent(alice.userId)}/displayname`, { displayname: 'Alice' });
let addresses = 0;

function newAddress(): string {
  addresses += 1;
  return `person${addresses}@example.org`;
}

function invite(roomId: string, address: string, more: JsonObject = {}): Promise<Answer> {
  return alice.try('POST', `${inRoom(roomId)}/invite`, {
    ...{ id_server: identity.name, id_access_token: identity.tokenFor(alice.userId) },
    ...{ medium: 'email', address, ...more },
  });
}

async function bind(user: TestClient, address: string): Promise<void> {
  await user.post('/account/3pid/bind', {
    ...identity.prove(address),
    ...{ id_server: identity.name, id_access_token: identity.tokenFor(user.userId) },
  });
}

/** The third-party invites of a room, with their tokens. */
async function invitesOf(roomId: string): Promise<Body[]> {
  const state = await alice.get(`${inRoom(roomId)}/state`);
  return state.filter(({ type }: Body) => type === 'm.room.third_party_invite');
}

function assertError({ status, body }: Answer, expected: number, errcode: string): void {
  assert.deepEqual([status, body.errcode], [expected, errcode], JSON.stringify(body));
}

for (const place of [0, 1]) {
  test(`who binds an invited address is invited and joins: a user of server ${place}`, async () => {
    const bob = await register(fleet.at(place));
    const address = newAddress();
    const roomId = await alice.createRoom({ preset: 'private_chat', name: 'Plans' });
    const { status, body } = await invite(roomId, address.toUpperCase());
    assert.deepEqual([status, body], [200, {}]);
    const [event] = await invitesOf(roomId);
    const { display_name: shown, public_keys: keys, public_key: key, key_validity_url: url } = event.content;
    assert.equal(shown, 'p...@...');
    assert.equal(keys.length, 2);
    assert.deepEqual([key, url], [keys[0].public_key, keys[0].key_validity_url]);
    const [stored] = identity.asked('/store-invite').slice(-1);
    assert.deepEqual(stored, {
      ...{ medium: 'email', address, room_id: roomId, sender: alice.userId },
      ...{ room_name: 'Plans', room_join_rules: 'invite', sender_display_name: 'Alice' },
    });
    // The address went out hashed before that.
    assert.ok(identity.asked('/lookup').every(({ addresses: asked }) => !asked.join().includes('@')));

    await bind(bob, address);
    const state = await untilInvited(bob, roomId);
    const member = state.find(({ state_key: stateKey }: Body) => stateKey === bob.userId);
    assert.equal(member.sender, alice.userId);
    assert.equal(member.content.third_party_invite.signed.token, event.state_key);
    await bob.join(roomId);
    await untilMember(alice, roomId, bob.userId, 'join');
  });
}

test("an address that is somebody's already is invited at once, and nothing is stored", async () => {
  const [bob, carol] = [await register(fleet.at(1)), await register(fleet.at(0))];
  const stored = identity.asked('/store-invite').length;
  for (const user of [bob, carol]) {
    const address = newAddress();
    identity.bound.set(address, user.userId);
    const roomId = await alice.createRoom({ preset: 'private_chat' });
    assert.equal((await invite(roomId, address)).status, 200);
    const invited = await untilInvited(user, roomId);
    const member = invited.find(({ state_key: stateKey }: Body) => stateKey === user.userId);
    assert.equal(member.content.third_party_invite, undefined);
    assert.deepEqual(await invitesOf(roomId), []);
  }
  assert.equal(identity.asked('/store-invite').length, stored);
});

test('a new room invites by invite_3pid, with is_direct where the user is known', async () => {
  const bob = await register(fleet.at(1));
  const [known, unknown] = [newAddress(), newAddress()];
  identity.bound.set(known, bob.userId);
  const by = { id_server: identity.name, id_access_token: identity.tokenFor(alice.userId), medium: 'email' };
  const roomId = await alice.createRoom({
    preset: 'private_chat',
    is_direct: true,
    invite_3pid: [known, unknown].map((address) => ({ ...by, address })),
  });
  const state = await untilInvited(bob, roomId);
  const member = state.find(({ state_key: stateKey }: Body) => stateKey === bob.userId);
  assert.equal(member.content.is_direct, true);
  assert.equal((await invitesOf(roomId)).length, 1);
  for (const [what, list] of [
    [400, [{ ...by, address: 'nobody' }]],
    [400, [{ ...by, address: known, id_server: 'other.test' }]],
    [400, ['x']],
    [400, Array.from({ length: 101 }, () => ({ ...by, address: known }))],
  ] as const) {
    assert.equal((await alice.try('POST', '/createRoom', { invite_3pid: list })).status, what);
  }
});

test('a withdrawn invitation invites nobody', async () => {
  const bob = await register(fleet.at(1));
  const address = newAddress();
  const roomId = await alice.createRoom({ preset: 'private_chat' });
  await invite(roomId, address);
  const [{ state_key: token }] = await invitesOf(roomId);
  await alice.put(`${inRoom(roomId)}/state/m.room.third_party_invite/${token}`, {});
  await bind(bob, address);
  assert.equal(await membershipOf(alice, roomId, bob.userId), undefined);
});

test('row 145: the keys of an identity server that are good no longer invite nobody', async () => {
  const bob = await register(fleet.at(1));
  const address = newAddress();
  const roomId = await alice.createRoom({ preset: 'private_chat' });
  await invite(roomId, address);
  identity.isKeyGood = false;
  await bind(bob, address);
  identity.isKeyGood = true;
  assert.equal(await membershipOf(alice, roomId, bob.userId), undefined);
  // Asked once more when they are good again: by POST too, as Sydent does.
  assert.equal(await identity.tell(address, bob.userId, 'POST'), 200);
  await untilInvited(bob, roomId);
});

for (const place of [0, 1]) {
  test(`who was removed is not let in by the same invitation a second time: a user of server ${place}`, async () => {
    const bob = await register(fleet.at(place));
    const address = newAddress();
    const roomId = await alice.createRoom({ preset: 'private_chat' });
    await invite(roomId, address);
    await bind(bob, address);
    await untilInvited(bob, roomId);
    await bob.join(roomId);
    await untilMember(alice, roomId, bob.userId, 'join');
    await alice.post(`${inRoom(roomId)}/kick`, { user_id: bob.userId });
    await identity.tell(address, bob.userId);
    assert.equal(await membershipOf(alice, roomId, bob.userId), 'leave');
    // A new invitation is another matter.
    identity.bound.delete(address);
    await invite(roomId, address);
    await bind(bob, address);
    await untilMember(alice, roomId, bob.userId, 'invite');
  });
}

test('who may not invite, or is not in the room, tells no identity server of an address', async () => {
  const asked = identity.peer.requests.length;
  const bob = await register(fleet.at(0));
  const roomId = await bob.createRoom({
    preset: 'public_chat',
    power_level_content_override: { invite: 50 },
  });
  assertError(await invite(roomId, newAddress()), 403, 'M_FORBIDDEN');
  await alice.join(roomId);
  assertError(await invite(roomId, newAddress()), 403, 'M_FORBIDDEN');
  assert.equal(identity.peer.requests.length, asked);
});

test('what is wrong with an invitation by address is told, and no identity server hears of it', async () => {
  const asked = identity.peer.requests.length;
  const roomId = await alice.createRoom();
  const address = newAddress();
  for (const [errcode, more] of [
    ['M_INVALID_PARAM', { medium: 'fax' }],
    ['M_INVALID_PARAM', { address: 'nobody' }],
    ['M_INVALID_PARAM', { medium: 'msisdn', address: '+46 8' }],
    ['M_INVALID_PARAM', { id_server: 'http://x' }],
    ['M_INVALID_PARAM', { id_access_token: 'a\r\nb' }],
    ['M_BAD_JSON', { id_access_token: 7 }],
    ['M_BAD_JSON', { address: ['x'] }],
    ['M_MISSING_PARAM', { id_server: null }],
    ['M_MISSING_PARAM', { id_access_token: null }],
    ['M_SERVER_NOT_TRUSTED', { id_server: 'localhost:1' }],
    ['M_SERVER_NOT_TRUSTED', { id_server: '169.254.169.254' }],
  ] as const) {
    assertError(await invite(roomId, address, more), 400, errcode);
  }
  assert.equal(identity.peer.requests.length, asked);
});

test('what an identity server refuses is told by its words, and never ends the session of the client', async () => {
  const roomId = await alice.createRoom();
  const by = (status: number, json: JsonObject) => {
    identity.script = () => ({ status, json });
    return invite(roomId, newAddress());
  };
  const refusal = (errcode: string) => ({ errcode, error: 'no' });
  assertError(await by(403, refusal('M_TERMS_NOT_SIGNED')), 403, 'M_TERMS_NOT_SIGNED');
  assertError(await by(401, refusal('M_UNAUTHORIZED')), 403, 'M_UNAUTHORIZED');
  assertError(await by(401, refusal('M_UNKNOWN_TOKEN')), 403, 'M_UNAUTHORIZED');
  assertError(await by(404, refusal('M_UNRECOGNIZED')), 404, 'M_UNRECOGNIZED');
  assertError(await by(429, refusal('M_LIMIT_EXCEEDED')), 429, 'M_LIMIT_EXCEEDED');
  for (const [status, json] of [
    [500, refusal('M_UNKNOWN')],
    [403, {}],
    [403, refusal('not a code')],
    [200, {}],
    [200, { lookup_pepper: 7, algorithms: ['sha256'] }],
    [200, { lookup_pepper: 'x', algorithms: ['md5'] }],
  ] as const) {
    assertError(await by(status, json), 504, 'M_UNKNOWN');
  }
  const half = (path: string, json: JsonObject) => {
    identity.script = (request) => (request.path === path ? { json } : undefined);
    return invite(roomId, newAddress());
  };
  assertError(await half('/lookup', { mappings: [] }), 504, 'M_UNKNOWN');
  const key = { public_key: 'x', key_validity_url: 'https://x.test' };
  for (const json of [
    { token: 't', public_keys: [key] },
    { token: 't', display_name: 'x', public_keys: [] },
    { token: 'a b', display_name: 'x', public_keys: [key] },
    { token: 'a'.repeat(256), display_name: 'x', public_keys: [key] },
  ]) {
    assertError(await half('/store-invite', json), 504, 'M_UNKNOWN');
  }
  identity.script = () => undefined;
  assert.deepEqual(await invitesOf(roomId), []);
  assert.equal((await alice.try('GET', '/account/whoami')).status, 200);
});

test('a pepper that has changed is asked for once more, and only once', async () => {
  const roomId = await alice.createRoom();
  let stale = 1;
  identity.script = ({ path }) => {
    if (path !== '/lookup' || stale === 0) return undefined;
    stale -= 1;
    return { status: 400, json: { errcode: 'M_INVALID_PEPPER', error: 'rotated' } };
  };
  assert.equal((await invite(roomId, newAddress())).status, 200);
  stale = 10;
  assertError(await invite(roomId, newAddress()), 400, 'M_INVALID_PEPPER');
  assert.equal(stale, 8);
  identity.script = () => undefined;
});

test('an identity server without hashes is asked in the clear, as it is told the address anyway', async () => {
  const bob = await register(fleet.at(0));
  const address = newAddress();
  identity.bound.set(address, bob.userId);
  identity.algorithms = ['none'];
  const roomId = await alice.createRoom();
  assert.equal((await invite(roomId, address)).status, 200);
  identity.algorithms = ['none', 'sha256'];
  assert.equal(await membershipOf(alice, roomId, bob.userId), 'invite');
});
