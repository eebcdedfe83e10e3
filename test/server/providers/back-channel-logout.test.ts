import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { test } from 'node:test';
import { CompactSign, SignJWT, UnsecuredJWT } from 'jose';
import { setPassword } from '#server/auth/accounts.ts';
import * as deviceOrigins from '#storage/device-origins.ts';
import * as pushers from '#storage/pushers.ts';
import { login, request } from '#test/harness/client.ts';
import { Browser } from './browser.ts';
import { CLIENT_SECRET } from './identity-provider.ts';
import { type SignInServer, signInBy, startWithProvider } from './signing-in.ts';

const PERSON = { sub: 'p-1', preferred_username: 'ann' } as const;
const EVENTS = { 'http://schemas.openid.net/event/backchannel-logout': {} };

async function send(
  s: SignInServer,
  fields: readonly (readonly [string, string])[],
  id = 'staff',
): Promise<Response> {
  return await fetch(`${s.url}/sign-in/provider/${id}/backchannel-logout`, {
    method: 'POST',
    body: new URLSearchParams(fields.map(([name, value]): [string, string] => [name, value])),
  });
}

function tell(s: SignInServer, token: string): Promise<Response> {
  return send(s, [['logout_token', token]]);
}

test('a logout token with sid ends the devices, pushers and browser sessions of that session alone', async () => {
  await using s = await startWithProvider();
  s.provider.person = PERSON;
  const browser = new Browser();
  const [phone, laptop] = [await signInBy(s, browser), await signInBy(s)];
  await phone.post('/pushers/set', {
    ...{ kind: 'http', app_id: 'app', pushkey: 'key', app_display_name: 'App', device_display_name: 'Phone' },
    ...{ lang: 'en', data: { url: 'https://push.example.org/_matrix/push/v1/notify' } },
  });
  const { db } = s.server.ctx;
  const origin = await deviceOrigins.of(db, { userId: '@ann:kurir.test', deviceId: phone.deviceId });
  const sid = origin?.sid;
  assert.ok(sid !== undefined && sid !== '');
  const waiting = phone.try('GET', `/sync?timeout=30000&since=${(await phone.sync()).next_batch}`);
  const answer = await tell(s, await s.provider.logoutToken({ sid, sub: PERSON.sub }));
  assert.equal(answer.status, 200);
  assert.equal(answer.headers.get('cache-control'), 'no-store');
  assert.equal((await waiting).status, 401);
  assert.equal((await phone.try('GET', '/account/whoami')).status, 401);
  assert.deepEqual(await pushers.ofUser(db, '@ann:kurir.test'), []);
  assert.equal((await laptop.get('/account/whoami')).user_id, '@ann:kurir.test');
  // The browser is signed out, too: it is asked who it is.
  const page = await browser.request(`${s.url}/sign-in/client?redirectUrl=https%3A%2F%2Fa.example%2F`);
  assert.match(page.headers.get('location') ?? '', /^\/sign-in\?next=/);
});

test('a device that another one has signed in ends with it', async () => {
  await using s = await startWithProvider();
  s.provider.person = PERSON;
  const first = await signInBy(s);
  await setPassword(s.server.ctx, '@ann:kurir.test', 'secret');
  const auth = {
    type: 'm.login.password',
    identifier: { type: 'm.id.user', user: 'ann' },
    password: 'secret',
  };
  const { login_token: token } = await first.post('/_matrix/client/v1/login/get_token', { auth });
  const answer = await first.try('POST', '/login', { type: 'm.login.token', token });
  const { db } = s.server.ctx;
  const second = { userId: '@ann:kurir.test', deviceId: answer.body.device_id } as const;
  const origin = await deviceOrigins.of(db, second);
  assert.ok(origin?.sid !== undefined);
  assert.equal((await tell(s, await s.provider.logoutToken({ sid: origin.sid }))).status, 200);
  assert.equal(await deviceOrigins.of(db, second), undefined);
  assert.equal((await first.try('GET', '/account/whoami')).status, 401);
});

test('a logout token with sub alone ends every session of the user, however it was begun', async () => {
  await using s = await startWithProvider();
  s.provider.person = PERSON;
  const one = await signInBy(s);
  await setPassword(s.server.ctx, '@ann:kurir.test', 'secret');
  const other = await login(s.server, 'ann', 'secret');
  const stranger = await (async () => {
    s.provider.person = { sub: 'p-2', preferred_username: 'bob' };
    return await signInBy(s);
  })();
  const ask = `/user/${encodeURIComponent(other.userId)}/openid/request_token`;
  const { access_token: openid } = await other.post(ask);
  const userinfo = `/_matrix/federation/v1/openid/userinfo?access_token=${openid}`;
  assert.equal((await request(s.server, 'GET', userinfo)).status, 200);
  assert.equal((await tell(s, await s.provider.logoutToken({ sub: PERSON.sub }))).status, 200);
  assert.equal((await request(s.server, 'GET', userinfo)).status, 401, 'it says no more who she is');
  assert.equal((await one.try('GET', '/account/whoami')).status, 401);
  assert.equal((await other.try('GET', '/account/whoami')).status, 401);
  assert.equal((await stranger.try('GET', '/account/whoami')).status, 200);
});

