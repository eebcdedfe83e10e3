/** https://spec.matrix.org/v1.19/client-server-api/#account-moderation */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createAccount } from '#server/auth/accounts.ts';
import { type Answer, login, register, request, type TestClient } from '#test/harness/client.ts';
import { startServer, type TestServer } from '#test/harness/server.ts';

const LOCK = '/_matrix/client/v1/admin/lock';
const SUSPEND = '/_matrix/client/v1/admin/suspend';

function assertError(answer: Answer, status: number, errcode: string): void {
  assert.deepEqual([answer.status, answer.body.errcode], [status, errcode], JSON.stringify(answer.body));
}

async function administrator(server: TestServer, localpart = 'root'): Promise<TestClient> {
  await createAccount(server.ctx, { localpart, password: 'secret', isAdmin: true });
  return login(server, localpart, 'secret');
}

function confirmation(user: TestClient): object {
  const identifier = { type: 'm.id.user', user: user.userId };
  return { auth: { type: 'm.login.password', identifier, password: user.password } };
}

test('a locked user can do nothing but sign out, on any device, and is as before when unlocked', async () => {
  await using server = await startServer();
  const root = await administrator(server);
  const alice = await register(server);
  const second = await login(server, alice.userId, alice.password);
  assert.deepEqual(await root.get(`${LOCK}/${alice.userId}`), { locked: false });
  assert.deepEqual(await root.put(`${LOCK}/${alice.userId}`, { locked: true }), { locked: true });
  assert.deepEqual(await root.get(`${LOCK}/${alice.userId}`), { locked: true });
  for (const path of ['/account/whoami', '/sync', '/devices', '/publicRooms?server=x', '/capabilities']) {
    const refused = await alice.try('GET', path);
    assertError(refused, 401, 'M_USER_LOCKED');
    assert.equal(refused.body.soft_logout, true);
  }
  const identifier = { type: 'm.id.user', user: alice.userId };
  const again = { type: 'm.login.password', identifier, password: alice.password };
  assertError(
    await request(server, 'POST', '/_matrix/client/v3/login', { body: again }),
    401,
    'M_USER_LOCKED',
  );
  await second.post('/logout');
  assertError(await second.try('GET', '/account/whoami'), 401, 'M_UNKNOWN_TOKEN');
  await server.restart();
  assertError(await alice.try('GET', '/account/whoami'), 401, 'M_USER_LOCKED');
  await root.put(`${LOCK}/${alice.userId}`, { locked: false });
  await alice.get('/account/whoami');
});

test('what was given out before an account was locked signs nobody in: refresh and login tokens', async () => {
  await using server = await startServer();
  const root = await administrator(server);
  const alice = await register(server);
  const { login_token: token } = await alice.post('/_matrix/client/v1/login/get_token', confirmation(alice));
  const identifier = { type: 'm.id.user', user: alice.userId };
  const body = { type: 'm.login.password', identifier, password: alice.password, refresh_token: true };
  const session = await request(server, 'POST', '/_matrix/client/v3/login', { body });
  await root.put(`${LOCK}/${alice.userId}`, { locked: true });
  const refreshing = { refresh_token: session.body.refresh_token };
  const refreshed = await request(server, 'POST', '/_matrix/client/v3/refresh', { body: refreshing });
  assertError(refreshed, 401, 'M_USER_LOCKED');
  const byToken = { type: 'm.login.token', token };
  const signedIn = await request(server, 'POST', '/_matrix/client/v3/login', { body: byToken });
  assertError(signedIn, 401, 'M_USER_LOCKED');
  await root.put(`${LOCK}/${alice.userId}`, { locked: false });
  const after = await request(server, 'POST', '/_matrix/client/v3/refresh', { body: refreshing });
  assert.equal(after.status, 200);
});

test('a sync that waits ends when its user is locked, or its device signed out', async () => {
  await using server = await startServer();
  const root = await administrator(server);
  const alice = await register(server);
  const second = await login(server, alice.userId, alice.password);
  const waitOf = async (user: TestClient) => {
    const { next_batch: since } = await user.sync();
    return { answer: user.try('GET', `/sync?timeout=60000&since=${since}`) };
  };
  const first = await waitOf(second);
  await alice.post('/delete_devices', { devices: [second.deviceId], ...confirmation(alice) });
  assertError(await first.answer, 401, 'M_UNKNOWN_TOKEN');
  const other = await waitOf(alice);
  await root.put(`${LOCK}/${alice.userId}`, { locked: true });
  assertError(await other.answer, 401, 'M_USER_LOCKED');
});

