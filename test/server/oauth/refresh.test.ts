/** https://spec.matrix.org/v1.19/client-server-api/#refresh-token-grant */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { deactivate } from '#server/auth/accounts.ts';
import { setLocked, setSuspended } from '#server/auth/moderation.ts';
import { register, request } from '#test/harness/client.ts';
import {
  METADATA,
  type OAuthAnswer,
  refreshByOAuth,
  registerClient,
  signInByOAuth,
  startOAuthServer,
} from '#test/harness/oauth.ts';
import type { TestServer } from '#test/harness/server.ts';

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

async function isIn(server: TestServer, token: string): Promise<boolean> {
  const { status } = await request(server, 'GET', '/_matrix/client/v3/account/whoami', { token });
  return status === 200;
}

function assertGrantRefused({ status, body }: OAuthAnswer): void {
  assert.deepEqual([status, body.error], [400, 'invalid_grant'], JSON.stringify(body));
}

test('an access token expires; the refresh token gives another one and a new refresh token, with the same scope', async () => {
  const clock = testClock();
  await using server = await startOAuthServer({ clock });
  const alice = await register(server);
  const { clientId, deviceId, tokens } = await signInByOAuth(server, alice);
  clock.advance(HOUR);
  assert.equal(await isIn(server, tokens.access_token), false);
  const refreshed = await refreshByOAuth(server, { clientId, refreshToken: tokens.refresh_token });
  assert.equal(refreshed.status, 200);
  const { access_token: token, refresh_token: next, ...rest } = refreshed.body;
  assert.deepEqual(rest, { token_type: 'Bearer', expires_in: 3_600, scope: tokens.scope });
  assert.notEqual(next, tokens.refresh_token);
  const me = await request(server, 'GET', '/_matrix/client/v3/account/whoami', { token });
  assert.equal(me.body.device_id, deviceId);
  assert.equal(refreshed.headers.get('cache-control'), 'no-store');
});

test('a lost answer does not lock out: the old refresh token is good until the new access token is used', async () => {
  const clock = testClock();
  await using server = await startOAuthServer({ clock });
  const { clientId, tokens } = await signInByOAuth(server, await register(server));
  const again = { clientId, refreshToken: tokens.refresh_token };
  const lost = await refreshByOAuth(server, again);
  clock.advance(MINUTE);
  const second = await refreshByOAuth(server, again);
  assert.equal(second.status, 200);
  assert.equal(await isIn(server, lost.body.access_token), false);
  assert.equal(await isIn(server, second.body.access_token), true);
  clock.advance(1_000);
  assertGrantRefused(await refreshByOAuth(server, again));
  assert.equal(await isIn(server, second.body.access_token), true);
});

test('a refresh token that comes back after it was spent ends the whole session', async () => {
  const clock = testClock();
  await using server = await startOAuthServer({ clock });
  const alice = await register(server);
  const { clientId, deviceId, tokens } = await signInByOAuth(server, alice);
  const stolen = { clientId, refreshToken: tokens.refresh_token };
  const next = await refreshByOAuth(server, stolen);
  assert.equal(await isIn(server, next.body.access_token), true);
  clock.advance(MINUTE);
  assertGrantRefused(await refreshByOAuth(server, stolen));
  assert.equal(await isIn(server, next.body.access_token), false);
  assertGrantRefused(await refreshByOAuth(server, { clientId, refreshToken: next.body.refresh_token }));
  assert.equal((await alice.try('GET', `/devices/${deviceId}`)).status, 404);
});

test('a refresh token is good for its own client alone, and for the API that gave it', async () => {
  await using server = await startOAuthServer();
  const alice = await register(server);
  const { clientId, tokens } = await signInByOAuth(server, alice);
  const other = await registerClient(server, { ...METADATA, client_name: 'Another App' });
  assertGrantRefused(await refreshByOAuth(server, { clientId: other, refreshToken: tokens.refresh_token }));
  const legacy = await request(server, 'POST', '/_matrix/client/v3/refresh', {
    body: { refresh_token: tokens.refresh_token },
  });
  assert.deepEqual([legacy.status, legacy.body.errcode], [401, 'M_UNKNOWN_TOKEN']);
  const { body } = await request(server, 'POST', '/_matrix/client/v3/login', {
    body: { type: 'm.login.password', user: alice.userId, password: alice.password, refresh_token: true },
  });
  assertGrantRefused(await refreshByOAuth(server, { clientId, refreshToken: body.refresh_token }));
  assert.equal((await refreshByOAuth(server, { clientId, refreshToken: tokens.refresh_token })).status, 200);
});

test('who is locked gets no tokens until unlocked, and stays signed in; who is suspended does; who is gone does not', async () => {
  await using server = await startOAuthServer();
  const alice = await register(server);
  const userId = alice.userId as `@${string}`;
  const { clientId, tokens } = await signInByOAuth(server, alice);
  const again = { clientId, refreshToken: tokens.refresh_token };
  await setLocked(server.ctx, userId, true);
  const locked = await refreshByOAuth(server, again);
  assert.deepEqual([locked.status, locked.body.error], [503, 'temporarily_unavailable']);
  await setLocked(server.ctx, userId, false);
  await setSuspended(server.ctx, userId, true);
  const suspended = await refreshByOAuth(server, again);
  assert.equal(suspended.status, 200);
  await deactivate(server.ctx, userId);
  assertGrantRefused(await refreshByOAuth(server, { clientId, refreshToken: suspended.body.refresh_token }));
});

test('refresh_token_lifetime ends a session that is not used, signing out and a new password end it at once', async () => {
  const clock = testClock();
  await using server = await startOAuthServer({ clock, refreshTokenLifetime: 24 * HOUR });
  const alice = await register(server);
  const unused = await signInByOAuth(server, alice);
  clock.advance(24 * HOUR);
  const { clientId } = unused;
  assertGrantRefused(await refreshByOAuth(server, { clientId, refreshToken: unused.tokens.refresh_token }));
  const out = await signInByOAuth(server, alice);
  const logout = '/_matrix/client/v3/logout';
  await request(server, 'POST', logout, { token: out.tokens.access_token });
  assertGrantRefused(await refreshByOAuth(server, { clientId, refreshToken: out.tokens.refresh_token }));
  const other = await signInByOAuth(server, alice);
  const auth = { type: 'm.login.password', identifier: { type: 'm.id.user', user: alice.userId } };
  await alice.post('/account/password', {
    new_password: 'another password',
    auth: { ...auth, password: alice.password },
  });
  assertGrantRefused(await refreshByOAuth(server, { clientId, refreshToken: other.tokens.refresh_token }));
});

test('a device that is signed in again by /login is no session of OAuth any more', async () => {
  await using server = await startOAuthServer();
  const alice = await register(server);
  const { clientId, deviceId, tokens } = await signInByOAuth(server, alice);
  const { body } = await request(server, 'POST', '/_matrix/client/v3/login', {
    body: {
      ...{ type: 'm.login.password', user: alice.userId, password: alice.password },
      ...{ refresh_token: true, device_id: deviceId },
    },
  });
  assertGrantRefused(await refreshByOAuth(server, { clientId, refreshToken: tokens.refresh_token }));
  assertGrantRefused(await refreshByOAuth(server, { clientId, refreshToken: body.refresh_token }));
  const legacy = await request(server, 'POST', '/_matrix/client/v3/refresh', {
    body: { refresh_token: body.refresh_token },
  });
  assert.equal(legacy.status, 200);
});
