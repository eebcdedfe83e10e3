import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { generateSeed, keyPairFromSeed } from '#keys/ed25519.ts';
import type { JsonObject } from '#keys/json.ts';
import { signJson } from '#keys/sign-json.ts';
import { SUPPORTED_VERSIONS } from '#rooms/versions.ts';
import { type Body, register, type TestClient } from '#test/harness/client.ts';
import { bringIn, inRoom, membershipOf, untilInvited, untilMember } from '#test/harness/conversation.ts';
import { startFleet } from '#test/harness/fleet.ts';
import { startPeer } from '#test/harness/peer.ts';
import { RoomPeer } from '#test/harness/room-peer.ts';
import type { TestServer } from '#test/harness/server.ts';
import { until } from '#test/harness/until.ts';

const fleet = await startFleet(3);
after(() => fleet[Symbol.asyncDispose]());
const alice = await register(fleet.at(0), 'alice');
const bob = await register(fleet.at(1), 'bob');
const carol = await register(fleet.at(2), 'carol');
const stranger = await new RoomPeer(fleet.authority).start();
after(() => stranger[Symbol.asyncDispose]());
const encode = encodeURIComponent;
const BASE = '/_matrix/federation/v1';

/** What an identity server makes: a key for each invitation, and its word on whose the address is. */
class Identity {
  readonly #key = keyPairFromSeed('1', generateSeed());

  get publicKey(): string {
    return this.#key.publicKey;
  }

  signed(mxid: string, token: string, more: JsonObject = {}, key = this.#key): JsonObject {
    return signJson({ mxid, token, ...more }, 'identity.test', key);
  }
}

let tokens = 0;

/** Invites an address: answers the token. */
async function inviteAddress(
  user: TestClient,
  roomId: string,
  identity: Identity,
  content: JsonObject = {},
): Promise<string> {
  tokens += 1;
  const token = `token${tokens}`;
  await user.put(`${inRoom(roomId)}/state/m.room.third_party_invite/${token}`, {
    ...{ display_name: 'b...@example.org', public_key: identity.publicKey },
    key_validity_url: undefined,
    public_keys: [{ public_key: identity.publicKey }],
    ...content,
  });
  return token;
}

interface Bound {
  readonly sender: string;
  readonly roomId: string;
  readonly signed: JsonObject;
}

/** As an identity server, without a signature of its own. */
function onbind(server: TestServer, mxid: string, invites: readonly (Bound | unknown)[]) {
  const address = { medium: 'email', address: 'bob@example.org', mxid };
  const list = invites.map((invite) => {
    if (typeof invite !== 'object' || invite === null || !('roomId' in invite)) return invite;
    const { roomId, sender, signed } = invite as Bound;
    return { ...address, room_id: roomId, sender, signed };
  });
  const path = `${BASE}/3pid/onbind`;
  return stranger.request(server, { method: 'PUT', path, body: { ...address, invites: list } as JsonObject });
}

for (const version of SUPPORTED_VERSIONS) {
  test(`v${version}: who an address turns out to be is invited, by the server that invites`, async () => {
    const identity = new Identity();
    const roomId = await alice.createRoom({ preset: 'private_chat', room_version: version, name: 'Plans' });
    const token = await inviteAddress(alice, roomId, identity);
    const invite = { sender: alice.userId, roomId, signed: identity.signed(bob.userId, token) };
    const { status, body } = await onbind(fleet.at(1), bob.userId, [invite]);
    assert.deepEqual([status, body], [200, {}]);
    const state = await untilInvited(bob, roomId);
    const member = state.find(({ state_key: key }: Body) => key === bob.userId);
    assert.equal(member.sender, alice.userId);
    assert.equal(member.content.third_party_invite.display_name, 'b...@example.org');
    assert.equal(member.content.third_party_invite.signed.token, token);
    await bob.join(roomId);
    await untilMember(alice, roomId, bob.userId, 'join');
    // Told again, it is not done again.
    assert.equal((await onbind(fleet.at(1), bob.userId, [invite])).status, 200);
    assert.equal(await membershipOf(alice, roomId, bob.userId), 'join');
  });
}

