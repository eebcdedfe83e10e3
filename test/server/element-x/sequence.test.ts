/** What Element X asks, from the address of a server to an encrypted picture, in its order: once by each way to sign in. */

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, describe, test } from 'node:test';
import { type Body, register, type TestClient } from '#test/harness/client.ts';
import { bringIn, inRoom } from '#test/harness/conversation.ts';
import {
  crossSigningOf,
  deviceKeysOf,
  deviceSigner,
  type Signer,
  signedBy,
  uploadDeviceKeys,
} from '#test/harness/encryption.ts';
import { download, getBytes, partsOf, picture } from '#test/harness/media.ts';
import { ISSUER, refreshByOAuth, startOAuthServer } from '#test/harness/oauth.ts';
import { sealed } from '#test/harness/sealed-file.ts';
import type { TestServer } from '#test/harness/server.ts';
import { encryption, notification, Phone, roomList } from './phone.ts';
import { byOAuth, signInBy, WAYS, type Way } from './signing-in.ts';

const OLM = 'm.olm.v1.curve25519-aes-sha2';
const PASSWORD = 'password of agnes';
const ROOMS = 25;

for (const way of WAYS) {
  describe(`Element X by ${way}`, async () => {
    const server = await startOAuthServer();
    after(() => server[Symbol.asyncDispose]());
    const person = await register(server, 'agnes');
    const birger = await register(server, 'birger');
    const walk = new Walk(server, way, { person, birger });
    test('1: the server is found, and says how one signs in', () => walk.discover());
    test('2, 3: the app signs in, asks who it is, and sets its encryption up', () => walk.signIn());
    test('4: the list of rooms begins with the first 20, and grows', () => walk.listRooms());
    test('4: the connection of encryption has the counts of keys, and no room', () => walk.encryption());
    test('4: a position that the server does not know is M_UNKNOWN_POS, and it begins anew', () =>
      walk.beginAnew());
    test('5: it is told of an event by the connection of notifications', () => walk.notify());
    test('6: a room is opened: subscription, members, pages, receipt, typing', () => walk.openRoom());
    test('7: an encrypted picture goes up, its keys go to the other, and the echo comes back', () =>
      walk.sendPicture());
    test('the app signs out', () => walk.signOut());
  });
}

test('prompt=create: a person without an account makes one, and is signed in by the app', async () => {
  await using server = await startOAuthServer();
  const { phone } = await byOAuth(server, { name: 'carla', password: PASSWORD }, { isNew: true });
  assert.equal(phone.userId, '@carla:kurir.test');
  const { devices } = await phone.call('GET', '/devices');
  assert.deepEqual(
    devices.map(({ device_id: id }: Body) => id),
    [phone.deviceId],
  );
});

/** Does the steps one after the other. */
class Walk {
  readonly #server: TestServer;
  readonly #way: Way;
  /** The same person at another device. */
  readonly #person: TestClient;
  readonly #birger: TestClient;
  #phone: Phone;
  #oauth: { readonly clientId: string; readonly refreshToken: string } | undefined;
  #roomIds: string[] = [];
  #sinceToDevice: string | undefined;

  constructor(server: TestServer, way: Way, people: { person: TestClient; birger: TestClient }) {
    this.#server = server;
    this.#way = way;
    this.#person = people.person;
    this.#birger = people.birger;
    this.#phone = new Phone(server);
  }

