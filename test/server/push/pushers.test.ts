import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { test } from 'node:test';
import * as waitingPushes from '#storage/waiting-pushes.ts';
import { type Answer, login, register, type TestClient } from '#test/harness/client.ts';
import { startGateway } from '#test/harness/push-gateway.ts';
import { startServer } from '#test/harness/server.ts';
import { until } from '#test/harness/until.ts';

const PUSHER = {
  kind: 'http',
  app_id: 'com.example.app.ios',
  pushkey: 'a key',
  app_display_name: 'Mat Rix',
  device_display_name: 'iPhone 9',
  profile_tag: 'xxyyzz',
  lang: 'en',
  data: { url: 'https://push.example.org/_matrix/push/v1/notify', format: 'event_id_only', custom: [1] },
};

/** As it is read. */
const SHOWN = { ...PUSHER, 'org.matrix.msc3881.enabled': true };

function assertError(answer: Answer, status: number, errcode: string): void {
  assert.deepEqual([answer.status, answer.body.errcode], [status, errcode], JSON.stringify(answer.body));
}

async function pushersOf(user: TestClient): Promise<unknown[]> {
  return (await user.get('/pushers')).pushers;
}

const set = (user: TestClient, more: object = {}) => user.post('/pushers/set', { ...PUSHER, ...more });

test('a pusher is set, read as it was set, changed and deleted', async () => {
  await using server = await startServer();
  const alice = await register(server, 'alice');
  const shown = { ...SHOWN, 'org.matrix.msc3881.device_id': alice.deviceId };
  assert.deepEqual(await pushersOf(alice), []);
  await set(alice);
  assert.deepEqual(await pushersOf(alice), [shown]);
  await set(alice, { lang: 'de', profile_tag: undefined });
  const { profile_tag: _, ...changed } = { ...shown, lang: 'de' };
  assert.deepEqual(await pushersOf(alice), [changed]);
  await set(alice, { pushkey: 'b\0\\key' });
  await server.restart();
  assert.equal((await pushersOf(alice)).length, 2);
  const { app_id, pushkey } = PUSHER;
  await alice.post('/pushers/set', { app_id, pushkey, kind: null });
  assert.deepEqual(await pushersOf(alice), [{ ...shown, pushkey: 'b\0\\key' }]);
  await alice.post('/pushers/set', { app_id, pushkey, kind: null });
});

test('without append the pusher of another user with the same key ends, with it both stay', async () => {
  await using server = await startServer();
  const alice = await register(server, 'alice');
  const bob = await register(server, 'bob');
  await set(alice);
  await set(bob, { append: true });
  assert.equal((await pushersOf(alice)).length, 1);
  await set(bob, { app_id: 'other' });
  await set(bob, { pushkey: 'other' });
  assert.equal((await pushersOf(alice)).length, 1);
  await set(bob);
  assert.deepEqual(await pushersOf(alice), []);
  assert.equal((await pushersOf(bob)).length, 3);
  // Nobody deletes what is not theirs.
  await alice.post('/pushers/set', { app_id: PUSHER.app_id, pushkey: PUSHER.pushkey, kind: null });
  assert.equal((await pushersOf(bob)).length, 3);
});

test('what is no pusher is refused', async () => {
  await using server = await startServer();
  const alice = await register(server, 'alice');
  const url = (text: unknown) => ({ data: { url: text } });
  const path = '/_matrix/push/v1/notify';
  const cases: readonly [more: object, status: number, errcode: string][] = [
    [{ kind: undefined }, 400, 'M_MISSING_PARAM'],
    // Without a mail server, and without Web Push.
    [{ kind: 'email' }, 400, 'M_INVALID_PARAM'],
    [{ kind: 'webpush' }, 400, 'M_INVALID_PARAM'],
    [{ 'org.matrix.msc3881.enabled': 'no' }, 400, 'M_BAD_JSON'],
    [{ kind: 5 }, 400, 'M_BAD_JSON'],
    [{ app_id: undefined }, 400, 'M_MISSING_PARAM'],
    [{ app_id: 'x'.repeat(65) }, 400, 'M_INVALID_PARAM'],
    [{ pushkey: '' }, 400, 'M_INVALID_PARAM'],
    [{ pushkey: 'ä'.repeat(257) }, 400, 'M_INVALID_PARAM'],
    [{ lang: undefined, data: undefined }, 400, 'M_MISSING_PARAM'],
    [{ lang: 5 }, 400, 'M_BAD_JSON'],
    [{ app_display_name: 'x'.repeat(501) }, 400, 'M_INVALID_PARAM'],
    [{ append: 'yes' }, 400, 'M_BAD_JSON'],
    [{ data: [] }, 400, 'M_BAD_JSON'],
    [{ data: {} }, 400, 'M_MISSING_PARAM'],
    [url(5), 400, 'M_MISSING_PARAM'],
    [url('push.example.org'), 400, 'M_INVALID_PARAM'],
    [url(`http://push.example.org${path}`), 400, 'M_INVALID_PARAM'],
    [url(`file://${path}`), 400, 'M_INVALID_PARAM'],
    [url('https://push.example.org/notify'), 400, 'M_INVALID_PARAM'],
    [url(`https://push.example.org${path}/x`), 400, 'M_INVALID_PARAM'],
    [url(`https://push.example.org${path}?x=1`), 400, 'M_INVALID_PARAM'],
    [url(`https://user:secret@push.example.org${path}`), 400, 'M_INVALID_PARAM'],
    [{ data: { ...PUSHER.data, more: 'x'.repeat(9_000) } }, 413, 'M_TOO_LARGE'],
  ];
  for (const [more, status, errcode] of cases)
    assertError(await alice.try('POST', '/pushers/set', { ...PUSHER, ...more }), status, errcode);
  const missing = await alice.try('POST', '/pushers/set', { ...PUSHER, lang: null, data: null });
  assert.equal(missing.body.error, 'Missing parameters: lang, data');
  assert.deepEqual(await pushersOf(alice), []);
});

