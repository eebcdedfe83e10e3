/** How matrix-js-sdk registers with an e-mail address, adds another, and sets a forgotten password anew. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createClient, InteractiveAuth } from 'matrix-js-sdk';
import { login, request } from '#test/harness/client.ts';
import { type MailServer, mailOptions, startMailServer } from '#test/harness/mail-server.ts';
import { startServer, type TestServer } from '#test/harness/server.ts';
import { until } from '#test/harness/until.ts';
import './js-sdk-client.ts';

const MAIL = 'alice@example.org';
const TERMS = [
  { policyId: 'tos', version: '1', language: 'en', url: 'https://x.test/tos', name: 'Terms of Service' },
];

async function click(server: TestServer, mail: MailServer): Promise<void> {
  const headers = { 'content-type': 'application/x-www-form-urlencoded' };
  assert.equal((await request(server, 'POST', mail.last.link, { body: '', headers })).status, 200);
}

test('matrix-js-sdk registers by its InteractiveAuth: terms, and an e-mail address that it polls for', async () => {
  await using mail = await startMailServer();
  await using server = await startServer({ ...mailOptions(mail), terms: TERMS });
  const client = createClient({ baseUrl: server.clientUrl });
  const problems: unknown[] = [];
  const auth = new InteractiveAuth({
    matrixClient: client,
    inputs: { emailAddress: MAIL },
    clientSecret: client.generateClientSecret(),
    doRequest: (said) =>
      client.registerRequest({
        username: 'alice',
        password: 'password',
        ...(said !== null && { auth: said }),
      }),
    requestEmailToken: (email, secret, attempt) => client.requestRegisterEmailToken(email, secret, attempt),
    stateUpdated: (stage, status) => {
      if (status.errcode !== undefined) problems.push(status);
      if (stage === 'm.login.terms') void auth.submitAuthDict({ type: stage });
    },
  });
  const registered = auth.attemptAuth();
  await until(() => mail.letters.length === 1, 'that the letter comes');
  await auth.poll();
  await click(server, mail);
  await auth.poll();
  const { user_id: userId, access_token: accessToken = '' } = await registered;
  assert.equal(userId, '@alice:kurir.test');
  assert.deepEqual(problems, [], 'what is not confirmed yet is no error to show');

  const signedIn = createClient({ baseUrl: server.clientUrl, userId, accessToken });
  assert.deepEqual(
    (await signedIn.getThreePids()).threepids.map(({ address }) => address),
    [MAIL],
  );
  const secret = signedIn.generateClientSecret();
  const { sid } = await signedIn.requestAdd3pidEmailToken('second@example.org', secret, 1);
  await click(server, mail);
  const identifier = { type: 'm.id.user', user: userId };
  const password = { type: 'm.login.password', identifier, password: 'password' } as const;
  await assert.rejects(signedIn.addThreePidOnly({ sid, client_secret: secret }), /401/);
  await signedIn.addThreePidOnly({ sid, client_secret: secret, auth: password });
  assert.equal((await signedIn.getThreePids()).threepids.length, 2);
  await signedIn.deleteThreePid('email', 'second@example.org');
  assert.equal((await signedIn.getThreePids()).threepids.length, 1);

  const forgetful = createClient({ baseUrl: server.clientUrl });
  const resetSecret = forgetful.generateClientSecret();
  const reset = await forgetful.requestPasswordEmailToken(MAIL, resetSecret, 1);
  const credentials = { sid: reset.sid, client_secret: resetSecret };
  const stage = { type: 'm.login.email.identity', threepid_creds: credentials, threepidCreds: credentials };
  await assert.rejects(forgetful.setPassword(stage, 'new password', true), /401/);
  await click(server, mail);
  await forgetful.setPassword(stage, 'new password', true);
  await login(server, 'alice', 'new password');
  await assert.rejects(signedIn.whoami(), /401/);
});