for (const version of ['2', '10', '12']) {
  test(`v${version}: the server of who is invited, where it is in the room, sends the invitation itself`, async () => {
    const identity = new Identity();
    const roomId = await alice.createRoom({ preset: 'private_chat', room_version: version });
    await bringIn(alice, bob, roomId);
    await bringIn(alice, carol, roomId);
    const other = await register(fleet.at(1));
    const token = await inviteAddress(alice, roomId, identity);
    const path = `${inRoom(roomId)}/state/m.room.third_party_invite/${token}`;
    await untilMember(bob, roomId, carol.userId, 'join');
    await until(async () => (await bob.try('GET', path)).status === 200, 'the third-party invite');
    const invite = { sender: alice.userId, roomId, signed: identity.signed(other.userId, token) };
    assert.equal((await onbind(fleet.at(1), other.userId, [invite])).status, 200);
    // Also the server whose user is the sender, and that did not make it.
    for (const viewer of [bob, alice, carol]) await untilMember(viewer, roomId, other.userId, 'invite');
    await other.join(roomId);
    await untilMember(alice, roomId, other.userId, 'join');
  });
}

test('an invitation is not issued for a token, a signature or a user that is not right', async () => {
  const identity = new Identity();
  const roomId = await alice.createRoom({ preset: 'private_chat' });
  const token = await inviteAddress(alice, roomId, identity);
  const good = identity.signed(bob.userId, token);
  const other = keyPairFromSeed('1', generateSeed());
  const bad: Readonly<Record<string, JsonObject>> = {
    'an unknown token': identity.signed(bob.userId, 'none'),
    'another key': identity.signed(bob.userId, token, {}, other),
    'another user': { ...identity.signed(carol.userId, token), mxid: bob.userId },
    'no token': { mxid: bob.userId, signatures: good.signatures ?? {} },
    'no signature': { mxid: bob.userId, token, signatures: {} },
  };
  for (const [what, signed] of Object.entries(bad)) {
    const invite = { sender: alice.userId, roomId, signed };
    const { status } = await onbind(fleet.at(1), bob.userId, [invite]);
    assert.equal(status, 200, what);
    assert.equal(await membershipOf(alice, roomId, bob.userId), undefined, what);
  }
  // What is no invitation at all takes nothing from the one that is.
  const invite = { sender: alice.userId, roomId, signed: good };
  const { status } = await onbind(fleet.at(1), bob.userId, [null, 7, { room_id: 'x' }, invite, invite]);
  assert.equal(status, 200);
  await untilInvited(bob, roomId);
});

test('what is bound to nobody of ours is refused, and a body of another shape', async () => {
  for (const mxid of [`@nobody:${fleet.at(1).serverName}`, alice.userId]) {
    assert.equal((await onbind(fleet.at(1), mxid, [])).status, 404, mxid);
  }
  assert.equal((await onbind(fleet.at(1), 'bob', [])).body.errcode, 'M_BAD_JSON');
  const path = `${BASE}/3pid/onbind`;
  const put = (body: JsonObject | string) => stranger.request(fleet.at(1), { method: 'PUT', path, body });
  assert.equal((await put({ mxid: bob.userId, invites: {} })).body.errcode, 'M_BAD_JSON');
  assert.equal((await put('[]')).body.errcode, 'M_BAD_JSON');
});

test('a server that does not answer is one of whom the identity server is to tell us again', async () => {
  const identity = new Identity();
  const roomId = await alice.createRoom({ preset: 'private_chat' });
  const token = await inviteAddress(alice, roomId, identity);
  const gone = await alice.createRoom({ preset: 'private_chat' });
  const invites = [
    { sender: '@x:localhost:9', roomId: gone, signed: identity.signed(bob.userId, 'gone') },
    { sender: alice.userId, roomId, signed: identity.signed(bob.userId, token) },
  ];
  assert.equal((await onbind(fleet.at(1), bob.userId, invites)).status, 504);
  await untilInvited(bob, roomId);
});

for (const [what, answer, expected] of [
  ['valid', { valid: true }, 200],
  ['valid no longer', { valid: false }, 403],
  ['of which nothing is said', {}, 504],
] as const) {
  test(`the inviting server asks whether a key is valid: ${what}`, async () => {
    const identity = new Identity();
    await using keys = await startPeer({ authority: fleet.authority, answer: () => ({ json: answer }) });
    const roomId = await alice.createRoom({ preset: 'private_chat' });
    const url = `https://${keys.name}/_matrix/identity/v2/pubkey/isvalid`;
    const token = await inviteAddress(alice, roomId, identity, { key_validity_url: url });
    const { status } = await exchange(stranger, roomId, identity, { token });
    assert.equal(status, expected);
    const [asked, ...more] = keys.requests;
    assert.equal(more.length, 0);
    const { pathname, searchParams } = new URL(asked?.url ?? '', url);
    assert.equal(pathname, '/_matrix/identity/v2/pubkey/isvalid');
    assert.deepEqual([...searchParams], [['public_key', identity.publicKey]]);
    assert.equal(asked?.headers.authorization, undefined, 'it is told nothing that we sign');
    const wanted = expected === 200 ? 'invite' : undefined;
    assert.equal(await membershipOf(alice, roomId, stranger.user('guest')), wanted);
  });
}

