/** https://spec.matrix.org/v1.19/client-server-api/#refreshing-access-tokens */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Answer, register, request, type TestClient } from '#test/harness/client.ts';
import { startServer, type TestServer } from '#test/harness/server.ts';

const HOUR = 3_600_000;
const MINUTE = 60_000;

function testClock() {
  let now = Date.now();
  return {
    now: () => now,
    advance: (ms: number) => {
      now += ms;
    },
  };
}

function assertError(answer: Answer, status: number, errcode: string, softLogout?: boolean): void {
  assert.deepEqual([answer.status, answer.body.errcode], [status, errcode], JSON.stringify(answer.body));
  if (softLogout !== undefined) assert.equal(answer.body.soft_logout, softLogout);
}

function signIn(server: TestServer, user: TestClient, more: object = { refresh_token: true }) {
  const identifier = { type: 'm.id.user', user: user.userId };
  const body = { type: 'm.login.password', identifier, password: user.password, ...more };
  return request(server, 'POST', '/_matrix/client/v3/login', { body });
}

function refresh(server: TestServer, token: unknown): Promise<Answer> {
  return request(server, 'POST', '/_matrix/client/v3/refresh', { body: { refresh_token: token } });
}

function whoami(server: TestServer, token: string): Promise<Answer> {
  return request(server, 'GET', '/_matrix/client/v3/account/whoami', { token });
}

test('who asks for it gets a token that expires, and a refresh token; others get one that stays', async () => {
  const clock = testClock();
  await using server = await startServer({ clock });
  const alice = await register(server);
  const plain = await signIn(server, alice, {});
  assert.deepEqual([plain.body.refresh_token, plain.body.expires_in_ms], [undefined, undefined]);
  const { body } = await signIn(server, alice);
  assert.equal(body.expires_in_ms, HOUR);
  assert.equal((await whoami(server, body.access_token)).status, 200);
  clock.advance(HOUR - 1);
  assert.equal((await whoami(server, body.access_token)).status, 200);
  clock.advance(1);
  assertError(await whoami(server, body.access_token), 401, 'M_UNKNOWN_TOKEN', true);
  assert.equal((await whoami(server, plain.body.access_token)).status, 200);
  const refreshed = await refresh(server, body.refresh_token);
  assert.equal(refreshed.status, 200);
  const me = await whoami(server, refreshed.body.access_token);
  assert.deepEqual(me.body, { user_id: alice.userId, device_id: body.device_id, is_guest: false });
});

test('registration gives refresh tokens too', async () => {
  await using server = await startServer({ accessTokenLifetime: 5 * MINUTE });
  const body = { username: 'new', password: 'x', refresh_token: true, auth: { type: 'm.login.dummy' } };
  const made = await request(server, 'POST', '/_matrix/client/v3/register', { body });
  assert.equal(made.body.expires_in_ms, 5 * MINUTE);
  assert.equal((await refresh(server, made.body.refresh_token)).status, 200);
});

test('the old refresh token stays good until the new access token is used', async () => {
  const clock = testClock();
  await using server = await startServer({ clock });
  const { body: first } = await signIn(server, await register(server));
  const { body: lost } = await refresh(server, first.refresh_token);
  assert.equal((await whoami(server, first.access_token)).status, 200);
  const { body: second } = await refresh(server, first.refresh_token);
  assertError(await whoami(server, lost.access_token), 401, 'M_UNKNOWN_TOKEN', true);
  assertError(await refresh(server, lost.refresh_token), 401, 'M_UNKNOWN_TOKEN', true);
  assert.equal((await whoami(server, second.access_token)).status, 200);
  assertError(await refresh(server, first.refresh_token), 401, 'M_UNKNOWN_TOKEN', true);
  assertError(await whoami(server, first.access_token), 401, 'M_UNKNOWN_TOKEN', true);
  await server.restart();
  assertError(await refresh(server, first.refresh_token), 401, 'M_UNKNOWN_TOKEN', true);
  assert.equal((await refresh(server, second.refresh_token)).status, 200);
});

test('the old refresh token stays good until the new refresh token is used', async () => {
  await using server = await startServer();
  const { body: first } = await signIn(server, await register(server));
  const { body: second } = await refresh(server, first.refresh_token);
  const { body: third } = await refresh(server, second.refresh_token);
  assertError(await refresh(server, first.refresh_token), 401, 'M_UNKNOWN_TOKEN', true);
  assertError(await whoami(server, first.access_token), 401, 'M_UNKNOWN_TOKEN', true);
  assert.equal((await whoami(server, third.access_token)).status, 200);
});

