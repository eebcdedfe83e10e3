/** What Element Web asks from the address of a server to the first long poll, in its order. */

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { type Body, login, register } from '#test/harness/client.ts';
import { deviceKeysOf, deviceSigner, signedBy } from '#test/harness/encryption.ts';
import { startServer } from '#test/harness/server.ts';
import { Browser, signInOnWeb } from './browser.ts';

const BASE = 'https://matrix.kurir.test';
const LIVEKIT = 'https://rtc.kurir.test';
const PROBE = '/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device';
/** The versions that matrix-js-sdk knows; the newer ones, by which it and Element turn features on. */
const VERSIONS = Array.from({ length: 19 }, (_, index) => `v1.${index + 1}`);
/** What it and Element look for by these names only, or in older releases. */
const FLAGS = [
  'org.matrix.e2e_cross_signing',
  'org.matrix.msc2285.stable',
  'org.matrix.msc3030.stable',
  'org.matrix.msc3827.stable',
  'org.matrix.msc3916.stable',
  'org.matrix.msc4140',
  'org.matrix.msc4380.stable',
  'uk.half-shot.msc2666.query_mutual_rooms',
  'uk.tcpip.msc4133.stable',
];
/** What the client stores on the server before its first sync. */
const FILTER = {
  room: {
    timeline: { limit: 20, unread_thread_notifications: true },
    state: { lazy_load_members: true },
  },
};

const server = await startServer({
  publicBaseurl: BASE,
  oauth: false,
  livekitServiceUrl: [LIVEKIT],
  encryptionByDefault: 'invite',
});
after(() => server[Symbol.asyncDispose]());
const account = await register(server, 'agnes');
const stranger = new Browser(server);
let browser: Browser;
let filterId = '';

test('1: a server is found, understood and asked how one signs in', async () => {
  const wellKnown = await stranger.call('GET', '/.well-known/matrix/client');
  assert.deepEqual(wellKnown, {
    'm.homeserver': { base_url: BASE },
    'io.element.e2ee': { default: true, secure_backup_required: false },
    'org.matrix.msc4143.rtc_foci': [{ type: 'livekit', livekit_service_url: LIVEKIT }],
  });
  const { versions, unstable_features: flags } = await stranger.call('GET', '/_matrix/client/versions');
  assert.deepEqual(versions, VERSIONS);
  for (const flag of FLAGS) assert.equal(flags[flag], true, flag);
  assert.equal(flags['io.element.e2ee_forced.private'], true);
  assert.equal(flags['io.element.e2ee_forced.public'], false);
  const { flows } = await stranger.call('GET', '/login');
  assert.ok(flows.some(({ type }: Body) => type === 'm.login.password'));
});

test('1: without OAuth the metadata is not recognised, by which the client takes the legacy way', async () => {
  for (const path of ['v1/auth_metadata', 'unstable/org.matrix.msc2965/auth_metadata']) {
    await stranger.refused('GET', `/_matrix/client/${path}`, [404, 'M_UNRECOGNIZED']);
  }
});

test('2, 3: a person signs in by the password, and the client asks who it is', async () => {
  const wrong = {
    type: 'm.login.password',
    identifier: { type: 'm.id.user', user: 'agnes' },
    password: 'wrong',
  };
  const refusal = await stranger.try('POST', '/login', wrong);
  assert.deepEqual([refusal.status, refusal.body.errcode], [403, 'M_FORBIDDEN']);
  browser = await signInOnWeb(server, 'agnes', account.password);
  const {
    user_id: userId,
    device_id: deviceId,
    is_guest: isGuest,
  } = await browser.call('GET', '/account/whoami');
  assert.deepEqual([userId, deviceId], [account.userId, browser.deviceId]);
  assert.notEqual(isGuest, true);
  assert.deepEqual((await browser.call('GET', '/_matrix/client/versions')).versions, VERSIONS);
  await new Browser(server, { userId, deviceId, token: 'old' }).refused('GET', '/account/whoami', [
    401,
    'M_UNKNOWN_TOKEN',
  ]);
});