  async discover(): Promise<void> {
    const stranger = new Phone(this.#server);
    const wellKnown = await stranger.call('GET', '/.well-known/matrix/client');
    assert.equal(`${wellKnown['m.homeserver'].base_url}/`, ISSUER);
    const { versions, unstable_features: flags } = await stranger.call('GET', '/_matrix/client/versions');
    assert.ok(versions.includes('v1.11'));
    assert.equal(flags['org.matrix.simplified_msc3575'], true);
    const metadata = await stranger.call('GET', '/_matrix/client/v1/auth_metadata');
    assert.equal(metadata.issuer, ISSUER);
    assert.ok(metadata.code_challenge_methods_supported.includes('S256'));
    assert.ok(metadata.prompt_values_supported.includes('create'));
    const { flows } = await stranger.call('GET', '/login');
    assert.ok(flows.some(({ type }: Body) => type === 'm.login.password'));
    const { server } = await stranger.call('GET', '/_matrix/federation/v1/version');
    assert.equal(typeof server.name, 'string');
  }

  async signIn(): Promise<void> {
    const signed = await signInBy(this.#way, this.#server, { name: 'agnes', password: PASSWORD });
    this.#phone = signed.phone;
    if (signed.clientId !== undefined)
      this.#oauth = { clientId: signed.clientId, refreshToken: signed.tokens.refresh_token };
    const phone = this.#phone;
    const me = await phone.call('GET', '/account/whoami');
    assert.deepEqual([me.user_id, me.device_id], [this.#person.userId, phone.deviceId]);
    const { capabilities } = await phone.call('GET', '/capabilities');
    assert.equal(capabilities['m.room_versions'].available['12'], 'stable');
    await phone.refused('GET', '/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device', [
      404,
      'M_NOT_FOUND',
    ]);
    const signer = deviceSigner(phone);
    const { one_time_key_counts: counts } = await phone.call('POST', '/keys/upload', {
      device_keys: deviceKeysOf(phone, signer),
      one_time_keys: { ...keyOf('AAAAAA', signer), ...keyOf('AAAAAB', signer) },
      fallback_keys: keyOf('AAAAAC', signer, { fallback: true }),
    });
    assert.deepEqual(counts, { signed_curve25519: 2 });
    await this.#signKeys(signer);
    await phone.refused('GET', '/room_keys/version', [404, 'M_NOT_FOUND']);
    const auth = { public_key: 'abcdefg', signatures: {} };
    const backup = { algorithm: 'm.megolm_backup.v1.curve25519-aes-sha2', auth_data: auth };
    assert.equal(typeof (await phone.call('POST', '/room_keys/version', backup)).version, 'string');
  }

  async listRooms(): Promise<void> {
    for (let count = 0; count < ROOMS; count++) {
      // One after the other: the last one is the newest.
      this.#roomIds.push(await this.#person.createRoom({ name: `Room ${count}` }));
    }
    const newest = this.#roomIds.at(-1) ?? '';
    const first = await this.#phone.slide(roomList(19));
    assert.deepEqual([first.lists.all_rooms.count, Object.keys(first.rooms).length], [ROOMS, 20]);
    const room = first.rooms[newest];
    assert.deepEqual([room.initial, room.name, room.joined_count], [true, `Room ${ROOMS - 1}`, 1]);
    assert.equal(room.timeline.length, 1);
    assert.equal(typeof room.prev_batch, 'string');
    assert.equal(typeof room.bump_stamp, 'number');
    const types = room.required_state.map(({ type }: Body) => type);
    for (const type of ['m.room.create', 'm.room.power_levels', 'm.room.name', 'm.room.member'])
      assert.ok(types.includes(type), type);
    // "Push rules are read from account data".
    const { global } = first.extensions.account_data;
    assert.ok(global.some(({ type }: Body) => type === 'm.push_rules'));
    const more = await this.#phone.slide(roomList(119));
    assert.equal(Object.keys(more.rooms).length, ROOMS - 20);
    assert.deepEqual((await this.#phone.slide(roomList(119))).rooms, {});
  }

  async encryption(): Promise<void> {
    const answer = await this.#phone.slide(encryption());
    assert.deepEqual(answer.rooms, {});
    const { e2ee, to_device: toDevice } = answer.extensions;
    assert.deepEqual(e2ee.device_one_time_keys_count, { signed_curve25519: 2 });
    assert.deepEqual(e2ee.device_unused_fallback_key_types, ['signed_curve25519']);
    assert.deepEqual(toDevice.events, []);
    this.#sinceToDevice = toDevice.next_batch;
  }

  async beginAnew(): Promise<void> {
    const { status, body } = await this.#phone.trySlide(roomList(19), { pos: 'of_another_server' });
    assert.deepEqual([status, body.errcode], [400, 'M_UNKNOWN_POS']);
    this.#phone.forget('room-list');
    const again = await this.#phone.slide(roomList(19));
    assert.equal(Object.keys(again.rooms).length, 20);
    // The other connection goes on as if nothing had been.
    assert.deepEqual((await this.#phone.slide(encryption(this.#sinceToDevice))).rooms, {});
  }

  async notify(): Promise<void> {
    await this.#phone.call('POST', '/pushers/set', PUSHER);
    const { pushers } = await this.#phone.call('GET', '/pushers');
    assert.equal(pushers.length, 1);
    const roomId = this.#roomIds[0] ?? '';
    await this.#birger.join(roomId);
    const eventId = await this.#birger.send(roomId, 'are you there?');
    const invited = await this.#birger.createRoom({ name: 'Plans', invite: [this.#phone.userId] });
    const answer = await this.#phone.slide(notification(roomId), 1_000);
    const told = answer.rooms[roomId];
    assert.equal(told.timeline.at(-1).event_id, eventId);
    assert.ok(told.required_state.some(({ type }: Body) => type === 'm.room.power_levels'));
    assert.ok(Array.isArray(answer.rooms[invited].invite_state ?? answer.rooms[invited].stripped_state));
    const context = await this.#phone.call('GET', `${inRoom(roomId)}/context/${eventId}?limit=0`);
    assert.equal(context.event.event_id, eventId);
  }

  async openRoom(): Promise<void> {
    const roomId = this.#roomIds[0] ?? '';
    const last = await this.#birger.send(roomId, 'the plans are here');
    const asked = () => roomList(119, [roomId]);
    const { rooms } = await this.#phone.slideUntil(
      asked,
      (answer) => answer.rooms[roomId]?.timeline.at(-1)?.event_id === last,
    );
    const room = rooms[roomId];
    assert.ok(room.timeline.length > 1, 'a subscription has more of the timeline than the list');
    assert.equal(room.joined_count, 2);
    const phone = this.#phone;
    const { chunk: members } = await phone.call('GET', `${inRoom(roomId)}/members?not_membership=leave`);
    assert.equal(members.length, 2);
    const from = encodeURIComponent(room.prev_batch);
    const page = await phone.call('GET', `${inRoom(roomId)}/messages?dir=b&limit=50&from=${from}`);
    assert.ok(Array.isArray(page.chunk));
    const { event_id: id } = await phone.call('GET', `${inRoom(roomId)}/event/${last}`);
    assert.equal(id, last);
    const v1 = `/_matrix/client/v1${inRoom(roomId)}`;
    assert.deepEqual((await phone.call('GET', `${v1}/relations/${last}?dir=b&limit=20`)).chunk, []);
    assert.deepEqual((await phone.call('GET', `${v1}/threads?include=all`)).chunk, []);
    await phone.call('POST', `${inRoom(roomId)}/receipt/m.read/${last}`, { thread_id: 'main' });
    await this.#birger.put(`${inRoom(roomId)}/typing/${encodeURIComponent(this.#birger.userId)}`, {
      ...{ typing: true, timeout: 20_000 },
    });
    const isTyping = ({ extensions }: Body) =>
      extensions.typing?.rooms?.[roomId]?.content.user_ids.includes(this.#birger.userId) === true;
    await phone.slideUntil(asked, isTyping);
  }

  async sendPicture(): Promise<void> {
    const [phone, birger] = [this.#phone, this.#birger];
    const birgersKeys = deviceSigner(birger);
    await uploadDeviceKeys(birger, birgersKeys);
    await birger.post('/keys/upload', { one_time_keys: keyOf('BBBBBB', birgersKeys) });
    const { room_id: roomId } = await phone.call('POST', '/createRoom', {
      ...{ preset: 'private_chat', name: 'Plans of the bridge' },
      initial_state: [
        { type: 'm.room.encryption', state_key: '', content: { algorithm: 'm.megolm.v1.aes-sha2' } },
      ],
    });
    await bringIn(this.#person, birger, roomId);
    const [small, large] = [sealed(await picture(80, 60)), sealed(await picture(640, 480))];
    const limits = await phone.call('GET', '/_matrix/client/v1/media/config');
    assert.ok(limits['m.upload.size'] > large.bytes.length);
    const uris: string[] = [];
    for (const { bytes } of [small, large]) {
      const up = await phone.call('POST', '/_matrix/media/v3/upload', bytes, 'application/octet-stream');
      uris.push(up.content_uri);
    }
    await this.#shareKey(roomId);
    const txnId = phone.transaction();
    const content = { ...MEGOLM, device_id: phone.deviceId, sender_key: 'curve' };
    const path = `${inRoom(roomId)}/send/m.room.encrypted/${txnId}`;
    const { event_id: eventId } = await phone.call('PUT', path, content);
    const isThere = (answer: Body) =>
      answer.rooms[roomId]?.timeline?.some(({ event_id: id }: Body) => id === eventId) === true;
    const { rooms } = await phone.slideUntil(() => roomList(119, [roomId]), isThere);
    const echo = rooms[roomId].timeline.find(({ event_id: id }: Body) => id === eventId);
    assert.deepEqual([echo.content, echo.unsigned.transaction_id], [content, txnId]);
    for (const [index, each] of [small, large].entries()) {
      const { bytes } = await download(birger, uris[index] ?? '');
      const sha256 = createHash('sha256').update(bytes).digest('base64').replaceAll('=', '');
      assert.deepEqual(each.file.hashes, { sha256 });
      assert.match(each.open(bytes).toString('latin1'), /^\x89PNG/);
    }
    const bare = await getBytes(this.#server, `/_matrix/client/v1/media/download/${partsOf(uris[0] ?? '')}`);
    assert.equal(bare.errcode, 'M_MISSING_TOKEN');
  }

  async signOut(): Promise<void> {
    const phone = this.#phone;
    if (this.#oauth !== undefined) {
      const refreshed = await refreshByOAuth(this.#server, this.#oauth);
      assert.equal(refreshed.status, 200);
      const { access_token: token } = refreshed.body;
      const renewed = new Phone(this.#server, { userId: phone.userId, deviceId: phone.deviceId, token });
      await renewed.call('GET', '/account/whoami');
      const body = new URLSearchParams({ token, client_id: this.#oauth.clientId }).toString();
      const type = 'application/x-www-form-urlencoded';
      const revoked = await fetch(`${this.#server.clientUrl}/oauth2/revoke`, {
        ...{ method: 'POST', body },
        headers: { 'content-type': type },
      });
      assert.equal(revoked.status, 200);
      await renewed.refused('GET', '/account/whoami', [401, 'M_UNKNOWN_TOKEN']);
    } else {
      await phone.call('POST', '/logout', {});
    }
    await phone.refused('GET', '/account/whoami', [401, 'M_UNKNOWN_TOKEN']);
    const { devices } = await this.#person.get('/devices');
    assert.ok(!devices.some(({ device_id: id }: Body) => id === phone.deviceId));
  }

  /** The first cross-signing keys, which need no confirmation, and the device signed by them. */
  async #signKeys(signer: Signer): Promise<void> {
    const phone = this.#phone;
    const query = { device_keys: { [phone.userId]: [] }, timeout: 10_000 };
    const before = await phone.call('POST', '/keys/query', query);
    assert.equal(before.master_keys?.[phone.userId], undefined);
    const signing = crossSigningOf(phone.userId);
    await phone.call('POST', '/keys/device_signing/upload', signing.body);
    const { [phone.deviceId]: keys } = before.device_keys[phone.userId];
    const { unsigned: _, ...own } = keys;
    const { failures } = await phone.call('POST', '/keys/signatures/upload', {
      [phone.userId]: {
        [phone.deviceId]: signedBy(own, signing.selfSigning),
        [signing.master.pair.publicKey]: signedBy(signing.body.master_key, signer),
      },
    });
    assert.deepEqual(failures, {});
    const after = await phone.call('POST', '/keys/query', query);
    assert.deepEqual(after.master_keys[phone.userId].keys, signing.body.master_key.keys);
  }

  /** The key of the room goes to the other's device, in a message of Olm. */
  async #shareKey(roomId: string): Promise<void> {
    const [phone, birger] = [this.#phone, this.#birger];
    const { chunk } = await phone.call('GET', `${inRoom(roomId)}/members?not_membership=leave`);
    const userIds: string[] = chunk.map(({ state_key: userId }: Body) => userId);
    assert.deepEqual(userIds.sort(), [phone.userId, birger.userId].sort());
    const { device_keys: devices } = await phone.call('POST', '/keys/query', {
      device_keys: { [birger.userId]: [] },
      timeout: 10_000,
    });
    assert.deepEqual(Object.keys(devices[birger.userId]), [birger.deviceId]);
    const { one_time_keys: claimed } = await phone.call('POST', '/keys/claim', {
      one_time_keys: { [birger.userId]: { [birger.deviceId]: 'signed_curve25519' } },
      timeout: 10_000,
    });
    const [keyId] = Object.keys(claimed[birger.userId][birger.deviceId]);
    assert.equal(keyId, 'signed_curve25519:BBBBBB');
    const content = {
      ...{ algorithm: OLM, sender_key: 'curve', 'org.matrix.msgid': 'one' },
      ciphertext: { 'curve of birger': { type: 0, body: 'the key of the room' } },
    };
    const { next_batch: since } = await birger.sync();
    const path = `/sendToDevice/m.room.encrypted/${phone.transaction()}`;
    const messages = { [birger.userId]: { [birger.deviceId]: content } };
    assert.deepEqual(await phone.call('PUT', path, { messages }), {});
    const { to_device: told } = await birger.syncUntil(
      ({ to_device: inbox }: Body) => inbox?.events.length > 0,
      { since },
    );
    assert.deepEqual(told.events, [{ type: 'm.room.encrypted', sender: phone.userId, content }]);
    // The other answers, and the app is told by its connection of encryption.
    const reply = { [phone.userId]: { [phone.deviceId]: content } };
    await birger.put('/sendToDevice/m.room.encrypted/reply', { messages: reply });
    const { extensions } = await phone.slideUntil(
      () => encryption(this.#sinceToDevice),
      (answer) => answer.extensions.to_device?.events.length > 0,
    );
    this.#sinceToDevice = extensions.to_device.next_batch;
    assert.deepEqual(extensions.to_device.events, [
      { type: 'm.room.encrypted', sender: birger.userId, content },
    ]);
  }
}

const MEGOLM = { algorithm: 'm.megolm.v1.aes-sha2', ciphertext: 'of the picture', session_id: 'session1' };

const PUSHER = {
  ...{ app_id: 'io.element.android.x', pushkey: 'a push key', kind: 'http' },
  ...{ app_display_name: 'Element X', device_display_name: 'Pixel', lang: 'en', append: true },
  profile_tag: 'mobile',
  data: {
    url: 'https://matrix.org/_matrix/push/v1/notify',
    format: 'event_id_only',
    default_payload: { cs: 'a secret' },
  },
};

function keyOf(name: string, signer: Signer, more = {}): Record<string, object> {
  return { [`signed_curve25519:${name}`]: signedBy({ key: name, ...more }, signer) };
}
