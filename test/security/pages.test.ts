/** Published attacks on the pages, and by the address and the headers of a request. */

import assert from 'node:assert/strict';
import { request as httpRequest } from 'node:http';
import { test } from 'node:test';
import { register, request } from '#test/harness/client.ts';
import { mailOptions, startMailServer } from '#test/harness/mail-server.ts';
import { clientRoutes, pathOf } from '#test/harness/routes.ts';
import { startServer, type TestServer } from '#test/harness/server.ts';

const STAGES = ['m.login.recaptcha', 'm.login.password', 'm.login.registration_token', 'm.login.terms'];
const MARKUP = '"\'><script>alert(1)</script>';
const FORM = { 'content-type': 'application/x-www-form-urlencoded' };
const EVIL = 'evil.example';
const TURN = { turnUris: ['turn:turn.test'], turnSecret: 'a secret of TURN' };

interface Raw {
  readonly status: number;
  readonly headers: string;
  readonly body: string;
}

/** A request with headers that `fetch` does not send. */
function rawRequest(
  server: TestServer,
  path: string,
  { method = 'GET', headers, body }: { method?: string; headers: Record<string, string>; body?: string },
): Promise<Raw> {
  return new Promise((resolve, reject) => {
    const outgoing = httpRequest(`${server.clientUrl}${path}`, { method, headers });
    outgoing.once('error', reject);
    outgoing.once('response', async (incoming) => {
      let text = '';
      for await (const chunk of incoming.setEncoding('utf8')) text += chunk;
      resolve({
        status: incoming.statusCode ?? 0,
        headers: JSON.stringify(incoming.rawHeaders),
        body: text,
      });
    });
    outgoing.end(body);
  });
}

test('row 30: markup in the session, the stage or a field of a page stays text', async () => {
  await using server = await startServer({ registration: 'token' });
  const begun = await request(server, 'POST', '/_matrix/client/v3/register', { body: { username: 'a' } });
  for (const stage of [...STAGES, MARKUP]) {
    for (const session of [MARKUP, String(begun.body.session)]) {
      const query = `session=${encodeURIComponent(session)}&x=${encodeURIComponent(MARKUP)}`;
      const path = `/_matrix/client/v3/auth/${encodeURIComponent(stage)}/fallback/web?${query}`;
      const body = new URLSearchParams({ user: MARKUP, token: MARKUP, password: MARKUP }).toString();
      for (const answer of [
        await request(server, 'GET', path),
        await request(server, 'POST', path, { body, headers: FORM }),
      ]) {
        assert.equal(answer.body.includes('<script>alert'), false, path);
        assert.equal(answer.headers.get('content-type'), 'text/html; charset=utf-8');
        assert.match(answer.headers.get('content-security-policy') ?? '', /^default-src 'none'/);
      }
    }
  }
  const fields = new URLSearchParams({ token: MARKUP, username: MARKUP, password: 'a', repeated: 'a' });
  const page = await request(server, 'POST', '/_kurir/register', { body: fields.toString(), headers: FORM });
  assert.equal(page.body.includes('<script>alert'), false);
});

test('row 150: a token in the address, which 1.19 still allows, comes back in no answer, log or Referer', async () => {
  const lines: string[] = [];
  await using server = await startServer({ logTo: (line) => lines.push(line), ...TURN });
  const alice = await register(server, 'alice');
  const query = `access_token=${alice.accessToken}&timeout=0&x=%ff`;
  const whoami = await request(server, 'GET', `/_matrix/client/v3/account/whoami?${query}`);
  assert.deepEqual([whoami.status, whoami.body.user_id], [200, alice.userId]);
  const paths = (await clientRoutes(server))
    .filter(({ method }) => method === 'GET')
    .map((route) => pathOf(route, { userId: alice.userId, serverName: 'kurir.test' }));
  for (const path of [...paths, '/nothing', '/_matrix/client/v3/profile/%ff', `/${'a'.repeat(5_000)}`]) {
    const answer = await request(server, 'GET', `${path}?${query}`);
    assert.ok(answer.status < 500, path);
    const told = `${JSON.stringify([...answer.headers])}${JSON.stringify(answer.body)}`;
    assert.equal(told.includes(alice.accessToken), false, path);
    assert.equal(answer.headers.has('location'), false, path);
    const isPage = /^text\/html/.test(answer.headers.get('content-type') ?? '');
    if (isPage) assert.equal(answer.headers.get('referrer-policy'), 'no-referrer', path);
  }
  // A fault of ours is logged with all that is known of it.
  await server.ctx.db.write('test.break', (tx) => tx.run({ name: '', text: 'DROP TABLE profile_fields' }));
  const broken = `/_matrix/client/v3/profile/${alice.userId}?${query}`;
  assert.equal((await request(server, 'GET', broken)).status, 500);
  assert.match(lines.join(''), /request failed/);
  assert.equal(lines.join('').includes(alice.accessToken), false);
});

test('row 154: no answer and no letter follows the Host header, where the address of the server is known', async () => {
  await using mail = await startMailServer();
  await using server = await startServer({ ...mailOptions(mail), ...TURN, registration: 'open' });
  const alice = await register(server, 'alice');
  const headers = {
    host: EVIL,
    'x-forwarded-host': EVIL,
    'x-forwarded-proto': 'gopher',
    forwarded: `host=${EVIL}`,
    authorization: `Bearer ${alice.accessToken}`,
  };
  for (const route of await clientRoutes(server)) {
    if (route.method !== 'GET') continue;
    const answer = await rawRequest(server, `${pathOf(route, { serverName: 'kurir.test' })}?timeout=0`, {
      headers,
    });
    assert.ok(answer.status < 500, route.url);
    assert.equal(`${answer.headers}${answer.body}`.includes(EVIL), false, route.url);
  }
  const json = { ...headers, 'content-type': 'application/json' };
  const login = { type: 'm.login.password', user: 'alice', password: alice.password };
  const signedIn = await rawRequest(server, '/_matrix/client/v3/login', {
    ...{ method: 'POST', headers: json, body: JSON.stringify(login) },
  });
  assert.equal(signedIn.status, 200);
  assert.equal(signedIn.body.includes(EVIL), false);
  const asked = { email: 'bob@example.org', client_secret: 'secret', send_attempt: 1 };
  const sent = await rawRequest(server, '/_matrix/client/v3/account/3pid/email/requestToken', {
    ...{ method: 'POST', headers: json, body: JSON.stringify(asked) },
  });
  assert.equal(sent.status, 200, sent.body);
  assert.equal(mail.last.raw.includes(EVIL), false);
  assert.match(mail.last.body, /https:\/\/matrix\.kurir\.test\//);
});

test('row 154: where it is not known, the Host of who asks is told to them alone, as text', async () => {
  await using server = await startServer();
  const odd = await rawRequest(server, '/', { headers: { host: `x"><script>alert(1)</script>` } });
  assert.equal(odd.body.includes('<script>alert'), false);
  for (const path of ['/.well-known/matrix/client', '/.well-known/matrix/server']) {
    const answer = await rawRequest(server, path, { headers: { host: EVIL } });
    assert.equal(answer.body.includes(EVIL), false);
  }
  const page = await request(server, 'GET', '/');
  assert.equal(page.headers.get('cache-control'), 'no-store');
});
