import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { Browser } from '#test/harness/browser.ts';
import { type Body, register, request, type TestClient } from '#test/harness/client.ts';
import {
  deviceKeysOf,
  oneTimeKey,
  queryKeys,
  untilChanged,
  uploadDeviceKeys,
} from '#test/harness/encryption.ts';
import { startFleet } from '#test/harness/fleet.ts';
import { RoomPeer } from '#test/harness/room-peer.ts';

const fleet = await startFleet(2);
after(() => fleet[Symbol.asyncDispose]());
const [here, there] = [fleet.at(0), fleet.at(1)];

const CLAIM = '/_matrix/federation/v1/user/keys/claim';
const QUERY = '/_matrix/federation/v1/user/keys/query';

async function uploadOneTimeKeys(user: TestClient, from: number, count: number): Promise<void> {
  // Numbers of one length: of one upload no order is specified.
  const keys = Array.from({ length: count }, (_, index) => [
    `signed_curve25519:K${String(from + index).padStart(4, '0')}`,
    oneTimeKey(`value ${from + index}`),
  ]);
  await user.post('/keys/upload', { one_time_keys: Object.fromEntries(keys) });
}

function wanted(user: TestClient): object {
  return { one_time_keys: { [user.userId]: { [user.deviceId]: 'signed_curve25519' } } };
}

/** The names of the keys in an answer. */
function namesIn(answer: Body, user: TestClient): string[] {
  return Object.keys(answer.one_time_keys[user.userId]?.[user.deviceId] ?? {});
}

test('row 151: a one-time key is given out once, in the order of upload, whoever asks, and at last the fallback key', async () => {
  const alice = await register(here);
  const bob = await register(there);
  const carol = await register(there);
  for (let from = 0; from < 180; from += 60) await uploadOneTimeKeys(bob, from, 60);
  await bob.post('/keys/upload', {
    fallback_keys: { 'signed_curve25519:FALL': { ...oneTimeKey('fallback'), fallback: true } },
  });
  const claims = Array.from({ length: 200 }, (_, index) =>
    (index % 2 === 0 ? alice : carol).post('/keys/claim', wanted(bob)),
  );
  const names = (await Promise.all(claims)).flatMap((answer) => namesIn(answer, bob));
  const oneTime = names.filter((name) => name !== 'signed_curve25519:FALL');
  assert.equal(names.length, 200);
  assert.equal(new Set(oneTime).size, 180, 'no key twice');
  assert.equal(names.length - oneTime.length, 20);
  const { device_one_time_keys_count: counts, device_unused_fallback_key_types: unused } = await bob.sync();
  assert.deepEqual([counts, unused], [{ signed_curve25519: 0 }, []]);

  await uploadOneTimeKeys(bob, 500, 1);
  await uploadOneTimeKeys(bob, 400, 1);
  assert.deepEqual(namesIn(await alice.post('/keys/claim', wanted(bob)), bob), ['signed_curve25519:K0500']);
  assert.deepEqual(namesIn(await carol.post('/keys/claim', wanted(bob)), bob), ['signed_curve25519:K0400']);
});

test('no device has more than a thousand keys waiting: what goes beyond is refused, and the others stay', async () => {
  const bob = await register(there);
  for (let from = 0; from < 1_000; from += 200) await uploadOneTimeKeys(bob, from, 200);
  const one = { 'signed_curve25519:MORE': oneTimeKey('more') };
  const { status, body } = await bob.try('POST', '/keys/upload', { one_time_keys: one });
  assert.deepEqual([status, body.errcode], [400, 'M_INVALID_PARAM']);
  assert.deepEqual((await bob.sync()).device_one_time_keys_count, { signed_curve25519: 1_000 });
  await bob.post('/keys/claim', wanted(bob));
  await bob.post('/keys/upload', { one_time_keys: one });
});

