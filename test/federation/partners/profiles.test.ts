/** What is learned of servers, and what follows from their profiles. */

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { PartnerRegistry, type PartnerSettings } from '#federation/partners/registry.ts';
import { register } from '#test/harness/client.ts';
import { inRoom } from '#test/harness/conversation.ts';
import { temporarySqlite } from '#test/harness/databases.ts';
import { startFleet } from '#test/harness/fleet.ts';
import { partner } from '#test/harness/partner.ts';
import type { PeerAnswer } from '#test/harness/peer.ts';
import { RoomPeer } from '#test/harness/room-peer.ts';

const fleet = await startFleet(1);
after(() => fleet[Symbol.asyncDispose]());
const server = fleet.at(0);
const { partners } = server.ctx;
const alice = await register(server);
const encode = encodeURIComponent;

/** A partner of which nothing is known, that says what it is. */
async function startUnknown(answers: Readonly<Record<string, PeerAnswer>>): Promise<RoomPeer> {
  const peer = await new RoomPeer(fleet.authority).start();
  await partners.put(partner(peer.name));
  peer.script = ({ url }) => Object.entries(answers).find(([part]) => url.includes(part))?.[1];
  return peer;
}

const software = (name: string): PeerAnswer => ({ json: { server: { name, version: '1' } } });
const notImplemented: PeerAnswer = { status: 501, json: { errcode: 'M_UNRECOGNIZED', error: 'no' } };

async function versionOfRoomWith(peer: RoomPeer): Promise<string> {
  const { room_id: roomId } = await alice.post('/createRoom', { invite: [peer.user('guest')] });
  return (await alice.get(`${inRoom(roomId)}/state/m.room.create`)).room_version;
}

test('what a server is is learned by its version, or by what it is not made for, asked once a day', async () => {
  for (const [answers, profile, version] of [
    [{ '/version': software('Synapse'), '/user/devices': notImplemented }, 'synapse', '12'],
    [{ '/version': software('Kurir') }, 'kurir', '12'],
    [{ '/version': software('Rocket.Chat') }, 'rocketchat', '10'],
    [{ '/version': software('chat.example.org'), '/user/devices': notImplemented }, 'rocketchat', '10'],
    [{ '/version': software('Dendrite') }, 'kurir', '12'],
    [{}, 'kurir', '12'],
  ] as const) {
    await using peer = await startUnknown(answers);
    assert.equal(await versionOfRoomWith(peer), version, JSON.stringify(answers));
    assert.equal(partners.profileOf(peer.name).name, profile);
    await versionOfRoomWith(peer);
    assert.equal(peer.asked('/federation/v1/version').length, 1);
  }
});

test('a stranger is not asked what it is, and what it shows by itself counts all the same', async () => {
  await using peer = await startUnknown({ '/version': software('Rocket.Chat') });
  await partners.remove(peer.name);
  assert.equal(await versionOfRoomWith(peer), '12');
  await partners.learn(peer.name, { kind: 'knows_versions', versions: ['10'] });
  assert.equal(await versionOfRoomWith(peer), '10');
  assert.deepEqual([...peer.asked('/v1/version'), ...peer.asked('/user/devices')], []);
});

test('what the operator chose counts more than what a server gives away, which counts again after it', async () => {
  await using peer = await startUnknown({ '/version': software('Rocket.Chat') });
  await partners.put(partner(peer.name, { profile: 'synapse' }));
  assert.equal(await versionOfRoomWith(peer), '12');
  assert.equal(peer.asked('/federation/v1/version').length, 0);
  await partners.put(partner(peer.name));
  assert.equal(await versionOfRoomWith(peer), '10');
  const { name, source } = partners.profileOf(peer.name);
  assert.deepEqual([name, source], ['rocketchat', 'learned']);
});

test('a version that a server refuses is remembered, and the next room is of another', async () => {
  for (const refusal of [
    { status: 400, json: { errcode: 'M_INCOMPATIBLE_ROOM_VERSION', error: 'no', room_version: '12' } },
    { status: 500, json: { errcode: 'M_UNKNOWN', error: 'Room version 12 is not supported' } },
  ]) {
    await using peer = await startUnknown({ '/invite/': refusal });
    const roomId = await alice.createRoom({ preset: 'private_chat' });
    const invited = await alice.try('POST', `${inRoom(roomId)}/invite`, { user_id: peer.user('guest') });
    assert.deepEqual([invited.status, invited.body.errcode], [400, 'M_UNSUPPORTED_ROOM_VERSION']);
    assert.match(invited.body.error, /does not support room version 12\. Make a new room/);
    assert.equal(await versionOfRoomWith(peer), '11');
    // It has learned it meanwhile.
    await peer.request(server, {
      path: `/_matrix/federation/v1/make_join/${encode(roomId)}/${encode(peer.user('guest'))}?ver=11&ver=12`,
    });
    assert.equal(await versionOfRoomWith(peer), '12');
  }
});

