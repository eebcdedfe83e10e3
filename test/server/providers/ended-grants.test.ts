/** What was granted before a session has ended becomes no device after it, in whichever way it was to. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setPassword } from '#server/auth/accounts.ts';
import { replacePassword } from '#server/auth/replace-password.ts';
import * as deviceOrigins from '#storage/device-origins.ts';
import * as devices from '#storage/devices.ts';
import { request } from '#test/harness/client.ts';
import { authorizePath, exchange, registerClient, scopeFor, sendForm, token } from '#test/harness/oauth.ts';
import { Browser } from './browser.ts';
import { formTokenOf, loginTokenBy, type SignInServer, signInBy, startWithProvider } from './signing-in.ts';

const PERSON = { sub: 'p-1', preferred_username: 'ann' } as const;
const ANN = '@ann:kurir.test';
const DEVICE_GRANT = 'urn:ietf:params:oauth:grant-type:device_code';

/** What waits to become a device: each is taken, and answers with which status and error. */
interface Waiting {
  readonly code: () => Promise<readonly [number, string | undefined]>;
  readonly deviceCode: () => Promise<readonly [number, string | undefined]>;
  readonly loginToken: () => Promise<readonly [number, string | undefined]>;
}

/** Somebody is signed in in a browser by the provider, and grants in each way that there is. */
async function grantAll(s: SignInServer, browser: Browser): Promise<Waiting> {
  const clientId = await registerClient(s.server);
  const loginToken = await loginTokenBy(s, browser);
  const asked = authorizePath(clientId, { scope: scopeFor('BYCODE') });
  const consent = await browser.go(`${s.url}${asked}`);
  const allow = { form_token: formTokenOf(consent.text), decision: 'allow' };
  const allowed = await browser.submit(`${s.url}${asked}`, allow);
  const code = new URL(allowed.headers.get('location') ?? '').searchParams.get('code') ?? '';
  assert.notEqual(code, '');
  const grant = await sendForm(s.server, '/oauth2/device_authorization', {
    ...{ client_id: clientId, scope: scopeFor('BYDEVICECODE') },
  });
  const page = `${s.url}/oauth2/device`;
  const shown = await browser.go(`${page}?user_code=${grant.body.user_code}`);
  const sent = await browser.submit(page, {
    ...{ form_token: formTokenOf(shown.text), user_code: grant.body.user_code, decision: 'allow' },
  });
  assert.equal(sent.status, 200, sent.text);
  return {
    code: async () => outcomeOf(await exchange(s.server, { client_id: clientId, code })),
    deviceCode: async () =>
      outcomeOf(
        await token(s.server, {
          ...{ grant_type: DEVICE_GRANT, client_id: clientId, device_code: grant.body.device_code },
        }),
      ),
    loginToken: async () =>
      outcomeOf(
        await request(s.server, 'POST', '/_matrix/client/v3/login', {
          body: { type: 'm.login.token', token: loginToken },
        }),
      ),
  };
}

function outcomeOf({
  status,
  body,
}: {
  status: number;
  body: { error?: string; errcode?: string };
}): readonly [number, string | undefined] {
  return [status, body.errcode ?? body.error];
}

async function endSession(s: SignInServer, claims: Record<string, unknown>): Promise<void> {
  const answer = await fetch(`${s.url}/sign-in/provider/staff/backchannel-logout`, {
    method: 'POST',
    body: new URLSearchParams({ logout_token: await s.provider.logoutToken(claims) }),
  });
  assert.equal(answer.status, 200);
}

async function assertNothingBegins(s: SignInServer, waiting: Waiting): Promise<void> {
  assert.deepEqual(await waiting.code(), [400, 'invalid_grant']);
  assert.deepEqual(await waiting.deviceCode(), [400, 'invalid_grant']);
  assert.deepEqual(await waiting.loginToken(), [403, 'M_FORBIDDEN']);
  assert.deepEqual(await devices.ofUser(s.server.ctx.db, ANN), []);
}

async function sidOf(s: SignInServer, deviceId: string): Promise<string> {
  const origin = await deviceOrigins.of(s.server.ctx.db, { userId: ANN, deviceId });
  assert.ok(origin?.sid !== undefined);
  return origin.sid;
}

test('a code, a device code and a login token become devices that belong to the session of the provider', async () => {
  await using s = await startWithProvider();
  s.provider.person = PERSON;
  const waiting = await grantAll(s, new Browser());
  assert.deepEqual(await waiting.code(), [200, undefined]);
  assert.deepEqual(await waiting.deviceCode(), [200, undefined]);
  assert.deepEqual(await waiting.loginToken(), [200, undefined]);
  await endSession(s, { sid: await sidOf(s, 'BYCODE') });
  assert.deepEqual(await devices.ofUser(s.server.ctx.db, ANN), []);
});

test('what was granted before the session of the provider has ended becomes no device', async () => {
  await using s = await startWithProvider();
  s.provider.person = PERSON;
  const browser = new Browser();
  const first = await signInBy(s, browser);
  const waiting = await grantAll(s, browser);
  await endSession(s, { sid: await sidOf(s, first.deviceId), sub: PERSON.sub });
  await assertNothingBegins(s, waiting);
});

test('what was granted before every session of a user has ended becomes no device', async () => {
  await using s = await startWithProvider();
  s.provider.person = PERSON;
  const waiting = await grantAll(s, new Browser());
  await endSession(s, { sub: PERSON.sub });
  await assertNothingBegins(s, waiting);
});

test('what was granted before the password was replaced becomes no device', async () => {
  await using s = await startWithProvider();
  s.provider.person = PERSON;
  const waiting = await grantAll(s, new Browser());
  await setPassword(s.server.ctx, ANN, 'secret');
  const change = { password: 'another secret', logoutDevices: false };
  assert.equal(await replacePassword(s.server.ctx, ANN, change), true);
  await assertNothingBegins(s, waiting);
});

test('who gets an account after the session of the provider has ended has one, and is not signed in', async () => {
  await using s = await startWithProvider({ localpart: '{nothing}' });
  s.provider.person = PERSON;
  const browser = new Browser();
  const page = await s.enter(browser);
  assert.equal(new URL(page.url).pathname, '/sign-in/new-account', page.text);
  const sid = s.provider.sids.at(-1);
  assert.ok(sid !== undefined);
  await endSession(s, { sid });
  const sent = await browser.submit(page.url, { username: 'ann' });
  assert.equal(sent.headers.get('location'), '/sign-in?next=%2Faccount');
  assert.ok(!browser.cookieNames(s.url).some((name) => name.endsWith('kurir')));
});