test('keys of several servers are asked for at the same time; those that do not answer are named', async () => {
  await using silent = await new RoomPeer(fleet.authority).start();
  silent.script = ({ url }) => (url.includes('/user/keys/') ? () => undefined : undefined);
  const alice = await register(here);
  const bob = await register(there);
  const keys = await uploadDeviceKeys(bob);
  const device_keys = { [bob.userId]: [], [silent.user('x')]: [], '@y:unknown.invalid': [] };
  const answer = await alice.post('/keys/query', { device_keys, timeout: 1_500 });
  assert.deepEqual(answer.device_keys, { [bob.userId]: { [bob.deviceId]: keys } });
  assert.deepEqual(Object.keys(answer.failures).sort(), [silent.name, 'unknown.invalid'].sort());
  const claim = { one_time_keys: { [silent.user('x')]: { D: 'signed_curve25519' } }, timeout: 500 };
  const claimed = await alice.post('/keys/claim', claim);
  assert.deepEqual(claimed.one_time_keys, {});
  assert.deepEqual(Object.keys(claimed.failures), [silent.name]);
});

test('what a server tells of users or devices that it was not asked for, or of others than its own, is left out', async () => {
  await using peer = await new RoomPeer(fleet.authority).start();
  const alice = await register(here);
  const bob = await register(there);
  const real = await uploadDeviceKeys(bob);
  const asked = { userId: peer.user('asked'), deviceId: 'D' };
  const sound = deviceKeysOf(asked);
  const forged = deviceKeysOf(bob);
  peer.script = ({ url }) => {
    if (url.endsWith('/user/keys/query')) {
      return {
        json: {
          device_keys: {
            [asked.userId]: { D: sound, E: sound, F: 'a string', G: { ...sound, device_id: 'G', keys: [] } },
            [peer.user('other')]: { D: deviceKeysOf({ userId: peer.user('other'), deviceId: 'D' }) },
            [bob.userId]: { [bob.deviceId]: forged },
            [alice.userId]: { [alice.deviceId]: deviceKeysOf(alice) },
          },
          master_keys: { [asked.userId]: { user_id: bob.userId, usage: ['master'], keys: {} } },
        },
      };
    }
    if (!url.endsWith('/user/keys/claim')) return undefined;
    const key = oneTimeKey('k');
    return {
      json: {
        one_time_keys: {
          [asked.userId]: {
            D: { 'other:1': key, 'signed_curve25519:1': key, 'signed_curve25519:2': key },
            E: {},
          },
          [bob.userId]: { [bob.deviceId]: { 'signed_curve25519:forged': key } },
        },
      },
    };
  };
  const answer = await queryKeys(alice, [asked.userId, bob.userId]);
  const expected = { [asked.userId]: { D: sound }, [bob.userId]: { [bob.deviceId]: real } };
  assert.deepEqual(answer.device_keys, expected);
  assert.deepEqual([answer.master_keys, answer.failures], [{}, {}]);
  const one_time_keys = {
    [asked.userId]: { D: 'signed_curve25519' },
    [bob.userId]: { [bob.deviceId]: 'signed_curve25519' },
  };
  const claimed = await alice.post('/keys/claim', { one_time_keys });
  assert.deepEqual(claimed.one_time_keys, {
    [asked.userId]: { D: { 'signed_curve25519:1': oneTimeKey('k') } },
  });
});

