/** Each parameter of the authorisation and the token endpoint: missing, empty, wrong, given twice, too long. */

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { register } from '#test/harness/client.ts';
import {
  answerIn,
  authorizePath,
  type Browser,
  codeFor,
  exchange,
  METADATA,
  registerClient,
  scopeFor,
  sendForm,
  signedInBrowser,
  startOAuthServer,
  token,
} from '#test/harness/oauth.ts';
import type { TestServer } from '#test/harness/server.ts';

let server: TestServer;
let clientId: string;
let browser: Browser;

before(async () => {
  server = await startOAuthServer();
  clientId = await registerClient(server);
  browser = await signedInBrowser(server, await register(server, 'alice'));
});

after(() => server[Symbol.asyncDispose]());

async function errorFor(path: string): Promise<string | number> {
  const { status, headers } = await browser.get(path);
  return status === 303 ? (answerIn(headers).get('error') ?? 'none') : status;
}

test('what is wrong with an authorisation request is told by the error that RFC 6749 names for it', async () => {
  const cases: readonly (readonly [Record<string, string | undefined>, string | number])[] = [
    [{ client_id: undefined }, 400],
    [{ client_id: '' }, 400],
    [{ client_id: 'koc_nobody' }, 400],
    [{ client_id: `koc_${'a'.repeat(43)}` }, 400],
    [{ response_type: undefined }, 'invalid_request'],
    [{ response_type: '' }, 'invalid_request'],
    [{ response_type: 'CODE' }, 'unsupported_response_type'],
    [{ scope: undefined }, 'invalid_scope'],
    [{ scope: '' }, 'invalid_scope'],
    [{ scope: 'openid' }, 'invalid_scope'],
    [{ scope: 'urn:matrix:client:api:*' }, 'invalid_scope'],
    [{ scope: 'urn:matrix:client:device:ABC' }, 'invalid_scope'],
    [{ scope: 'urn:matrix:client:api:* urn:matrix:client:device:' }, 'invalid_scope'],
    [{ scope: `${scopeFor('A')} urn:matrix:client:device:B` }, 'invalid_scope'],
    [{ scope: scopeFor('a"b') }, 'invalid_scope'],
    [{ scope: scopeFor('ä') }, 'invalid_scope'],
    [{ scope: scopeFor('a\\b') }, 'invalid_scope'],
    [{ scope: scopeFor('a'.repeat(256)) }, 'invalid_scope'],
    [{ scope: 'x'.repeat(3_000) }, 'invalid_scope'],
    [{ response_mode: 'x' }, 'invalid_request'],
    [{ state: '\u0001' }, 'invalid_request'],
    [{ prompt: 'x' }, 'invalid_request'],
    [{ prompt: 'none login' }, 'invalid_request'],
    [{ request: 'x' }, 'request_not_supported'],
    [{ request_uri: 'https://evil.test/' }, 'request_uri_not_supported'],
    [{ state: 'x'.repeat(5_000) }, 414],
  ];
  for (const [changed, expected] of cases) {
    const path = authorizePath(clientId, changed);
    assert.equal(await errorFor(path), expected, JSON.stringify(changed).slice(0, 200));
  }
  const right = ['ABCDEFGHIJ', "!#$%&'()*+,-./:;<=>?@[]^_`{|}~", 'a'.repeat(255)];
  for (const deviceId of right) {
    assert.equal(await errorFor(authorizePath(clientId, { scope: scopeFor(deviceId) })), 200, deviceId);
  }
  assert.equal(await errorFor(`${authorizePath(clientId)}&unknown=x&claims=%7B%7D&ui_locales=sv`), 200);
});

test('"parameters MUST NOT be included more than once"', async () => {
  const path = authorizePath(clientId);
  const names = [...new URLSearchParams(path.slice(path.indexOf('?') + 1))];
  for (const [name, value] of names) {
    const expected = ['client_id', 'redirect_uri'].includes(name) ? 400 : 'invalid_request';
    assert.equal(await errorFor(`${path}&${name}=${encodeURIComponent(value)}`), expected, name);
  }
});

test('a client that has not registered for codes gets none', async () => {
  const device = await registerClient(server, {
    ...METADATA,
    grant_types: ['urn:ietf:params:oauth:grant-type:device_code'],
  });
  assert.equal(await errorFor(authorizePath(device)), 'unauthorized_client');
});

test('what is wrong with a token request is told by the error that RFC 6749 names for it', async () => {
  const code = await codeFor(browser, authorizePath(clientId));
  const only = await registerClient(server, { ...METADATA, grant_types: ['authorization_code'] });
  const cases: readonly (readonly [Record<string, string | undefined>, number, string])[] = [
    [{ grant_type: undefined }, 400, 'invalid_request'],
    [{ grant_type: '' }, 400, 'invalid_request'],
    [{ grant_type: 'password' }, 400, 'unsupported_grant_type'],
    [{ grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange' }, 400, 'unsupported_grant_type'],
    [{ client_id: undefined }, 400, 'invalid_request'],
    [{ client_id: 'nobody' }, 401, 'invalid_client'],
    [{ code: undefined }, 400, 'invalid_request'],
    [{ code: 'kac_never' }, 400, 'invalid_grant'],
    [{ code: 'x'.repeat(10_000) }, 400, 'invalid_grant'],
    [{ redirect_uri: undefined }, 400, 'invalid_request'],
    [{ code_verifier: undefined }, 400, 'invalid_request'],
    [{ grant_type: 'refresh_token', client_id: only, refresh_token: 'x' }, 400, 'unauthorized_client'],
    [{ grant_type: 'refresh_token' }, 400, 'invalid_request'],
    [{ grant_type: 'refresh_token', refresh_token: 'krf_never' }, 400, 'invalid_grant'],
  ];
  for (const [changed, status, error] of cases) {
    const answer = await exchange(server, { client_id: clientId, code, ...changed });
    assert.deepEqual(
      [answer.status, answer.body.error],
      [status, error],
      JSON.stringify(changed).slice(0, 200),
    );
    assert.equal(typeof answer.body.error_description, 'string');
    assert.equal(answer.headers.get('cache-control'), 'no-store');
  }
  assert.equal((await exchange(server, { client_id: clientId, code })).status, 200);
});

test('a token request that is no form, too large, with a parameter twice or with a secret is refused', async () => {
  const json = await sendForm(server, '/oauth2/token', '{"grant_type":"refresh_token"}', {
    'content-type': 'application/json',
  });
  assert.deepEqual([json.status, json.body.error], [400, 'invalid_request']);
  const twice = await sendForm(server, '/oauth2/token', `grant_type=a&client_id=${clientId}&client_id=b`);
  assert.deepEqual([twice.status, twice.body.error], [400, 'invalid_request']);
  const large = await sendForm(server, '/oauth2/token', `grant_type=${'x'.repeat(20_000)}`);
  assert.deepEqual([large.status, large.body.error], [413, 'invalid_request']);
  const fields = { grant_type: 'refresh_token', client_id: clientId, refresh_token: 'x' };
  const basic = await sendForm(server, '/oauth2/token', fields, { authorization: 'Basic YTpi' });
  assert.deepEqual([basic.status, basic.body.error], [401, 'invalid_client']);
  assert.match(basic.headers.get('www-authenticate') ?? '', /^Basic /);
  const get = await browser.get('/oauth2/token');
  assert.equal(get.status, 405);
  assert.equal((await token(server, {})).body.error, 'invalid_request');
});
