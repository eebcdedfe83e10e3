/** https://spec.matrix.org/v1.19/client-server-api/#token-revocation */

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { register, request, type TestClient } from '#test/harness/client.ts';
import {
  METADATA,
  refreshByOAuth,
  registerClient,
  sendForm,
  signInByOAuth,
  startOAuthServer,
} from '#test/harness/oauth.ts';
import type { TestServer } from '#test/harness/server.ts';

let server: TestServer;
let alice: TestClient;
let now = Date.now();

before(async () => {
  server = await startOAuthServer({ clock: { now: () => now } });
  alice = await register(server, 'alice');
});

after(() => server[Symbol.asyncDispose]());

function revoke(fields: Record<string, string>) {
  return sendForm(server, '/oauth2/revoke', fields);
}

async function isIn(token: string): Promise<boolean> {
  const { status } = await request(server, 'GET', '/_matrix/client/v3/account/whoami', { token });
  return status === 200;
}

test('"The server MUST revoke both the access token and refresh token associated with the token provided"', async () => {
  for (const kind of ['access_token', 'refresh_token']) {
    for (const hint of [
      kind,
      undefined,
      kind === 'access_token' ? 'refresh_token' : 'access_token',
      'other',
    ]) {
      const { clientId, deviceId, tokens } = await signInByOAuth(server, alice);
      assert.equal(await isIn(tokens.access_token), true);
      const answer = await revoke({
        token: tokens[kind],
        client_id: clientId,
        ...(hint !== undefined && { token_type_hint: hint }),
      });
      assert.equal(answer.status, 200);
      assert.equal(await isIn(tokens.access_token), false);
      const refreshed = await refreshByOAuth(server, { clientId, refreshToken: tokens.refresh_token });
      assert.equal(refreshed.body.error, 'invalid_grant');
      assert.equal((await alice.try('GET', `/devices/${deviceId}`)).status, 404);
    }
  }
});

test('"If the client_id is not provided, or does not match [...] the server SHOULD still revoke the token"', async () => {
  const other = await registerClient(server, { ...METADATA, client_name: 'Another App' });
  for (const client of [{}, { client_id: other }, { client_id: 'nobody' }]) {
    const { tokens } = await signInByOAuth(server, alice);
    assert.equal((await revoke({ token: tokens.access_token, ...client })).status, 200);
    assert.equal(await isIn(tokens.access_token), false);
  }
});

test('a token that is not known, or not any more, is answered with 200 and ends nothing', async () => {
  assert.equal((await revoke({ token: 'kat_never' })).status, 200);
  const { clientId, tokens } = await signInByOAuth(server, alice);
  const next = await refreshByOAuth(server, { clientId, refreshToken: tokens.refresh_token });
  assert.equal(await isIn(next.body.access_token), true);
  for (const spent of [tokens.access_token, tokens.refresh_token]) {
    assert.equal((await revoke({ token: spent })).status, 200);
    assert.equal(await isIn(next.body.access_token), true);
  }
  now += 3_600_000;
  assert.equal((await revoke({ token: next.body.access_token })).status, 200);
  const after = await refreshByOAuth(server, { clientId, refreshToken: next.body.refresh_token });
  assert.equal(after.status, 200);
  assert.equal((await revoke({ token: after.body.access_token })).status, 200);
  assert.equal((await revoke({ token: after.body.access_token })).status, 200);
});

test('a request without a token, with two, or that is no form, is a bad one', async () => {
  for (const body of ['', 'token=', 'token=a&token=b', 'x=1']) {
    const answer = await sendForm(server, '/oauth2/revoke', body);
    assert.deepEqual([answer.status, answer.body.error], [400, 'invalid_request'], body);
  }
  const json = { 'content-type': 'application/json' };
  const answer = await sendForm(server, '/oauth2/revoke', '{"token":"a"}', json);
  assert.deepEqual([answer.status, answer.body.error], [400, 'invalid_request']);
});