test('row 89: whatever a client asks for, other servers are asked in the form of the specification, or not at all', async () => {
  await using peer = await new RoomPeer(fleet.authority).start();
  const alice = await register(here);
  const [x, y] = [peer.user('x'), peer.user('y')];
  const asked: [string, object][] = [
    ['query', { device_keys: {} }],
    ['query', { device_keys: { [x]: [] } }],
    ['query', { device_keys: { [x]: ['D', 'D', ''], [y]: ['*'] }, timeout: 1_000, token: 'old' }],
    ['query', { device_keys: { [x]: {} } }],
    ['query', { device_keys: { [x]: [1] } }],
    ['query', { device_keys: { [x]: null } }],
    ['query', { device_keys: { '@no server': [] } }],
    ['query', { device_keys: { [x]: [] }, timeout: 'soon' }],
    ['claim', { one_time_keys: {} }],
    ['claim', { one_time_keys: { [x]: {} } }],
    ['claim', { one_time_keys: { [x]: { D: 'signed_curve25519' }, [y]: { '': '' } } }],
    ['claim', { one_time_keys: { [x]: { D: 5 } } }],
    ['claim', { one_time_keys: { [x]: [] } }],
  ];
  for (const [what, body] of asked) {
    const answer = await alice.try('POST', `/keys/${what}`, body);
    assert.ok([200, 400].includes(answer.status), `${JSON.stringify(body)}: ${answer.status}`);
  }
  const bodies = (what: string) =>
    peer.peer.requests
      .filter(({ url }) => url.endsWith(`/v1/user/keys/${what}`))
      .map(({ body }) => JSON.parse(body));
  assert.deepEqual(bodies('query'), [{ device_keys: { [x]: [] } }, { device_keys: { [x]: [], [y]: [] } }]);
  assert.deepEqual(bodies('claim'), [
    { one_time_keys: { [x]: { D: 'signed_curve25519' }, [y]: { '': '' } } },
  ]);
});

test('row 59: a server is told of our own users only, and not the names of their devices', async () => {
  await using peer = await new RoomPeer(fleet.authority).start();
  const alice = await register(here);
  const bob = await register(there);
  const keys = await uploadDeviceKeys(alice);
  await uploadDeviceKeys(bob);
  await alice.put(`/devices/${alice.deviceId}`, { display_name: "Alice's secret laptop" });
  const body = { device_keys: { [alice.userId]: [], [bob.userId]: [], '@nobody:x': [] } };
  const answer = await peer.request(here, { method: 'POST', path: QUERY, body });
  assert.deepEqual(answer.body.device_keys, { [alice.userId]: { [alice.deviceId]: keys } });
  const path = (userId: string) => `/_matrix/federation/v1/user/devices/${encodeURIComponent(userId)}`;
  const { body: list } = await peer.request(here, { path: path(alice.userId) });
  assert.deepEqual(list.devices, [{ device_id: alice.deviceId, keys }]);
  assert.equal(list.user_id, alice.userId);
  assert.ok(Number.isSafeInteger(list.stream_id) && list.stream_id > 0);
  const nobody = await peer.request(here, { path: path(`@nobody:${here.serverName}`) });
  assert.deepEqual([nobody.status, nobody.body.devices], [200, []]);
  assert.equal((await peer.request(here, { path: path(bob.userId) })).status, 400);
  const claim = { one_time_keys: { [bob.userId]: { [bob.deviceId]: 'signed_curve25519' } } };
  assert.equal((await peer.request(here, { method: 'POST', path: CLAIM, body: claim })).status, 400);
  for (const wrong of [{}, { device_keys: [] }, { device_keys: { [alice.userId]: 'all' } }]) {
    const { status } = await peer.request(here, { method: 'POST', path: QUERY, body: wrong });
    assert.equal(status, 400, JSON.stringify(wrong));
  }
  // Our own users are told the name.
  const { device_keys: seen } = await queryKeys(alice, [alice.userId]);
  const unsigned = { device_display_name: "Alice's secret laptop" };
  assert.deepEqual(seen[alice.userId][alice.deviceId], { ...keys, unsigned });
});