test('a room for users of several servers is of the newest version that all can be in', async () => {
  await using newer = await startUnknown({ '/version': software('Synapse') });
  await using older = await startUnknown({ '/version': software('Old') });
  await using chat = await startUnknown({ '/version': software('Rocket.Chat') });
  const know = (peer: RoomPeer, versions: readonly string[]) =>
    partners.learn(peer.name, { kind: 'knows_versions', versions });
  await know(older, ['6', '9', '99']);
  const roomFor = (...peers: RoomPeer[]) =>
    alice.try('POST', '/createRoom', { invite: peers.map((peer) => peer.user('guest')) });
  const made = await roomFor(newer, older);
  assert.equal(made.status, 200);
  const { room_version: version } = await alice.get(`${inRoom(made.body.room_id)}/state/m.room.create`);
  assert.equal(version, '9');
  const none = await roomFor(newer, older, chat);
  assert.deepEqual([none.status, none.body.errcode], [400, 'M_UNSUPPORTED_ROOM_VERSION']);
  assert.match(
    none.body.error,
    /no room version from 6 to 12 that all who are invited can be in.*version 6 or 9 only.*version 10 only/,
  );
});

test('a server that claims to know old versions only has no new room made of one, unless its maker asks for it', async () => {
  await using peer = await startUnknown({});
  await partners.learn(peer.name, { kind: 'knows_versions', versions: ['1', '5'] });
  const invite = [peer.user('guest')];
  const picked = await alice.try('POST', '/createRoom', { invite });
  assert.deepEqual([picked.status, picked.body.errcode], [400, 'M_UNSUPPORTED_ROOM_VERSION']);
  assert.match(
    picked.body.error,
    /no room version from 6 to 12 .*version 1 or 5 only\. Make a room for each, or ask/,
  );
  assert.equal((await alice.try('POST', '/createRoom', { invite, room_version: '5' })).status, 200);
});

test('strict partners are in rooms of few versions, that strangers neither enter nor read', async () => {
  await using peer = await startUnknown({});
  await partners.put(partner(peer.name, { profile: 'strict' }));
  assert.equal(await versionOfRoomWith(peer), '10');
  const invite = [peer.user('guest')];
  const open = await alice.try('POST', '/createRoom', { invite, preset: 'public_chat' });
  assert.match(open.body.error, /join rule "public"/);
  const readable = { type: 'm.room.history_visibility', content: { history_visibility: 'world_readable' } };
  const shown = await alice.try('POST', '/createRoom', { invite, initial_state: [readable] });
  assert.match(shown.body.error, /history visibility "world_readable"/);
});

test('what was learned outlives a restart, until the server is of another software', async () => {
  await using database = await temporarySqlite();
  const { db } = database;
  const settings: PartnerSettings = { inbound: 'everyone', outbound: 'everyone', configured: [] };
  const open = () => PartnerRegistry.open({ db, clock: Date, settings });
  const first = await open();
  await first.learn('rc.test', { kind: 'has_no_devices' });
  await first.learn('rc.test', { kind: 'knows_versions', versions: ['3', '4', '10', '11', '12', 'x'] });
  await first.learn('rc.test', { kind: 'refuses_version', version: '11' });
  const second = await open();
  const profile = second.profileOf('rc.test');
  assert.deepEqual([profile.name, profile.source, profile.versions], ['rocketchat', 'learned', ['4', '10']]);
  assert.equal(second.profileOf('other.test').source, 'default');
  await second.learn('rc.test', { kind: 'software', name: 'Rocket.Chat' });
  assert.deepEqual(second.profileOf('rc.test').versions, ['4', '10'], 'to be told its name changes nothing');
  // Another software under the same name is another server.
  await second.learn('rc.test', { kind: 'software', name: 'Synapse' });
  assert.deepEqual(second.profileOf('rc.test').versions.length, 12);
});

test('a partner of the configuration file stands before one that was added by command', async () => {
  await using database = await temporarySqlite();
  const { db } = database;
  const open = (configured: PartnerSettings['configured']) =>
    PartnerRegistry.open({
      db,
      clock: Date,
      settings: { inbound: 'partners', outbound: 'partners', configured },
    });
  await (await open([])).put(partner('a.test', { profile: 'synapse' }));
  const both = await open([partner('a.test', { profile: 'strict', source: 'configuration' })]);
  assert.equal(both.profileOf('a.test').name, 'strict');
  assert.equal(both.current.list.length, 1);
  assert.equal((await open([])).profileOf('a.test').name, 'synapse');
  assert.ok(Object.isFrozen(both.current) && Object.isFrozen(both.current.list));
});
