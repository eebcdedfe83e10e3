/** The two ways in which Element X signs in: by the password, and by OAuth on the pages of the server. */

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { sha256Base64Url } from '#keys/hash.ts';
import { Browser, type ShownPage } from '#test/harness/browser.ts';
import { type Body, request } from '#test/harness/client.ts';
import { ISSUER, token } from '#test/harness/oauth.ts';
import type { TestServer } from '#test/harness/server.ts';
import { Phone } from './phone.ts';

export const WAYS = ['password', 'OAuth'] as const;
export type Way = (typeof WAYS)[number];

const REDIRECT_URI = 'io.element.android:/';
/** What the app says of itself. */
export const REGISTRATION = {
  ...{ application_type: 'native', client_name: 'Element', client_uri: 'https://element.io/' },
  ...{
    logo_uri: 'https://element.io/mobile-icon.png',
    tos_uri: 'https://element.io/acceptable-use-policy-terms',
  },
  policy_uri: 'https://element.io/privacy',
  grant_types: ['authorization_code', 'refresh_token', 'urn:ietf:params:oauth:grant-type:device_code'],
  ...{ redirect_uris: [REDIRECT_URI], response_types: ['code'], token_endpoint_auth_method: 'none' },
};

export interface Credentials {
  readonly name: string;
  readonly password: string;
}

export interface SignedIn {
  readonly phone: Phone;
  /** Of OAuth. */
  readonly tokens?: Body;
  readonly clientId?: string;
}

export function signInBy(way: Way, server: TestServer, person: Credentials): Promise<SignedIn> {
  return way === 'password' ? byPassword(server, person) : byOAuth(server, person);
}

async function byPassword(server: TestServer, { name, password }: Credentials): Promise<SignedIn> {
  const body = await new Phone(server).call('POST', '/login', {
    type: 'm.login.password',
    identifier: { type: 'm.id.user', user: name },
    password,
    initial_device_display_name: 'Element X Android',
  });
  const session = { userId: body.user_id, deviceId: body.device_id, token: body.access_token };
  return { phone: new Phone(server, session) };
}

/** `isNew`: the person asked for an account (`prompt=create`) before. */
export async function byOAuth(
  server: TestServer,
  person: Credentials,
  { isNew = false } = {},
): Promise<SignedIn> {
  const { body: metadata } = await request(server, 'GET', '/_matrix/client/v1/auth_metadata');
  const registered = await request(server, 'POST', pathOf(metadata.registration_endpoint), {
    body: REGISTRATION,
  });
  assert.equal(registered.status, 201, JSON.stringify(registered.body));
  const clientId: string = registered.body.client_id;
  const deviceId = randomBytes(5).toString('hex').toUpperCase();
  const [verifier, state] = [randomBytes(32), randomBytes(16)].map((bytes) => bytes.toString('base64url'));
  const query = new URLSearchParams({
    response_type: 'code',
    client_id: clientId,
    state: state ?? '',
    code_challenge: sha256Base64Url(verifier ?? ''),
    code_challenge_method: 'S256',
    redirect_uri: REDIRECT_URI,
    scope: `urn:matrix:org.matrix.msc2967.client:api:* urn:matrix:org.matrix.msc2967.client:device:${deviceId}`,
    ...(isNew && { prompt: 'create' }),
  });
  const sent = await decide(server, `${pathOf(metadata.authorization_endpoint)}?${query}`, person);
  assert.ok(sent.at.startsWith(`${REDIRECT_URI}?`), `${sent.status} ${sent.at}`);
  const answer = new URL(sent.at).searchParams;
  assert.deepEqual([answer.get('state'), answer.get('iss')], [state, metadata.issuer]);
  const tokens = await token(server, {
    grant_type: 'authorization_code',
    client_id: clientId,
    code: answer.get('code') ?? '',
    redirect_uri: REDIRECT_URI,
    code_verifier: verifier,
  });
  assert.equal(tokens.status, 200, JSON.stringify(tokens.body));
  const { body } = tokens;
  const known = await new Phone(server, { userId: '', deviceId, token: body.access_token }).call(
    'GET',
    '/account/whoami',
  );
  assert.equal(known.device_id, deviceId);
  const session = { userId: known.user_id, deviceId, token: body.access_token };
  return { phone: new Phone(server, session), tokens: body, clientId };
}

/** In the browser that the app opens: the account or the sign-in, and what is asked for. */
async function decide(server: TestServer, path: string, person: Credentials): Promise<ShownPage> {
  const browser = new Browser(server, { base: ISSUER.slice(0, -1) });
  const page = await browser.get(path);
  assert.equal(page.status, 200, page.text);
  const { name, password } = person;
  const fields = path.includes('prompt=create')
    ? { username: name, password, repeated: password }
    : { name, password };
  const asked = await browser.submit(page, fields);
  assert.match(asked.at, /^\/oauth2\/authorize/, asked.text);
  return browser.submit(asked, { decision: 'allow' });
}

/** The path of an endpoint as the metadata name it. */
function pathOf(url: string): string {
  assert.ok(url.startsWith(ISSUER), url);
  return new URL(url).pathname;
}
