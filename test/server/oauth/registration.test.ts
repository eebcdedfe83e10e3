/** https://spec.matrix.org/v1.19/client-server-api/#client-registration and RFC 7591 */

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { forgetUnusedClients } from '#server/oauth/clients.ts';
import { register } from '#test/harness/client.ts';
import {
  authorizePath,
  METADATA,
  registerClient,
  signedInBrowser,
  signInByOAuth,
  startOAuthServer,
  tryRegister,
} from '#test/harness/oauth.ts';
import type { TestServer } from '#test/harness/server.ts';

const DAY = 86_400_000;
const WEB = { ...METADATA, application_type: 'web' };
const NATIVE = { ...METADATA, application_type: 'native' };

let server: TestServer;

before(async () => {
  server = await startOAuthServer();
});

after(() => server[Symbol.asyncDispose]());

async function errorOf(metadata: unknown): Promise<string | undefined> {
  const { status, body } = await tryRegister(server, metadata);
  if (status === 201) return undefined;
  assert.equal(status, 400, JSON.stringify(body));
  assert.equal(typeof body.error_description, 'string');
  return body.error;
}

test('a client is answered with its id and what was registered of its metadata', async () => {
  const { status, headers, body } = await tryRegister(server, {
    client_name: 'My App',
    'client_name#fr': 'Mon application',
    client_uri: 'https://example.com/',
    logo_uri: 'https://example.com/logo.png',
    tos_uri: 'https://example.com/tos.html',
    'tos_uri#fr': 'https://example.com/fr/tos.html',
    policy_uri: 'https://example.com/policy.html',
    redirect_uris: ['https://app.example.com/callback'],
    token_endpoint_auth_method: 'none',
    response_types: ['code', 'id_token'],
    grant_types: ['authorization_code', 'refresh_token', 'urn:ietf:params:oauth:grant-type:token-exchange'],
    application_type: 'web',
    contacts: ['somebody@example.com'],
    __proto__: { constructor: 'x' },
  });
  assert.equal(status, 201);
  assert.equal(headers.get('cache-control'), 'no-store');
  const { client_id: id, client_id_issued_at: issuedAt, ...rest } = body;
  assert.match(id, /^koc_[\w-]{43}$/);
  assert.ok(Number.isInteger(issuedAt));
  assert.deepEqual(rest, {
    client_name: 'My App',
    client_uri: 'https://example.com/',
    logo_uri: 'https://example.com/logo.png',
    tos_uri: 'https://example.com/tos.html',
    policy_uri: 'https://example.com/policy.html',
    redirect_uris: ['https://app.example.com/callback'],
    response_types: ['code'],
    grant_types: ['authorization_code', 'refresh_token'],
    token_endpoint_auth_method: 'none',
    application_type: 'web',
  });
});

test('identical metadata get the same client, others another one', async () => {
  const id = await registerClient(server);
  const reordered = Object.fromEntries(Object.entries(METADATA).reverse());
  assert.equal(await registerClient(server, reordered), id);
  assert.notEqual(await registerClient(server, { ...METADATA, client_name: 'An App too' }), id);
});

test('what is left out has the values of the specification', async () => {
  const { body } = await tryRegister(server, {
    client_uri: 'https://example.org/',
    redirect_uris: ['https://example.org/'],
  });
  assert.deepEqual(
    [body.application_type, body.response_types, body.token_endpoint_auth_method],
    ['web', ['code'], 'none'],
  );
  const device = ['urn:ietf:params:oauth:grant-type:device_code', 'refresh_token'];
  const without = await tryRegister(server, { client_uri: 'https://example.org/', grant_types: device });
  assert.deepEqual([without.status, without.body.redirect_uris], [201, []]);
});

test('redirect URIs of web clients: https, on the host of client_uri or below', async () => {
  const valid = [
    'https://example.org/callback',
    'https://app.example.org/callback',
    'https://example.org:5173/?query=value',
    'HTTPS://EXAMPLE.ORG/callback',
  ];
  for (const uri of valid) {
    assert.equal(await errorOf({ ...WEB, redirect_uris: [uri] }), undefined, uri);
  }
  const invalid = [
    'https://example.org/callback#fragment',
    'https://example.org/callback#',
    'http://example.org/callback',
    'http://localhost/',
    'https://evilexample.org/',
    'https://example.org.evil.test/',
    'https://example.org@evil.test/',
    'https://user:secret@example.org/',
    'https://@example.org/',
    'https://evil.test\\.example.org/',
    'https://evil.test/%00.example.org',
    'https://example.org./',
    'https://example.org/\r\nSet-Cookie: a=b',
    'https://example.org/ space',
    'https://example.org/ä',
    'org.example:/callback',
    'javascript:alert(1)',
    'data:text/html,x',
    '//example.org/',
    '/callback',
    'callback',
    'https://example.org/?code=a',
    'https://example.org/?state=a',
    `https://example.org/${'a'.repeat(2_000)}`,
    '',
  ];
  for (const uri of invalid) {
    assert.equal(await errorOf({ ...WEB, redirect_uris: [uri] }), 'invalid_redirect_uri', uri);
  }
});

