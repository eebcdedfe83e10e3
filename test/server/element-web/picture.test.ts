/** How Element Web sends an encrypted picture to somebody of another server, request by request. */

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, test } from 'node:test';
import { type Body, login, register, type TestClient } from '#test/harness/client.ts';
import { bringIn, inRoom } from '#test/harness/conversation.ts';
import {
  crossSigningOf,
  deviceKeysOf,
  deviceSigner,
  type Signer,
  signedBy,
} from '#test/harness/encryption.ts';
import { startFleet } from '#test/harness/fleet.ts';
import { download, picture } from '#test/harness/media.ts';
import { sealed } from '#test/harness/sealed-file.ts';
import { type Browser, signInOnWeb } from './browser.ts';

const OLM = 'm.olm.v1.curve25519-aes-sha2';
/** To how many devices the client sends at once. */
const BATCH = 20;
const DEVICES = 30;

const fleet = await startFleet(2);
after(() => fleet[Symbol.asyncDispose]());
const account = await register(fleet.at(0), 'agnes');
const birger = await register(fleet.at(1), 'birger');
/** His devices: the one that reads along in the test, and many others. */
const others: TestClient[] = [];
const browser: Browser = await signInOnWeb(fleet.at(0), 'agnes', account.password);
await browser.call('POST', '/keys/upload', { device_keys: deviceKeysOf(browser) });
await uploadKeys(birger);
for (let count = 1; count < DEVICES; count++) {
  const device = await login(fleet.at(1), 'birger', birger.password);
  await uploadKeys(device);
  others.push(device);
}
const signing = crossSigningOf(birger.userId);
await birger.post('/keys/device_signing/upload', signing.body);
const { room_id: roomId } = await browser.call('POST', '/createRoom', {
  preset: 'private_chat',
  initial_state: [
    { type: 'm.room.encryption', state_key: '', content: { algorithm: 'm.megolm.v1.aes-sha2' } },
  ],
});
await bringIn(account, birger, roomId);

const [thumbnail, file] = [sealed(await picture(80, 60)), sealed(await picture(640, 480))];
const uris: string[] = [];
let claimed: Body;
let eventId = '';

/** Uploads keys of a device, with one that is used once. */
async function uploadKeys(client: TestClient): Promise<void> {
  const signer = deviceSigner(client);
  const body = { device_keys: deviceKeysOf(client, signer), one_time_keys: oneTimeKey(client, signer) };
  await client.post('/keys/upload', body);
}

function oneTimeKey({ deviceId }: TestClient, signer: Signer): object {
  return { 'signed_curve25519:AAAAAA': signedBy({ key: `key of ${deviceId}` }, signer) };
}