test('row 160: a refresh token that is used again long after it was spent ends all tokens of its device, softly', async () => {
  const clock = testClock();
  await using server = await startServer({ clock });
  const alice = await register(server);
  const { body: first } = await signIn(server, alice);
  const { body: second } = await refresh(server, first.refresh_token);
  assert.equal((await whoami(server, second.access_token)).status, 200);
  clock.advance(5_000);
  assertError(await refresh(server, first.refresh_token), 401, 'M_UNKNOWN_TOKEN', true);
  assert.equal((await whoami(server, second.access_token)).status, 200);
  clock.advance(MINUTE);
  assertError(await refresh(server, first.refresh_token), 401, 'M_UNKNOWN_TOKEN', true);
  assertError(await whoami(server, second.access_token), 401, 'M_UNKNOWN_TOKEN', true);
  assertError(await refresh(server, second.refresh_token), 401, 'M_UNKNOWN_TOKEN', true);
  await alice.get('/account/whoami');
  const { devices } = await alice.get('/devices');
  assert.equal(devices.length, 2);
});

test('signing out, signing in again on the device, and deactivation end refresh tokens', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const first = (await signIn(server, alice, { refresh_token: true, device_id: 'PHONE' })).body;
  const second = (await signIn(server, alice, { refresh_token: true, device_id: 'PHONE' })).body;
  assertError(await refresh(server, first.refresh_token), 401, 'M_UNKNOWN_TOKEN');
  await request(server, 'POST', '/_matrix/client/v3/logout', { token: second.access_token });
  assertError(await whoami(server, second.access_token), 401, 'M_UNKNOWN_TOKEN', false);
  assertError(await refresh(server, second.refresh_token), 401, 'M_UNKNOWN_TOKEN');
  const third = (await signIn(server, alice)).body;
  const auth = { type: 'm.login.password', identifier: { type: 'm.id.user', user: alice.userId } };
  await alice.post('/account/deactivate', { auth: { ...auth, password: alice.password } });
  assertError(await refresh(server, third.refresh_token), 401, 'M_UNKNOWN_TOKEN');
  assertError(await whoami(server, third.access_token), 401, 'M_UNKNOWN_TOKEN');
});

test('a device that was not used for as long as refresh tokens last signs in again', async () => {
  const clock = testClock();
  await using server = await startServer({ clock, refreshTokenLifetime: 2 * HOUR });
  const { body } = await signIn(server, await register(server));
  clock.advance(HOUR);
  const { body: second } = await refresh(server, body.refresh_token);
  clock.advance(2 * HOUR);
  assertError(await refresh(server, second.refresh_token), 401, 'M_UNKNOWN_TOKEN', true);
});

test('transaction ids are those of the device, whatever token it has', async () => {
  await using server = await startServer();
  const { body } = await signIn(server, await register(server));
  const send = async (token: string, roomId: string) =>
    request(server, 'PUT', `/_matrix/client/v3/rooms/${roomId}/send/m.room.message/one`, {
      token,
      body: { msgtype: 'm.text', body: 'once' },
    });
  const made = await request(server, 'POST', '/_matrix/client/v3/createRoom', {
    token: body.access_token,
    body: {},
  });
  const first = await send(body.access_token, made.body.room_id);
  const { body: next } = await refresh(server, body.refresh_token);
  const again = await send(next.access_token, made.body.room_id);
  assert.equal(again.body.event_id, first.body.event_id);
  const sync = await request(server, 'GET', '/_matrix/client/v3/sync', { token: next.access_token });
  const events = sync.body.rooms.join[made.body.room_id].timeline.events as {
    event_id: string;
    unsigned: { transaction_id?: string };
  }[];
  const shown = events.find((event) => event.event_id === first.body.event_id);
  assert.equal(shown?.unsigned.transaction_id, 'one');
});

test('what is no refresh token is refused, with the reason', async () => {
  await using server = await startServer();
  const alice = await register(server);
  assertError(await refresh(server, undefined), 400, 'M_MISSING_PARAM');
  assertError(await refresh(server, 7), 400, 'M_BAD_JSON');
  assertError(await refresh(server, ''), 401, 'M_UNKNOWN_TOKEN', true);
  assertError(await refresh(server, 'made up'), 401, 'M_UNKNOWN_TOKEN', true);
  assertError(await refresh(server, alice.accessToken), 401, 'M_UNKNOWN_TOKEN', true);
  const { body } = await signIn(server, alice);
  assertError(await whoami(server, body.refresh_token), 401, 'M_UNKNOWN_TOKEN');
});

test('ten clients that refresh with one token at once are all answered, and one answer stays good', async () => {
  await using server = await startServer();
  const { body } = await signIn(server, await register(server));
  const answers = await Promise.all(Array.from({ length: 10 }, () => refresh(server, body.refresh_token)));
  assert.deepEqual([...new Set(answers.map((answer) => answer.status))], [200]);
  const states = await Promise.all(answers.map((answer) => whoami(server, answer.body.access_token)));
  assert.equal(states.filter((answer) => answer.status === 200).length, 1);
});
