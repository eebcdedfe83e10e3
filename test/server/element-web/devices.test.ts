/** What Element Web does for encryption on a first device, and on one that comes later, request by request. */

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import type { JsonObject } from '#keys/json.ts';
import { type Body, register } from '#test/harness/client.ts';
import {
  type CrossSigning,
  crossSigningOf,
  deviceKeysOf,
  deviceSigner,
  type Signer,
  signedBy,
} from '#test/harness/encryption.ts';
import { startServer } from '#test/harness/server.ts';
import { type Browser, signInOnWeb } from './browser.ts';

const server = await startServer();
after(() => server[Symbol.asyncDispose]());
const account = await register(server, 'agnes');
const ME = account.userId;
const ROOM = '!records:kurir.test';
const BACKUP = {
  algorithm: 'm.megolm_backup.v1.curve25519-aes-sha2',
  auth_data: { public_key: 'abcdefg', signatures: { [ME]: { 'ed25519:backup': 'signature' } } },
};

/** A browser with the keys of its device. */
interface Device {
  readonly browser: Browser;
  readonly signer: Signer;
  readonly keys: JsonObject;
  since: string;
}

const signing: CrossSigning = crossSigningOf(ME);
let first: Device;
let second: Device;
let version = '';

async function newDevice(): Promise<Device> {
  const browser = await signInOnWeb(server, 'agnes', account.password);
  const signer = deviceSigner(browser);
  const keys = deviceKeysOf(browser, signer);
  await browser.call('POST', '/keys/upload', { device_keys: keys });
  const { next_batch: since } = await browser.sync();
  return { browser, signer, keys, since };
}

/** Where the client keeps something for all devices. */
function accountData(type: string): string {
  return `/user/${encodeURIComponent(ME)}/account_data/${encodeURIComponent(type)}`;
}

function keyOf(ciphertext: string): object {
  return {
    first_message_index: 0,
    forwarded_count: 0,
    is_verified: true,
    session_data: { ephemeral: 'e', ciphertext, mac: 'm' },
  };
}

/** Sends one device a message, which it gets in its next answer of `/sync`. */
async function pass(from: Device, to: Device, type: string, content: object): Promise<void> {
  await from.browser.sendToDevice(type, { [ME]: { [to.browser.deviceId]: content } });
  const answer = await to.browser.syncUntil(
    to.since,
    ({ to_device: messages }) => messages?.events.length > 0,
  );
  to.since = answer.next_batch;
  assert.deepEqual(answer.to_device.events, [{ type, sender: ME, content }]);
}

test('7: the first cross-signing keys need no password', async () => {
  first = await newDevice();
  assert.deepEqual(await first.browser.call('POST', '/keys/device_signing/upload', signing.body), {});
  const signedKeys = signedBy(first.keys, signing.selfSigning);
  const signedMaster = signedBy(signing.body.master_key, first.signer);
  const { failures } = await first.browser.call('POST', '/keys/signatures/upload', {
    [ME]: { [first.browser.deviceId]: signedKeys, [signing.master.pair.publicKey]: signedMaster },
  });
  assert.deepEqual(failures, {});
});

test('7: other ones do, and are refused until it is given', async () => {
  const other = crossSigningOf(ME).body;
  const asked = await first.browser.try('POST', '/keys/device_signing/upload', other);
  assert.equal(asked.status, 401);
  const { flows, params, session } = asked.body;
  assert.ok(flows.some(({ stages }: Body) => stages.length === 1 && stages[0] === 'm.login.password'));
  assert.equal(typeof params, 'object');
  const identifier = { type: 'm.id.user', user: ME };
  const auth = { type: 'm.login.password', identifier, password: 'wrong', session };
  const wrong = await first.browser.try('POST', '/keys/device_signing/upload', { ...other, auth });
  assert.deepEqual([wrong.status, wrong.body.errcode, wrong.body.session], [401, 'M_FORBIDDEN', session]);
  const query = { device_keys: { [ME]: [] } };
  const { master_keys: masters } = await first.browser.call('POST', '/keys/query', query);
  assert.deepEqual(masters[ME].keys, signing.body.master_key.keys);
});

test('7: secrets are kept in account data, and the other devices are told', async () => {
  const secret = { encrypted: { key1: { iv: 'iv', ciphertext: 'secret', mac: 'mac' } } };
  const contents: Readonly<Record<string, object>> = {
    'm.secret_storage.key.key1': { algorithm: 'm.secret_storage.v1.aes-hmac-sha2', iv: 'iv', mac: 'mac' },
    'm.secret_storage.default_key': { key: 'key1' },
    'm.cross_signing.master': secret,
    'm.cross_signing.self_signing': secret,
    'm.cross_signing.user_signing': secret,
    'm.megolm_backup.v1': secret,
    'm.key_backup': { enabled: true },
    'im.vector.setting.breadcrumbs': { recent_rooms: [ROOM] },
    'io.element.recent_emoji': { recent_emoji: [['👍', 3]] },
  };
  for (const [type, content] of Object.entries(contents)) {
    assert.deepEqual(await first.browser.call('PUT', accountData(type), content), {});
    assert.deepEqual(await first.browser.call('GET', accountData(type)), content);
  }
  const { account_data: told, next_batch: since } = await first.browser.sync({ since: first.since });
  first.since = since;
  const events: Body[] = told.events;
  const seen = Object.fromEntries(events.map(({ type, content }) => [type, content]));
  assert.deepEqual(seen, contents);
});

