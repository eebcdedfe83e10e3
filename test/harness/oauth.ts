/** Clients of OAuth 2.0 and the browsers of people, for tests. */

import assert from 'node:assert/strict';
import { sha256Base64Url } from '#keys/hash.ts';
import type { UserId } from '#keys/ids.ts';
import { hashToken, newToken } from '#keys/tokens.ts';
import * as browserSessions from '#storage/browser-sessions.ts';
import type { Body } from './client.ts';
import { startServer, type TestServer, type TestServerOptions } from './server.ts';

export const ISSUER = 'https://matrix.kurir.test/';
export const REDIRECT_URI = 'https://app.example.org/callback';
export const VERIFIER = 'a-verifier-of-forty-three-characters-or-more-0';

export const METADATA = {
  client_name: 'An App',
  client_uri: 'https://example.org/',
  redirect_uris: [REDIRECT_URI],
  grant_types: ['authorization_code', 'refresh_token', 'urn:ietf:params:oauth:grant-type:device_code'],
  response_types: ['code'],
  token_endpoint_auth_method: 'none',
  application_type: 'web',
};

/** A server with OAuth, whose address for clients is `ISSUER`. */
export function startOAuthServer(options: TestServerOptions = {}): Promise<TestServer> {
  return startServer({ publicBaseurl: ISSUER.slice(0, -1), ...options });
}

export interface OAuthAnswer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: Body;
}

/** Sends a form, as clients and browsers do; follows no redirect. */
export async function sendForm(
  server: TestServer,
  path: string,
  fields: Record<string, string> | URLSearchParams | string,
  headers: Record<string, string> = {},
): Promise<OAuthAnswer> {
  const response = await fetch(`${server.clientUrl}${path}`, {
    method: 'POST',
    redirect: 'manual',
    headers: { 'content-type': 'application/x-www-form-urlencoded', ...headers },
    body: typeof fields === 'string' ? fields : new URLSearchParams(fields).toString(),
  });
  return answerOf(response);
}

async function answerOf(response: Response): Promise<OAuthAnswer> {
  const text = await response.text();
  const isJson = response.headers.get('content-type')?.startsWith('application/json') === true;
  return { status: response.status, headers: response.headers, body: isJson ? JSON.parse(text) : text };
}

/** Registers a client; without metadata of its own it is the app of `METADATA`. */
export async function registerClient(server: TestServer, metadata: object = METADATA): Promise<string> {
  const answer = await tryRegister(server, metadata);
  assert.equal(answer.status, 201, JSON.stringify(answer.body));
  return answer.body.client_id;
}

export async function tryRegister(server: TestServer, metadata: unknown): Promise<OAuthAnswer> {
  const response = await fetch(`${server.clientUrl}/oauth2/register`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: typeof metadata === 'string' ? metadata : JSON.stringify(metadata),
  });
  return answerOf(response);
}

let devices = 0;

/** A device id that no other test has. */
export function newDevice(): string {
  devices += 1;
  return `DEVICE${String(devices).padStart(4, '0')}`;
}

export function scopeFor(deviceId: string): string {
  return `urn:matrix:client:api:* urn:matrix:client:device:${deviceId}`;
}

/** What a client sends a browser with; a parameter that is undefined is left out. */
export function authorizePath(clientId: string, changed: Record<string, string | undefined> = {}): string {
  const parameters = {
    response_type: 'code',
    client_id: clientId,
    redirect_uri: REDIRECT_URI,
    scope: scopeFor(newDevice()),
    state: 'a state',
    response_mode: 'query',
    code_challenge: sha256Base64Url(VERIFIER),
    code_challenge_method: 'S256',
    ...changed,
  };
  const given = Object.entries(parameters).filter((pair): pair is [string, string] => pair[1] !== undefined);
  return `/oauth2/authorize?${new URLSearchParams(given)}`;
}

/** A browser in which somebody is signed in on the pages of the server, or nobody is. */
export class Browser {
  readonly server: TestServer;
  readonly #cookie: string | undefined;

  constructor(server: TestServer, cookie?: string) {
    this.server = server;
    this.#cookie = cookie;
  }