test('MSC3881: another device switches a pusher off and on, which stays that of its device; off, nothing is told', async () => {
  await using gateway = await startGateway();
  await using server = await startServer(gateway.options);
  const [alice, bob] = [await register(server, 'alice'), await register(server, 'bob')];
  const desk = await login(server, 'bob', bob.password);
  const roomId = await alice.createRoom();
  await bob.join(roomId);
  await gateway.pusherOf(bob);
  const first = await alice.send(roomId, 'told');
  await gateway.untilTold(first);
  const [seen] = (await desk.get('/pushers')).pushers;
  const toggle = (enabled: boolean) =>
    desk.post('/pushers/set', { ...seen, append: true, 'org.matrix.msc3881.enabled': enabled });
  await toggle(false);
  const [off] = (await bob.get('/pushers')).pushers;
  assert.equal(off['org.matrix.msc3881.enabled'], false);
  assert.equal(off['org.matrix.msc3881.device_id'], bob.deviceId);
  await alice.send(roomId, 'not told');
  // What it is not told of is not kept for it either.
  await until(async () => (await waitingPushes.users(server.ctx.db)).length === 0, 'nothing waits');
  await server.restart();
  await alice.send(roomId, 'not told');
  await toggle(true);
  const last = await alice.send(roomId, 'told');
  await gateway.untilTold(last);
  assert.deepEqual(gateway.events, [first, last]);
  await desk.post('/logout');
  assert.equal((await pushersOf(bob)).length, 1);
  // Set by another device without a word of that, it is the other device's from then on.
  const tablet = await login(server, 'bob', bob.password);
  await gateway.pusherOf(tablet);
  await tablet.post('/logout');
  assert.deepEqual(await pushersOf(bob), []);
});

test('a user has at most a hundred pushers', async () => {
  await using server = await startServer();
  const alice = await register(server, 'alice');
  for (let count = 0; count < 100; count++) await set(alice, { pushkey: `key ${count}` });
  assertError(await alice.try('POST', '/pushers/set', { ...PUSHER, pushkey: 'more' }), 413, 'M_TOO_LARGE');
  await set(alice, { pushkey: 'key 5', lang: 'de' });
  assert.equal((await pushersOf(alice)).length, 100);
});

// Complement: TestChangePasswordPushers
test('a pusher ends with the sign-out of its device, or with a change of the password elsewhere', async () => {
  await using server = await startServer();
  const alice = await register(server, 'alice');
  const phone = await login(server, 'alice', alice.password);
  await set(phone);
  await set(alice, { pushkey: 'own' });
  await phone.post('/logout');
  const own = { ...SHOWN, pushkey: 'own', 'org.matrix.msc3881.device_id': alice.deviceId };
  assert.deepEqual(await pushersOf(alice), [own]);

  const tablet = await login(server, 'alice', alice.password);
  await set(tablet);
  const identifier = { type: 'm.id.user', user: 'alice' };
  const auth = { type: 'm.login.password', identifier, password: alice.password };
  await alice.post('/account/password', { auth, new_password: 'another password', logout_devices: true });
  assert.deepEqual(await pushersOf(alice), [own]);
  await alice.post('/logout/all');
  const again = await login(server, 'alice', 'another password');
  assert.deepEqual(await pushersOf(again), []);
});

test('row 32: wherever a pusher points to, setting and reading it connects to nobody', async () => {
  const canary = createServer();
  let connections = 0;
  canary.on('connection', (socket) => {
    connections += 1;
    socket.destroy();
  });
  canary.listen(0, '127.0.0.1');
  await once(canary, 'listening');
  try {
    const { port } = canary.address() as AddressInfo;
    await using server = await startServer({ federationAllowPrivate: false });
    const alice = await register(server, 'alice');
    const hosts = [
      '127.0.0.1',
      '127.1',
      '2130706433',
      '0x7f.1',
      '0',
      'localhost',
      '[::1]',
      '[::ffff:127.0.0.1]',
    ];
    for (const host of hosts) {
      const data = { url: `https://${host}:${port}/_matrix/push/v1/notify` };
      const { status } = await alice.try('POST', '/pushers/set', { ...PUSHER, pushkey: host, data });
      assert.ok(status === 200 || status === 400, `${host}: ${status}`);
    }
    await alice.get('/pushers');
    const bob = await register(server, 'bob');
    const roomId = await bob.createRoom({ invite: [alice.userId] });
    await alice.join(roomId);
    await bob.send(roomId, 'alice is told');
    await alice.syncUntil(({ rooms }) => JSON.stringify(rooms ?? {}).includes('alice is told'));
    assert.equal(connections, 0);
  } finally {
    canary.close();
  }
});