test('9: the client asks how large files may be, and uploads the thumbnail and the picture as cipher text', async () => {
  const limits = await browser.call('GET', '/_matrix/client/v1/media/config');
  assert.ok(limits['m.upload.size'] > file.bytes.length);
  for (const { bytes } of [thumbnail, file]) {
    const type = 'application/octet-stream';
    const { content_uri: uri } = await browser.call('POST', '/_matrix/media/v3/upload', bytes, type);
    assert.match(uri, /^mxc:\/\//);
    uris.push(uri);
  }
});

test('9: it asks for the keys of all devices of the other, and claims one key of each', async () => {
  const { device_keys: keys, master_keys: masters } = await browser.call('POST', '/keys/query', {
    device_keys: { [birger.userId]: [] },
    timeout: 10_000,
  });
  const devices = Object.keys(keys[birger.userId]);
  assert.equal(devices.length, DEVICES);
  assert.deepEqual(masters[birger.userId].keys, signing.body.master_key.keys);
  const wanted = Object.fromEntries(devices.map((deviceId) => [deviceId, 'signed_curve25519']));
  const { one_time_keys: got, failures } = await browser.call('POST', '/keys/claim', {
    one_time_keys: { [birger.userId]: wanted },
    timeout: 10_000,
  });
  assert.deepEqual(failures, {});
  claimed = got[birger.userId];
  for (const deviceId of devices) {
    assert.equal(claimed[deviceId]['signed_curve25519:AAAAAA'].key, `key of ${deviceId}`);
  }
});

test('9: it hands the room key to every device, in batches, and each gets its own', async () => {
  const { next_batch: since } = await birger.sync();
  const devices = Object.keys(claimed);
  for (let at = 0; at < devices.length; at += BATCH) {
    const contents = devices.slice(at, at + BATCH).map((deviceId) => [deviceId, keyFor(deviceId)]);
    await browser.sendToDevice('m.room.encrypted', { [birger.userId]: Object.fromEntries(contents) });
  }
  for (const device of [birger, ...others]) {
    const { to_device: told } = await device.syncUntil(
      ({ to_device: messages }: Body) => messages?.events.length > 0,
      device === birger ? { since } : {},
    );
    const content = keyFor(device.deviceId);
    assert.deepEqual(told.events, [{ type: 'm.room.encrypted', sender: account.userId, content }]);
  }
});

test('9: it sends the event, sees it come back with its transaction, and backs the room key up', async () => {
  const { next_batch: since } = await browser.sync();
  const txnId = `m${Date.now()}.7`;
  const content = {
    ...{ algorithm: 'm.megolm.v1.aes-sha2', ciphertext: 'of the picture', device_id: browser.deviceId },
    ...{ sender_key: 'curve', session_id: 'session1' },
  };
  const path = `${inRoom(roomId)}/send/m.room.encrypted/${txnId}`;
  ({ event_id: eventId } = await browser.call('PUT', path, content));
  assert.equal((await browser.call('PUT', path, content)).event_id, eventId, 'the same, once more');
  const isThere = (answer: Body) =>
    answer.rooms?.join?.[roomId]?.timeline.events.some(({ event_id: id }: Body) => id === eventId) === true;
  const { rooms } = await browser.syncUntil(since, isThere);
  const [echo, ...more] = rooms.join[roomId].timeline.events;
  assert.deepEqual([echo.event_id, echo.unsigned.transaction_id, more], [eventId, txnId, []]);
  assert.deepEqual(echo.content, content);

  const { version } = await browser.call('POST', '/room_keys/version', {
    algorithm: 'm.megolm_backup.v1.curve25519-aes-sha2',
    auth_data: { public_key: 'abcdefg' },
  });
  const key = { first_message_index: 0, forwarded_count: 0, is_verified: true, session_data: {} };
  const keys = { rooms: { [roomId]: { sessions: { session1: key } } } };
  assert.equal((await browser.call('PUT', `/room_keys/keys?version=${version}`, keys)).count, 1);
});

test('9: the other gets the event without the transaction, and both files, which open to the same pictures', async () => {
  const isThere = (answer: Body) =>
    answer.rooms?.join?.[roomId]?.timeline.events.some(({ event_id: id }: Body) => id === eventId) === true;
  const { rooms } = await birger.syncUntil(isThere);
  const got = rooms.join[roomId].timeline.events.find(({ event_id: id }: Body) => id === eventId);
  assert.equal(got.unsigned?.transaction_id, undefined);
  assert.deepEqual(rooms.join[roomId].unread_notifications.notification_count, 1);
  for (const [index, each] of [thumbnail, file].entries()) {
    const { status, bytes, headers } = await download(birger, uris[index] ?? '');
    assert.equal(status, 200);
    assert.equal(headers.get('content-type'), 'application/octet-stream');
    const sha256 = createHash('sha256').update(bytes).digest('base64').replaceAll('=', '');
    assert.deepEqual(each.file.hashes, { sha256 });
    assert.match(each.open(bytes).toString('latin1'), /^\x89PNG/);
  }
});

/** The room key as only one device can read it. */
function keyFor(deviceId: string): object {
  return {
    ...{ algorithm: OLM, sender_key: 'curve', 'org.matrix.msgid': `id of ${deviceId}` },
    ciphertext: { [`curve of ${deviceId}`]: { type: 0, body: `for ${deviceId}` } },
  };
}