test('4: the client starts', async () => {
  const user = encodeURIComponent(browser.userId);
  assert.deepEqual(await browser.call('GET', '/voip/turnServer'), {});
  const { global } = await browser.call('GET', '/pushrules/');
  assert.deepEqual(Object.keys(global).sort(), [
    'content',
    'override',
    'postcontent',
    'room',
    'sender',
    'underride',
  ]);
  ({ filter_id: filterId } = await browser.call('POST', `/user/${user}/filter`, FILTER));
  assert.deepEqual(await browser.call('GET', `/user/${user}/filter/${filterId}`), FILTER);
  const { capabilities } = await browser.call('GET', '/capabilities');
  assert.equal(capabilities['m.room_versions'].default, '12');
  assert.equal(capabilities['m.room_versions'].available['12'], 'stable');
  for (const name of ['m.change_password', 'm.set_displayname', 'm.set_avatar_url', 'm.profile_fields']) {
    assert.equal(capabilities[name].enabled, true, name);
  }
  assert.equal(capabilities['m.3pid_changes'].enabled, false);
  assert.equal(capabilities['m.get_login_token'].enabled, true);
  assert.deepEqual(await browser.call('GET', '/thirdparty/protocols'), {});
  assert.equal(typeof (await browser.call('GET', `/profile/${user}`)), 'object');
  assert.deepEqual(await browser.call('GET', '/pushers'), { pushers: [] });
  const { devices } = await browser.call('GET', '/devices');
  const device = devices.find(({ device_id: id }: Body) => id === browser.deviceId);
  assert.equal(device.display_name, 'app.element.io: Firefox on Linux');
  assert.deepEqual(await browser.call('GET', '/account/3pid'), { threepids: [] });
});

test('5: encryption starts: keys go up, and there is neither a backup nor a dehydrated device yet', async () => {
  const signer = deviceSigner(browser);
  const deviceKeys = deviceKeysOf(browser, signer);
  const keyOf = (name: string, more = {}) => ({
    [`signed_curve25519:${name}`]: signedBy({ key: name, ...more }, signer),
  });
  const { one_time_key_counts: counts } = await browser.call('POST', '/keys/upload', {
    device_keys: deviceKeys,
    one_time_keys: { ...keyOf('AAAAAA'), ...keyOf('AAAAAB') },
    fallback_keys: keyOf('AAAAAC', { fallback: true }),
  });
  assert.deepEqual(counts, { signed_curve25519: 2 });
  const query = { device_keys: { [browser.userId]: [] }, timeout: 10_000 };
  const { device_keys: keys } = await browser.call('POST', '/keys/query', query);
  assert.deepEqual(keys[browser.userId][browser.deviceId].keys, deviceKeys.keys);
  await browser.refused('GET', '/room_keys/version', [404, 'M_NOT_FOUND']);
  await browser.refused('GET', PROBE, [404, 'M_NOT_FOUND']);
  const secrets = `/user/${encodeURIComponent(browser.userId)}/account_data/m.secret_storage.default_key`;
  await browser.refused('GET', secrets, [404, 'M_NOT_FOUND']);
  const transports = await browser.call('GET', '/_matrix/client/unstable/org.matrix.msc4143/rtc/transports');
  assert.deepEqual(transports, { rtc_transports: [{ type: 'livekit', livekit_service_url: LIVEKIT }] });
});

test('6: the first sync has what the client needs to show itself, and a long poll is woken by news', async () => {
  const roomId = await account.createRoom({ name: 'Registry' });
  const first = await browser.sync({ filter: filterId });
  assert.deepEqual(first.device_one_time_keys_count, { signed_curve25519: 2 });
  assert.deepEqual(first.device_unused_fallback_key_types, ['signed_curve25519']);
  assert.ok(first.account_data.events.some(({ type }: Body) => type === 'm.push_rules'));
  const room = first.rooms.join[roomId];
  const state: Body[] = room['org.matrix.msc4222.state_after'].events;
  for (const type of ['m.room.create', 'm.room.power_levels', 'm.room.join_rules', 'm.room.name']) {
    assert.ok(
      state.some((event) => event.type === type),
      type,
    );
  }
  assert.equal(room.summary['m.joined_member_count'], 1);
  assert.equal(typeof room.timeline.prev_batch, 'string');
  assert.deepEqual(room.unread_notifications, { highlight_count: 0, notification_count: 0 });

  const poll = browser.sync({
    since: first.next_batch,
    filter: filterId,
    timeout: '30000',
    set_presence: 'online',
  });
  const phone = await login(server, 'agnes', account.password);
  const eventId = await phone.send(roomId, 'from the phone');
  const isNew = ({ rooms }: Body) =>
    rooms?.join?.[roomId]?.timeline.events.some(({ event_id: id }: Body) => id === eventId) === true;
  const news = await poll;
  if (!isNew(news)) await browser.syncUntil(news.next_batch, isNew);
});

test('a client that signed out elsewhere is told so, and whether to keep what it has', async () => {
  await browser.call('POST', '/logout', {});
  const { status, body } = await browser.try('GET', '/sync?timeout=0');
  assert.deepEqual([status, body.errcode], [401, 'M_UNKNOWN_TOKEN']);
  assert.notEqual(body.soft_logout, true);
});