/** As the server of who is invited, `guest`. */
function exchange(
  peer: RoomPeer,
  roomId: string,
  identity: Identity,
  { token, ...changed }: { token: string } & JsonObject,
) {
  const target = peer.user('guest');
  const body = {
    ...{ type: 'm.room.member', room_id: roomId, sender: alice.userId, state_key: target },
    content: {
      membership: 'invite',
      third_party_invite: { display_name: 'guest', signed: identity.signed(target, token) },
    },
    ...changed,
  };
  const path = `${BASE}/exchange_third_party_invite/${encode(roomId)}`;
  return peer.request(fleet.at(0), { method: 'PUT', path, body });
}

test('exchange_third_party_invite gives an invitation for what it is for, and for nothing else', async () => {
  const identity = new Identity();
  const roomId = await alice.createRoom({ preset: 'private_chat' });
  const token = await inviteAddress(alice, roomId, identity);
  const target = stranger.user('guest');
  const member = { membership: 'join' };
  const bad: Readonly<Record<string, JsonObject>> = {
    'a join': { content: { ...member, third_party_invite: { signed: identity.signed(target, token) } } },
    'another type': { type: 'm.room.topic' },
    'another room': { room_id: await alice.createRoom() },
    'a user of another server': { state_key: carol.userId },
    'a sender of another server': { sender: bob.userId },
    'a sender who did not invite': { sender: (await register(fleet.at(0))).userId },
    'no third-party invite': { content: { membership: 'invite' } },
  };
  for (const [what, changed] of Object.entries(bad)) {
    const { status } = await exchange(stranger, roomId, identity, { token, ...changed });
    assert.ok(status === 400 || status === 403, `${what}: ${status}`);
  }
  assert.equal((await exchange(stranger, '!none:elsewhere.test', identity, { token })).status, 404);
  assert.deepEqual(stranger.asked(`/invite/${roomId}`), []);

  const { status, body } = await exchange(stranger, roomId, identity, { token });
  assert.deepEqual([status, body], [200, {}]);
  const sent = JSON.parse(
    stranger.peer.requests.findLast(({ url }) => url.includes('/invite/'))?.body ?? '{}',
  );
  const { third_party_invite: thirdParty, ...content } = sent.event.content;
  assert.deepEqual(content, { membership: 'invite' });
  // The room's word for the user counts, not the caller's.
  assert.equal(thirdParty.display_name, 'b...@example.org');
  assert.ok(sent.event.signatures[fleet.at(0).serverName]);
  assert.equal(await membershipOf(alice, roomId, target), 'invite');
});

test('a user joins with the word of an identity server, and is refused with a forged one', async () => {
  const identity = new Identity();
  const roomId = await alice.createRoom({ preset: 'private_chat' });
  const token = await inviteAddress(alice, roomId, identity);
  const path = `/join/${encode(roomId)}?via=${encode(fleet.at(0).serverName)}`;
  const sender = alice.userId;
  const word = identity.signed(carol.userId, token, { sender });
  const join = (signed: JsonObject) => carol.try('POST', path, { third_party_signed: signed });
  const forged = await join({ ...identity.signed(bob.userId, token, { sender }), mxid: carol.userId });
  assert.equal(forged.status, 403);
  assert.equal((await join({ ...word, sender: 7 })).body.errcode, 'M_BAD_JSON');
  assert.equal((await join(word)).status, 200);
  await untilMember(alice, roomId, carol.userId, 'join');
});

test('an invitation by e-mail address is refused, since no identity server is asked for anybody', async () => {
  const roomId = await alice.createRoom({ preset: 'private_chat' });
  const address = {
    id_server: 'identity.test',
    id_access_token: 'x',
    medium: 'email',
    address: 'x@example.org',
  };
  const invited = await alice.try('POST', `${inRoom(roomId)}/invite`, address);
  assert.deepEqual([invited.status, invited.body.errcode], [403, 'M_THREEPID_DENIED']);
  const created = await alice.try('POST', '/createRoom', { invite_3pid: [address] });
  assert.deepEqual([created.status, created.body.errcode], [403, 'M_THREEPID_DENIED']);
});
