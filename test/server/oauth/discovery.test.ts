/** https://spec.matrix.org/v1.19/client-server-api/#authentication-api-discovery */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { register, request } from '#test/harness/client.ts';
import { ISSUER, registerClient, sendForm, startOAuthServer, tryRegister } from '#test/harness/oauth.ts';
import { startServer } from '#test/harness/server.ts';

const METADATA = '/_matrix/client/v1/auth_metadata';
const UNSTABLE = '/_matrix/client/unstable/org.matrix.msc2965';

test('the metadata name the endpoints, and what is supported', async () => {
  await using server = await startOAuthServer({ registration: 'open' });
  const { status, headers, body } = await request(server, 'GET', METADATA);
  assert.equal(status, 200);
  assert.equal(headers.get('access-control-allow-origin'), '*');
  assert.match(headers.get('cache-control') ?? '', /max-age=\d+/);
  assert.equal(body.issuer, ISSUER);
  const endpoints = {
    authorization_endpoint: 'oauth2/authorize',
    token_endpoint: 'oauth2/token',
    registration_endpoint: 'oauth2/register',
    revocation_endpoint: 'oauth2/revoke',
    device_authorization_endpoint: 'oauth2/device_authorization',
    account_management_uri: 'account',
  };
  for (const [name, path] of Object.entries(endpoints)) assert.equal(body[name], `${ISSUER}${path}`, name);
  assert.deepEqual(body.response_types_supported, ['code']);
  assert.deepEqual(body.response_modes_supported, ['query', 'fragment']);
  assert.deepEqual(body.code_challenge_methods_supported, ['S256']);
  assert.deepEqual(body.prompt_values_supported, ['create']);
  assert.equal(body.authorization_response_iss_parameter_supported, true);
  assert.deepEqual(body.grant_types_supported, [
    'authorization_code',
    'refresh_token',
    'urn:ietf:params:oauth:grant-type:device_code',
  ]);
  assert.ok(body.account_management_actions_supported.includes('org.matrix.cross_signing_reset'));
  for (const path of [
    `${UNSTABLE}/auth_metadata`,
    '/.well-known/oauth-authorization-server',
    '/.well-known/openid-configuration',
  ]) {
    assert.deepEqual((await request(server, 'GET', path)).body, body, path);
  }
  assert.deepEqual((await request(server, 'GET', `${UNSTABLE}/auth_issuer`)).body, { issuer: ISSUER });
});

test('where nobody can register an account, prompt=create is not offered', async () => {
  await using server = await startOAuthServer({ registration: 'closed' });
  const { body } = await request(server, 'GET', METADATA);
  assert.equal('prompt_values_supported' in body, false);
});

test('without OAuth, by the option or for lack of an address with https, nothing of it is recognised', async () => {
  const without = [{}, { publicBaseurl: 'http://matrix.kurir.test' }];
  for (const options of [...without, { publicBaseurl: 'https://matrix.kurir.test', oauth: false }]) {
    await using server = await startServer(options);
    for (const path of [METADATA, `${UNSTABLE}/auth_metadata`, `${UNSTABLE}/auth_issuer`]) {
      const { status, body } = await request(server, 'GET', path);
      assert.deepEqual([status, body.errcode], [404, 'M_UNRECOGNIZED'], path);
    }
    for (const path of ['/oauth2/authorize', '/oauth2/device']) {
      assert.equal((await request(server, 'GET', path)).body.errcode, 'M_UNRECOGNIZED', path);
    }
    for (const path of ['/oauth2/token', '/oauth2/revoke', '/oauth2/device_authorization']) {
      assert.equal((await sendForm(server, path, 'x=y')).body.errcode, 'M_UNRECOGNIZED', path);
    }
    assert.equal((await tryRegister(server, {})).body.errcode, 'M_UNRECOGNIZED');
  }
});

test('with legacy_login off nobody gets in by the legacy API, and who is in stays', async () => {
  await using server = await startOAuthServer();
  const alice = await register(server, 'alice');
  await server.restart({ legacyLogin: false });
  const login = '/_matrix/client/v3/login';
  const byPassword = { type: 'm.login.password', user: 'alice', password: alice.password };
  const answers = [
    await request(server, 'GET', login),
    await request(server, 'POST', login, { body: byPassword }),
    await request(server, 'POST', '/_matrix/client/v3/register', {
      body: { username: 'bob', password: 'x' },
    }),
    await request(server, 'POST', '/_matrix/client/v3/register?kind=guest', { body: {} }),
    await request(server, 'GET', '/_matrix/client/v3/register/available?username=bob'),
  ];
  for (const { status, body } of answers) assert.deepEqual([status, body.errcode], [404, 'M_UNRECOGNIZED']);
  await alice.get('/account/whoami');
  await registerClient(server);
});