test('a logout token that is not good ends nothing', async () => {
  await using s = await startWithProvider();
  s.provider.person = PERSON;
  const ann = await signInBy(s);
  const now = Math.floor(Date.now() / 1_000);
  const good = { sub: PERSON.sub };
  const claims = {
    iss: s.provider.issuer,
    aud: 'kurir',
    iat: now,
    jti: randomUUID(),
    events: EVENTS,
    ...good,
  };
  const bySecret = new SignJWT(claims).setProtectedHeader({ alg: 'HS256' });
  const bad: readonly (readonly [string, string])[] = [
    ['wrong aud', await s.provider.logoutToken({ ...good, aud: 'another' })],
    ['wrong iss', await s.provider.logoutToken({ ...good, iss: 'https://evil.example' })],
    ['no iat', await s.provider.logoutToken({ ...good, iat: undefined })],
    ['too old', await s.provider.logoutToken({ ...good, iat: now - 3_600, exp: now + 3_600 })],
    ['expired', await s.provider.logoutToken({ ...good, exp: now - 120 })],
    ['from the future', await s.provider.logoutToken({ ...good, iat: now + 3_600 })],
    ['no events', await s.provider.logoutToken({ ...good, events: undefined })],
    ['wrong events', await s.provider.logoutToken({ ...good, events: { 'http://example.org/other': {} } })],
    ['events no object', await s.provider.logoutToken({ ...good, events: 'logout' })],
    ['a nonce', await s.provider.logoutToken({ ...good, nonce: 'n' })],
    ['no jti', await s.provider.logoutToken({ ...good, jti: undefined })],
    ['jti no text', await s.provider.logoutToken({ ...good, jti: 7 })],
    ['neither sub nor sid', await s.provider.logoutToken({})],
    ['sub no text', await s.provider.logoutToken({ sub: ['p-1'] })],
    ['sid empty', await s.provider.logoutToken({ sid: '' })],
    ['unknown key', await s.provider.logoutToken(good, { kid: 'no such key' })],
    ['alg none', new UnsecuredJWT(claims).encode()],
    ['signed by the client secret', await bySecret.sign(Buffer.from(CLIENT_SECRET))],
    ['no claims', await signed('[]')],
    ['no token', 'nonsense'],
    ['too long', 'x'.repeat(16_100)],
  ];
  for (const [what, token] of bad) assert.equal((await tell(s, token)).status, 400, what);
  assert.equal((await send(s, [])).status, 400);
  const twice = await s.provider.logoutToken(good);
  assert.equal(
    (
      await send(s, [
        ['logout_token', twice],
        ['logout_token', twice],
      ])
    ).status,
    400,
  );
  assert.equal((await send(s, [['logout_token', twice]], 'nobody')).status, 404);
  assert.equal((await ann.get('/account/whoami')).user_id, '@ann:kurir.test');
});

test('a logout token is good once', async () => {
  await using s = await startWithProvider();
  s.provider.person = PERSON;
  await signInBy(s);
  const token = await s.provider.logoutToken({ sub: PERSON.sub });
  assert.equal((await tell(s, token)).status, 200);
  const again = await signInBy(s);
  assert.equal((await tell(s, token)).status, 400);
  assert.equal((await again.get('/account/whoami')).user_id, '@ann:kurir.test');
});

test('a session of the provider that has ended begins none here: neither one nor tokens that wait', async () => {
  await using s = await startWithProvider();
  s.provider.person = PERSON;
  const browser = new Browser();
  const first = await signInBy(s, browser);
  const { db } = s.server.ctx;
  const origin = await deviceOrigins.of(db, { userId: '@ann:kurir.test', deviceId: first.deviceId });
  await tell(s, await s.provider.logoutToken({ sid: origin?.sid }));
  // The browser still has its session at the provider, which has told us that it is over.
  const page = await s.enter(browser);
  assert.equal(page.status, 403);
});

test('what a provider has signed with a new key is believed', async () => {
  await using s = await startWithProvider();
  s.provider.person = PERSON;
  const ann = await signInBy(s);
  await s.provider.rotateKeys();
  await new Promise((resolve) => setTimeout(resolve, 2_100));
  assert.equal((await tell(s, await s.provider.logoutToken({ sub: PERSON.sub }))).status, 200);
  assert.equal((await ann.try('GET', '/account/whoami')).status, 401);
  assert.equal((await (await signInBy(s)).get('/account/whoami')).user_id, '@ann:kurir.test');
});

async function signed(text: string): Promise<string> {
  const key = await crypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, [
    'sign',
    'verify',
  ]);
  return await new CompactSign(Buffer.from(text)).setProtectedHeader({ alg: 'ES256' }).sign(key.privateKey);
}