test('a suspended user reads, leaves, and takes back what they wrote; nothing else', async () => {
  await using server = await startServer();
  const root = await administrator(server);
  const alice = await register(server);
  const bob = await register(server);
  const roomId = await bob.createRoom();
  const other = await bob.createRoom();
  await alice.join(roomId);
  const own = await alice.send(roomId, 'mine');
  const bobs = await bob.send(roomId, 'of another');
  const mine = await alice.createRoom();
  await bob.join(mine);
  const inMine = await bob.send(mine, 'where she may redact');
  await bob.post(`/rooms/${other}/invite`, { user_id: alice.userId });
  assert.deepEqual(await root.put(`${SUSPEND}/${alice.userId}`, { suspended: true }), { suspended: true });
  assert.deepEqual(await root.get(`${SUSPEND}/${alice.userId}`), { suspended: true });

  await alice.sync();
  await alice.get(`/rooms/${roomId}/messages?dir=b`);
  await alice.put(`/rooms/${roomId}/redact/${own}/t1`, {});
  await alice.post(`/rooms/${roomId}/receipt/m.read/${bobs}`);
  await alice.post(`/rooms/${other}/leave`);
  await login(server, alice.userId, alice.password);
  const toSelf = { messages: { [alice.userId]: { '*': { method: 'x' } } } };
  await alice.put('/sendToDevice/m.key.verification.start/t2', toSelf);
  const message = { msgtype: 'm.text', body: 'no' };
  const refused: [string, string, object][] = [
    ['PUT', `/rooms/${roomId}/send/m.room.message/t3`, message],
    ['PUT', `/rooms/${mine}/state/m.room.name`, { name: 'no' }],
    ['PUT', `/rooms/${mine}/redact/${inMine}/t4`, {}],
    ['POST', `/rooms/${other}/join`, {}],
    ['POST', `/join/${other}`, {}],
    ['POST', `/knock/${other}`, {}],
    ['POST', `/rooms/${mine}/invite`, { user_id: bob.userId }],
    ['POST', '/createRoom', {}],
    ['PUT', `/profile/${alice.userId}/displayname`, { displayname: 'no' }],
    ['PUT', `/presence/${alice.userId}/status`, { presence: 'online' }],
    ['PUT', `/sendToDevice/m.x/t5`, { messages: { [bob.userId]: { '*': {} } } }],
  ];
  for (const [method, path, body] of refused) {
    assertError(await alice.try(method, path, body), 403, 'M_USER_SUSPENDED');
  }
  await root.put(`${SUSPEND}/${alice.userId}`, { suspended: false });
  await alice.send(roomId, 'back again');
  await root.put(`${SUSPEND}/${alice.userId}`, { suspended: true });
  await alice.post('/account/deactivate', confirmation(alice));
});

test('only administrators lock and suspend, nobody themselves, and no other administrator', async () => {
  await using server = await startServer();
  const root = await administrator(server);
  const other = await administrator(server, 'other');
  const alice = await register(server);
  const bob = await register(server);
  await bob.post('/account/deactivate', confirmation(bob));
  for (const [path, key] of [
    [LOCK, 'locked'],
    [SUSPEND, 'suspended'],
  ] as const) {
    const body = { [key]: true };
    for (const target of [root.userId, alice.userId, '@nobody:kurir.test', '@a:elsewhere.test']) {
      assertError(await alice.try('GET', `${path}/${target}`), 403, 'M_FORBIDDEN');
      assertError(await alice.try('PUT', `${path}/${target}`, body), 403, 'M_FORBIDDEN');
    }
    assertError(await root.try('PUT', `${path}/${root.userId}`, body), 403, 'M_FORBIDDEN');
    assertError(await root.try('PUT', `${path}/${other.userId}`, body), 403, 'M_FORBIDDEN');
    assertError(await root.try('GET', `${path}/${other.userId}`), 403, 'M_FORBIDDEN');
    assertError(await root.try('PUT', `${path}/@nobody:kurir.test`, body), 404, 'M_NOT_FOUND');
    assertError(await root.try('GET', `${path}/${bob.userId}`), 404, 'M_NOT_FOUND');
    assertError(await root.try('PUT', `${path}/${bob.userId}`, body), 404, 'M_NOT_FOUND');
    assertError(await root.try('GET', `${path}/@a:elsewhere.test`), 400, 'M_INVALID_PARAM');
    assertError(await root.try('PUT', `${path}/nonsense`, body), 400, 'M_INVALID_PARAM');
    assertError(await root.try('PUT', `${path}/${alice.userId}`, {}), 400, 'M_MISSING_PARAM');
    assertError(await root.try('PUT', `${path}/${alice.userId}`, { [key]: 'yes' }), 400, 'M_BAD_JSON');
  }
  const capability = { lock: true, suspend: true };
  assert.deepEqual((await root.get('/capabilities')).capabilities['m.account_moderation'], capability);
  assert.equal((await alice.get('/capabilities')).capabilities['m.account_moderation'], undefined);
});

test('whois tells users of their own devices, and administrators of those of everybody', async () => {
  await using server = await startServer();
  const root = await administrator(server);
  const alice = await register(server);
  const bob = await register(server);
  await alice.get('/account/whoami');
  const known = await alice.get(`/admin/whois/${alice.userId}`);
  assert.equal(known.user_id, alice.userId);
  assert.deepEqual(Object.keys(known.devices), [alice.deviceId]);
  const [connection] = known.devices[alice.deviceId].sessions[0].connections;
  assert.equal(connection.ip, '127.0.0.1');
  assert.equal(typeof connection.last_seen, 'number');
  assert.equal(typeof connection.user_agent, 'string');
  assert.deepEqual(await root.get(`/admin/whois/${alice.userId}`), known);
  assertError(await bob.try('GET', `/admin/whois/${alice.userId}`), 403, 'M_FORBIDDEN');
  assertError(await bob.try('GET', '/admin/whois/@nobody:kurir.test'), 403, 'M_FORBIDDEN');
  assertError(await root.try('GET', '/admin/whois/@nobody:kurir.test'), 404, 'M_NOT_FOUND');
  assertError(await root.try('GET', '/admin/whois/@a:elsewhere.test'), 400, 'M_INVALID_PARAM');
});