test('7: a backup is made, and the keys of a room go into it', async () => {
  ({ version } = await first.browser.call('POST', '/room_keys/version', BACKUP));
  const { etag: empty, ...made } = await first.browser.call('GET', '/room_keys/version');
  assert.deepEqual(made, { ...BACKUP, version, count: 0 });
  const path = `/room_keys/keys?version=${version}`;
  const sessions = { session1: keyOf('one'), session2: keyOf('two') };
  const { count, etag } = await first.browser.call('PUT', path, { rooms: { [ROOM]: { sessions } } });
  assert.equal(count, 2);
  assert.notEqual(etag, empty);
  const wrong = await first.browser.try('PUT', `/room_keys/keys?version=${version}0`, { rooms: {} });
  assert.deepEqual([wrong.status, wrong.body.errcode], [404, 'M_NOT_FOUND']);
});

test('7: a later device sees the first, its signatures and the secrets', async () => {
  second = await newDevice();
  const changed = await first.browser.syncUntil(
    first.since,
    ({ device_lists: lists }) => lists?.changed?.includes(ME) === true,
  );
  first.since = changed.next_batch;
  const keys = await second.browser.call('POST', '/keys/query', { device_keys: { [ME]: [] } });
  const { master, selfSigning, userSigning } = signing;
  const device = keys.device_keys[ME][first.browser.deviceId];
  assert.equal(typeof device.signatures[ME][selfSigning.keyId], 'string');
  assert.equal(device.unsigned.device_display_name, 'app.element.io: Firefox on Linux');
  assert.equal(typeof keys.master_keys[ME].signatures[ME][first.signer.keyId], 'string');
  assert.deepEqual(Object.keys(keys.self_signing_keys[ME].keys), [selfSigning.keyId]);
  assert.deepEqual(Object.keys(keys.user_signing_keys[ME].keys), [userSigning.keyId]);
  assert.equal(typeof keys.user_signing_keys[ME].signatures[ME][master.keyId], 'string');
  assert.deepEqual(await second.browser.call('GET', accountData('m.secret_storage.default_key')), {
    key: 'key1',
  });
});

test('7: the two verify each other, message by message, and the first signs the second', async () => {
  const transaction = { transaction_id: 'verification1' };
  const done = ['m.key.verification.done', transaction] as const;
  const key = (of: string) => ['m.key.verification.key', { ...transaction, key: of }] as const;
  const mac = (of: string) =>
    ['m.key.verification.mac', { ...transaction, keys: 'k', mac: { [`ed25519:${of}`]: 'm' } }] as const;
  await pass(second, first, 'm.key.verification.request', {
    ...{ ...transaction, from_device: second.browser.deviceId },
    ...{ methods: ['m.sas.v1'], timestamp: Date.now() },
  });
  await pass(first, second, 'm.key.verification.ready', {
    ...{ ...transaction, from_device: first.browser.deviceId, methods: ['m.sas.v1'] },
  });
  await pass(second, first, 'm.key.verification.start', {
    ...{ ...transaction, from_device: second.browser.deviceId, method: 'm.sas.v1' },
    ...{ hashes: ['sha256'], key_agreement_protocols: ['curve25519-hkdf-sha256'] },
    ...{ message_authentication_codes: ['hkdf-hmac-sha256.v2'], short_authentication_string: ['emoji'] },
  });
  await pass(first, second, 'm.key.verification.accept', {
    ...{ ...transaction, commitment: 'c', hash: 'sha256', key_agreement_protocol: 'curve25519-hkdf-sha256' },
    ...{ message_authentication_code: 'hkdf-hmac-sha256.v2', short_authentication_string: ['emoji'] },
  });
  await pass(second, first, ...key('second'));
  await pass(first, second, ...key('first'));
  await pass(second, first, ...mac(second.browser.deviceId));
  await pass(first, second, ...mac(first.browser.deviceId));
  await pass(first, second, ...done);
  await pass(second, first, ...done);
  await pass(second, first, 'm.secret.request', {
    ...{ action: 'request', name: 'm.megolm_backup.v1', request_id: 'r1' },
    requesting_device_id: second.browser.deviceId,
  });
  await pass(first, second, 'm.room.encrypted', {
    ...{ algorithm: 'm.olm.v1.curve25519-aes-sha2', sender_key: 'curve' },
    ciphertext: { curve: { type: 0, body: 'the secret' } },
  });

  const signatures = {
    [ME]: { [second.browser.deviceId]: signedBy(second.keys, signing.selfSigning) },
  };
  const { failures } = await first.browser.call('POST', '/keys/signatures/upload', signatures);
  assert.deepEqual(failures, {});
  const told = await second.browser.syncUntil(
    second.since,
    ({ device_lists: lists }) => lists?.changed?.includes(ME) === true,
  );
  second.since = told.next_batch;
  const { device_keys: devices } = await second.browser.call('POST', '/keys/query', {
    device_keys: { [ME]: [second.browser.deviceId] },
  });
  const { signatures: made } = devices[ME][second.browser.deviceId];
  assert.equal(typeof made[ME][signing.selfSigning.keyId], 'string');
});

test('7: the later device reads the backup: one key, those of a room, and all', async () => {
  const { version: current } = await second.browser.call('GET', '/room_keys/version');
  assert.equal(current, version);
  const room = `/room_keys/keys/${encodeURIComponent(ROOM)}`;
  const sessions = { session1: keyOf('one'), session2: keyOf('two') };
  const ask = (path: string) => second.browser.call('GET', `${path}?version=${version}`);
  assert.deepEqual(await ask(`${room}/session1`), keyOf('one'));
  assert.deepEqual(await ask(room), { sessions });
  assert.deepEqual(await ask('/room_keys/keys'), { rooms: { [ROOM]: { sessions } } });
  await second.browser.refused('GET', `${room}/session3?version=${version}`, [404, 'M_NOT_FOUND']);
});