test('redirect URIs of native clients: their own scheme, the loopback interface without a port, or https', async () => {
  const client = { ...NATIVE, client_uri: 'https://example.com/' };
  const valid = [
    'com.example.app:/callback',
    'com.example:/',
    'com.example:callback',
    'http://localhost/callback',
    'http://127.0.0.1/callback',
    'http://[::1]/callback',
    'http://localhost',
    'https://app.example.com/callback',
  ];
  for (const uri of valid) {
    assert.equal(await errorOf({ ...client, redirect_uris: [uri] }), undefined, uri);
  }
  const invalid = [
    'example:/callback',
    'com.example.app://callback',
    'com.examples:/callback',
    'com:/callback',
    'https://localhost/callback',
    'http://localhost:1234/callback',
    'http://127.0.0.1:80/callback',
    'http://127.0.0.2/callback',
    'http://localhost.evil.test/',
    'http://localhost@evil.test/',
    'http://[::2]/callback',
    'http://example.com/callback',
    'javascript:alert(1)',
    'com.example.app:/callback#x',
    'ftp://localhost/',
  ];
  for (const uri of invalid) {
    assert.equal(await errorOf({ ...client, redirect_uris: [uri] }), 'invalid_redirect_uri', uri);
  }
});

test('metadata that are not right are refused with what is wrong', async () => {
  const wrong: readonly (readonly [object, string])[] = [
    [{ client_uri: undefined }, 'invalid_client_metadata'],
    [{ client_uri: 5 }, 'invalid_client_metadata'],
    [{ client_uri: 'http://example.org/' }, 'invalid_client_metadata'],
    [{ client_uri: 'https://user@example.org/' }, 'invalid_client_metadata'],
    [{ client_uri: 'https://localhost/' }, 'invalid_client_metadata'],
    [{ client_uri: 'https://org/' }, 'invalid_client_metadata'],
    [{ client_uri: 'https://127.0.0.1/' }, 'invalid_client_metadata'],
    [{ client_uri: 'https://[::1]/' }, 'invalid_client_metadata'],
    [{ client_name: ['a'] }, 'invalid_client_metadata'],
    [{ logo_uri: 'http://example.org/logo' }, 'invalid_client_metadata'],
    [{ tos_uri: 'https://evil.test/tos' }, 'invalid_client_metadata'],
    [{ policy_uri: 'javascript:alert(1)' }, 'invalid_client_metadata'],
    [{ redirect_uris: 'https://example.org/' }, 'invalid_redirect_uri'],
    [{ redirect_uris: [5] }, 'invalid_redirect_uri'],
    [{ redirect_uris: [] }, 'invalid_redirect_uri'],
    [{ redirect_uris: undefined }, 'invalid_redirect_uri'],
    [
      { redirect_uris: Array.from({ length: 21 }, (_, at) => `https://example.org/${at}`) },
      'invalid_redirect_uri',
    ],
    [{ response_types: 'code' }, 'invalid_client_metadata'],
    [{ response_types: ['token'] }, 'invalid_client_metadata'],
    [{ grant_types: 'authorization_code' }, 'invalid_client_metadata'],
    [{ grant_types: [] }, 'invalid_client_metadata'],
    [{ grant_types: ['password', 'client_credentials', 'implicit'] }, 'invalid_client_metadata'],
    [{ token_endpoint_auth_method: 'client_secret_basic' }, 'invalid_client_metadata'],
    [{ application_type: 'service' }, 'invalid_client_metadata'],
    [
      { redirect_uris: Array.from({ length: 5 }, (_, at) => `https://example.org/${'a'.repeat(900)}${at}`) },
      'invalid_client_metadata',
    ],
  ];
  for (const [changed, error] of wrong) {
    assert.equal(await errorOf({ ...METADATA, ...changed }), error, JSON.stringify(changed).slice(0, 100));
  }
  for (const body of ['', '[]', 'null', '"x"', '{', 'client_uri=https://example.org/']) {
    assert.equal(await errorOf(body === '' ? ' ' : body), 'invalid_client_metadata', body);
  }
  const large = await tryRegister(server, { ...METADATA, x: 'x'.repeat(20_000) });
  assert.deepEqual([large.status, large.body.error], [413, 'invalid_client_metadata']);
});

test('the name of a client is text that turns nothing around and hides nothing', async () => {
  const name = `<b>\u202eApp\u200b\u0000\n${'x'.repeat(200)}`;
  const { body } = await tryRegister(server, { ...METADATA, client_name: name });
  assert.equal(body.client_name, `<b>App${'x'.repeat(94)}`);
  const browser = await signedInBrowser(server, await register(server));
  const page = await browser.get(authorizePath(body.client_id));
  assert.ok(page.body.includes('&lt;b&gt;App'));
  assert.equal(page.body.includes('<b>App'), false);
});

test('clients that nobody is signed in by are forgotten after a while, others are not', async () => {
  let now = Date.now();
  await using aging = await startOAuthServer({ clock: { now: () => now } });
  const { clientId: used } = await signInByOAuth(aging, await register(aging));
  const unused = await registerClient(aging, { ...METADATA, client_name: 'Unused' });
  const again = await registerClient(aging, { ...METADATA, client_name: 'Again' });
  now += 20 * DAY;
  assert.equal(await registerClient(aging, { ...METADATA, client_name: 'Again' }), again);
  now += 20 * DAY;
  await forgetUnusedClients(aging.ctx);
  const browser = await signedInBrowser(aging, await register(aging));
  const statuses = await Promise.all(
    [used, again, unused].map(async (id) => (await browser.get(authorizePath(id))).status),
  );
  assert.deepEqual(statuses, [200, 200, 400]);
});

test('an address registers a few new clients at once; those that are known stay open to it', async () => {
  await using limited = await startOAuthServer({ rateLimits: true });
  const known = await registerClient(limited);
  const statuses: number[] = [];
  for (let number = 0; number < 25; number++) {
    const { status, body } = await tryRegister(limited, { ...METADATA, client_name: `App ${number}` });
    if (status === 429) assert.equal(body.error, 'temporarily_unavailable');
    statuses.push(status);
  }
  assert.equal(statuses.filter((status) => status === 201).length, 19);
  assert.equal(statuses.at(-1), 429);
  assert.equal(await registerClient(limited), known);
});