test('other servers learn the names of devices where the operator has said so, and only there', async () => {
  await using telling = await startFleet(2, { federationDeviceNames: true });
  await using peer = await new RoomPeer(telling.authority).start();
  const alice = await register(telling.at(0));
  const keys = await uploadDeviceKeys(alice);
  await alice.put(`/devices/${alice.deviceId}`, { display_name: 'Phone' });
  const named = { ...keys, unsigned: { device_display_name: 'Phone' } };
  const body = { device_keys: { [alice.userId]: [] } };
  const answer = await peer.request(telling.at(0), { method: 'POST', path: QUERY, body });
  assert.deepEqual(answer.body.device_keys, { [alice.userId]: { [alice.deviceId]: named } });
  const bob = await register(telling.at(1));
  const roomId = await alice.createRoom();
  await bob.join(roomId, [telling.at(0).serverName]);
  const { device_keys: seen } = await queryKeys(bob, [alice.userId]);
  assert.deepEqual(seen[alice.userId][alice.deviceId], named);
  // Who shares a room hears of a new name.
  const { next_batch: since } = await bob.sync();
  await alice.put(`/devices/${alice.deviceId}`, { display_name: 'Old phone' });
  await bob.syncUntil((answer: Body) => answer.device_lists?.changed?.includes(alice.userId), { since });
  const { device_keys: renamed } = await queryKeys(bob, [alice.userId]);
  assert.equal(renamed[alice.userId][alice.deviceId].unsigned.device_display_name, 'Old phone');
});

test('a name that a device is given on the page of the account is told to other servers, where they learn names', async () => {
  await using telling = await startFleet(2, { federationDeviceNames: true });
  const alice = await register(telling.at(0));
  const bob = await register(telling.at(1));
  await uploadDeviceKeys(alice);
  const roomId = await alice.createRoom();
  await bob.join(roomId, [telling.at(0).serverName]);
  const { next_batch: since } = await bob.sync();
  const browser = new Browser(telling.at(0));
  const view = `/account/devices/view?device_id=${alice.deviceId}`;
  const signIn = await browser.get(`/sign-in?next=${encodeURIComponent(view)}`);
  const who = { name: alice.userId, password: alice.password };
  const page = await browser.submit(signIn, who, { action: '/sign-in' });
  await browser.submit(page, { name: 'Phone' }, { action: '/view' });
  await untilChanged(bob, alice.userId, since);
  const { device_keys: seen } = await queryKeys(bob, [alice.userId]);
  assert.equal(seen[alice.userId][alice.deviceId].unsigned?.device_display_name, 'Phone');
});

test('OpenID: a token tells another service who the user is, until it expires or the account ends', async () => {
  await using peer = await new RoomPeer(fleet.authority).start();
  const alice = await register(here);
  const ask = `/user/${encodeURIComponent(alice.userId)}/openid/request_token`;
  const token = await alice.post(ask);
  assert.deepEqual(
    [token.token_type, token.matrix_server_name, token.expires_in],
    ['Bearer', here.serverName, 3600],
  );
  const path = (accessToken: string) => `/_matrix/federation/v1/openid/userinfo?access_token=${accessToken}`;
  const info = await peer.request(here, { path: path(token.access_token) });
  assert.deepEqual([info.status, info.body], [200, { sub: alice.userId }]);
  for (const wrong of ['', 'nonsense', alice.accessToken]) {
    const { status, body } = await peer.request(here, { path: path(wrong) });
    assert.deepEqual([status, body.errcode], [401, wrong === '' ? 'M_MISSING_TOKEN' : 'M_UNKNOWN_TOKEN']);
  }
  const other = await register(here);
  assert.equal((await other.try('POST', ask, {})).status, 403);
  const whoami = await request(here, 'GET', '/_matrix/client/v3/account/whoami', {
    token: token.access_token,
  });
  assert.equal(whoami.status, 401, 'it is good for nothing else');
  const later = await alice.post(ask);
  await here.ctx.db.write('test', (tx) =>
    tx.run({ name: '', text: 'UPDATE openid_tokens SET expires_ts = 1' }),
  );
  assert.equal((await peer.request(here, { path: path(later.access_token) })).status, 401);
  const last = await alice.post(ask);
  const auth = { type: 'm.login.password', identifier: { type: 'm.id.user', user: alice.userId } };
  await alice.post('/account/deactivate', { auth: { ...auth, password: alice.password } });
  assert.equal((await peer.request(here, { path: path(last.access_token) })).status, 401);
});