  async get(path: string, headers: Record<string, string> = {}): Promise<OAuthAnswer> {
    const response = await fetch(`${this.server.clientUrl}${path}`, {
      redirect: 'manual',
      headers: { ...this.#headers(), ...headers },
    });
    return answerOf(response);
  }

  post(
    path: string,
    fields: Record<string, string>,
    headers: Record<string, string> = {},
  ): Promise<OAuthAnswer> {
    return sendForm(this.server, path, fields, {
      'sec-fetch-site': 'same-origin',
      ...this.#headers(),
      ...headers,
    });
  }

  /** Opens a page, and sends its form with what the person decides. */
  async decide(path: string, decision: 'allow' | 'deny'): Promise<OAuthAnswer> {
    const page = await this.get(path);
    assert.equal(page.status, 200, `${page.status} ${page.headers.get('location')} ${page.body}`);
    return this.post(actionOf(page.body), { ...hiddenOf(page.body), decision });
  }

  #headers(): Record<string, string> {
    return this.#cookie === undefined ? {} : { cookie: this.#cookie };
  }
}

/** Where the form of a page leads. */
export function actionOf(page: string): string {
  const [, action] = /<form method="post" action="([^"]+)"/.exec(page) ?? [];
  assert.ok(action, page);
  return unescaped(action);
}

/** The hidden fields of a page. */
export function hiddenOf(page: string): Record<string, string> {
  const fields = page.matchAll(/<input type="hidden" name="([^"]+)" value="([^"]*)"/g);
  return Object.fromEntries([...fields].map(([, name, value = '']) => [name, unescaped(value)]));
}

function unescaped(text: string): string {
  const signs = { amp: '&', quot: '"', lt: '<', gt: '>', '#39': "'" };
  return text.replaceAll(/&(amp|quot|lt|gt|#39);/g, (_, name: keyof typeof signs) => signs[name]);
}

/** A browser in which a user is signed in, as the sign-in page leaves it. */
export async function signedInBrowser(
  server: TestServer,
  user: { readonly userId: string },
): Promise<Browser> {
  const token = newToken('kbs');
  const now = server.ctx.clock.now();
  const session = { createdTs: now, authTs: now, factorTs: undefined, expiresTs: now + 43_200_000 };
  await server.ctx.db.write('test.browser', (tx) =>
    browserSessions.add(tx, hashToken(token), {
      ...session,
      userId: user.userId as UserId,
      origin: undefined,
    }),
  );
  return new Browser(server, `__Host-kurir=${token}`);
}

/** Lets a client in, and answers the code that it gets. */
export async function codeFor(browser: Browser, path: string): Promise<string> {
  const { status, headers } = await browser.decide(path, 'allow');
  assert.equal(status, 303);
  const code = answerIn(headers).get('code');
  assert.ok(code);
  return code;
}

/** The parameters that a redirect brings the client. */
export function answerIn(headers: Headers): URLSearchParams {
  const url = new URL(headers.get('location') ?? '');
  return url.hash === '' ? url.searchParams : new URLSearchParams(url.hash.slice(1));
}

export interface OAuthSession {
  readonly clientId: string;
  readonly deviceId: string;
  readonly tokens: Body;
}

/** Signs a user in by a client on a device of its own. */
export async function signInByOAuth(
  server: TestServer,
  user: { readonly userId: string },
  deviceId = newDevice(),
): Promise<OAuthSession> {
  const clientId = await registerClient(server);
  const browser = await signedInBrowser(server, user);
  const code = await codeFor(browser, authorizePath(clientId, { scope: scopeFor(deviceId) }));
  const answer = await exchange(server, { client_id: clientId, code });
  assert.equal(answer.status, 200, JSON.stringify(answer.body));
  return { clientId, deviceId, tokens: answer.body };
}

/** Takes a code to the token endpoint. */
export function exchange(
  server: TestServer,
  changed: Record<string, string | undefined>,
): Promise<OAuthAnswer> {
  return token(server, {
    grant_type: 'authorization_code',
    redirect_uri: REDIRECT_URI,
    code_verifier: VERIFIER,
    ...changed,
  });
}

/** Asks the token endpoint; a parameter that is undefined is left out. */
export function token(
  server: TestServer,
  parameters: Record<string, string | undefined>,
): Promise<OAuthAnswer> {
  const given = Object.entries(parameters).filter((pair): pair is [string, string] => pair[1] !== undefined);
  return sendForm(server, '/oauth2/token', Object.fromEntries(given));
}

export function refreshByOAuth(
  server: TestServer,
  { clientId, refreshToken }: { readonly clientId: string; readonly refreshToken: string },
): Promise<OAuthAnswer> {
  return token(server, { grant_type: 'refresh_token', client_id: clientId, refresh_token: refreshToken });
}
