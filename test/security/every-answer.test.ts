/** What holds for the answer of every route that clients reach: bodies that are too large, and headers. */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { connect } from 'node:net';
import { after, before, test } from 'node:test';
import { MOST_DISCARDED } from '#server/http/read-body.ts';
import * as users from '#storage/users.ts';
import { type Answer, register, request, type TestClient } from '#test/harness/client.ts';
import { upload } from '#test/harness/media.ts';
import { clientRoutes, federationRoutes, pathOf, type Route } from '#test/harness/routes.ts';
import { startServer, type TestServer } from '#test/harness/server.ts';
import { specBundle } from '#test/harness/spec/bundle.ts';
import { isPage, outsideOf } from '#test/harness/spec/outside.ts';

/** What is served outside `/_matrix/`, or for people in place of clients, and why. */
const OURS: readonly (readonly [RegExp, string])[] = [
  [/^GET \/(health)?$/, 'says that the server runs'],
  [/^GET \/\.well-known\/matrix\//, 'how clients and servers find this one'],
  [/^GET \/\.well-known\/(oauth-authorization-server|openid-configuration)$/, 'RFC 8414'],
  [/^(GET|POST) \/oauth2\//, 'the endpoints of OAuth 2.0, whose addresses are the server’s to choose'],
  [/^(GET|POST) \/(_kurir|sign-in|sign-out|account)(\/|$)/, 'pages for people'],
  [
    /^(GET|POST) \/sign-in\/(provider|new-account|client)(\/|$)/,
    'pages for people, and where providers tell of logouts',
  ],
  [
    /\/rooms\/:roomId\/state\/:eventType$/,
    'the state key is empty: "the trailing slash on this endpoint is optional"',
  ],
  [/^(GET|POST) \/_synapse\/admin\/v1\/register$/, 'for scripts that know the shared secret'],
  [/^(POST|PUT) \/_synapse\/admin\/v1\/send_server_notice/, 'by which administrators tell users something'],
  [/^\w+ \/_synapse\/admin\/v1\/.*media/, 'what administrators do to media'],
];
const FOR_PEOPLE = /^\/(oauth2\/(authorize|device)|sign-in|sign-out|account|_kurir\/(register|terms))(\/|$)/;
const HUGE = 500_000_000;
const MIB = 1_024 * 1_024;
const TYPES = [
  'multipart/form-data; boundary=x',
  undefined,
  'application/x-www-form-urlencoded',
  'application/xml',
];

let server: TestServer;
let routes: readonly Route[];
let alice: TestClient;

before(async () => {
  const turn = { turnUris: ['turn:turn.test'], turnSecret: 'a secret of TURN' };
  server = await startServer({
    registrationSecret: 'a secret of a script',
    publicBaseurl: 'https://matrix.kurir.test',
    ...turn,
  });
  routes = await clientRoutes(server);
  alice = await register(server, 'alice');
});

after(() => server[Symbol.asyncDispose]());

/** The status and error code for a body that is announced to be huge, of which only the first bytes come. */
function announce(method: string, url: string, type: string | undefined): Promise<string> {
  const isClient = url.startsWith('http:');
  return new Promise((resolve, reject) => {
    const outgoing = (isClient ? httpRequest : httpsRequest)(url, {
      method,
      rejectUnauthorized: false,
      headers: {
        ...(isClient && { authorization: `Bearer ${alice.accessToken}` }),
        'content-length': HUGE,
        ...(type !== undefined && { 'content-type': type }),
      },
    });
    outgoing.once('response', async (incoming: IncomingMessage) => {
      const text = await textOf(incoming);
      outgoing.destroy();
      resolve(`${incoming.statusCode} ${text.startsWith('{') ? JSON.parse(text).errcode : text}`);
    });
    outgoing.once('error', reject);
    outgoing.write('--x\r\n');
  });
}

async function textOf(incoming: IncomingMessage): Promise<string> {
  let text = '';
  for await (const chunk of incoming.setEncoding('utf8')) text += chunk;
  return text;
}

/** What is not refused for its size, of the routes that take a body. */
async function surprises(of: readonly Route[], base: string): Promise<string[]> {
  const { content_uri: reserved } = await alice.post('/_matrix/media/v1/create');
  const values = { serverName: server.serverName, mediaId: reserved.split('/').at(-1) };
  const wrong: string[] = [];
  for (const route of of.filter(takesBody)) {
    const url = `${base}${pathOf(route, values)}`;
    const answers = await Promise.all(TYPES.map((type) => announce(route.method, url, type)));
    for (const [index, answer] of answers.entries()) {
      if (answer !== '413 M_TOO_LARGE') {
        wrong.push(`${route.method} ${route.url} ${TYPES[index]}: ${answer}`);
      }
    }
  }
  return wrong;
}

function takesBody({ method }: Route): boolean {
  return !['GET', 'HEAD', 'OPTIONS'].includes(method);
}

test('row 65: a huge body of any type is refused by every route before it is read', async () => {
  assert.ok(routes.filter(takesBody).length > 60);
  assert.deepEqual(await surprises(routes, server.clientUrl), []);
});

test('row 65: so it is by every route that other servers reach, whoever asks', async () => {
  const ofServers = await federationRoutes(server);
  assert.ok(ofServers.filter(takesBody).length > 10);
  assert.deepEqual(await surprises(ofServers, server.federationUrl), []);
});

test('row 65: of a body without a length no more is taken than the limit and what is thrown away', async () => {
  const { hostname, port } = new URL(server.clientUrl);
  const chunk = Buffer.concat([Buffer.from('10000\r\n'), Buffer.alloc(0x10000, 'x'), Buffer.from('\r\n')]);
  for (const path of ['/_matrix/client/v3/login', '/_kurir/register', '/_matrix/client/v3/createRoom']) {
    const socket = connect(Number(port), hostname).setEncoding('utf8');
    await once(socket, 'connect');
    let answer = '';
    socket.on('data', (text) => {
      answer += text;
    });
    socket.on('error', () => undefined);
    const type = 'Content-Type: application/x-www-form-urlencoded';
    socket.write(`POST ${path} HTTP/1.1\r\nHost: a\r\n${type}\r\nTransfer-Encoding: chunked\r\n\r\n`);
    let sent = 0;
    while (answer === '' && !socket.destroyed && sent < 4 * MOST_DISCARDED) {
      sent += chunk.length;
      // Each piece waits for the one before it: what the server does not take is not sent.
      await new Promise((resolve) => socket.write(chunk, resolve));
      await new Promise((resolve) => setImmediate(resolve));
    }
    socket.destroy();
    assert.match(answer, /^HTTP\/1\.1 413 .*M_TOO_LARGE/s, path);
    // Besides these there is what waits in the buffers of the two sockets.
    assert.ok(sent <= MOST_DISCARDED + 8 * MIB, `${path}: ${sent}`);
  }
});

test('row 85: each route is an operation of the specification, or is named with the reason', async () => {
  const shapeOf = (path: string) => path.replaceAll(/:\w+|\{\w+\}/g, '{}').replace(/\/$/, '');
  const { operations } = await specBundle();
  const known = new Set(operations.map(({ method, path }) => `${method} ${shapeOf(path)}`));
  const unknown = routes.filter((route) => {
    const name = `${route.method} ${route.url}`;
    const path = pathOf(route, {});
    if (known.has(`${route.method} ${shapeOf(route.url)}`) || route.method === 'OPTIONS') return false;
    return !OURS.some(([pattern]) => pattern.test(name)) && !isPage(path) && outsideOf(path) === undefined;
  });
  assert.deepEqual(unknown, []);
});

test('row 85: where registration is closed, no older path makes an account', async () => {
  await using closed = await startServer({ registration: 'closed' });
  const paths = [
    '/_matrix/client/api/v1/register',
    '/_matrix/client/v1/register',
    '/_matrix/client/v2_alpha/register',
    '/_matrix/client/r0/register',
    '/_matrix/client/v3/register',
    '/_matrix/client/v3/register?kind=guest',
    '/_matrix/client/unstable/register',
    '/_synapse/admin/v1/register',
    '/_dendrite/admin/createOrModifyAccount',
    '/_kurir/register',
  ];
  const auth = { type: 'm.login.dummy' };
  for (const path of paths) {
    const body = { username: 'mallory', user: 'mallory', password: 'secret', type: 'm.login.password', auth };
    for (const method of ['POST', 'PUT']) {
      const { status } = await request(closed, method, path, { body });
      assert.ok([403, 404, 405].includes(status), `${method} ${path}: ${status}`);
    }
  }
  assert.equal(await users.anyExists(closed.ctx.db), false);
});

/** What is wrong with the headers of an answer. */
function faultsOf({ status, headers }: Answer, url: string): string[] {
  const has = (name: string, pattern: RegExp) => pattern.test(headers.get(name) ?? '');
  const isHtml = has('content-type', /^text\/html/);
  const checks: Record<string, boolean> = {
    // "CORS MUST NOT be supported at the authorization endpoint": nor on what people see who are signed in by a cookie.
    'any site may call, but pages of people none':
      headers.get('access-control-allow-origin') === (FOR_PEOPLE.test(url) ? null : '*'),
    'without credentials':
      !headers.has('access-control-allow-credentials') &&
      (FOR_PEOPLE.test(url) || !headers.has('set-cookie')),
    'nothing is guessed': status === 204 || has('x-content-type-options', /^nosniff$/),
    'nothing of the program': !headers.has('server') && !headers.has('x-powered-by'),
    'pages cannot be framed':
      !isHtml ||
      (has('x-frame-options', /^DENY$/) &&
        has('content-security-policy', /^default-src 'none'.*frame-ancestors 'none'/)),
    'pages tell no other site their address': !isHtml || has('referrer-policy', /^no-referrer$/),
  };
  return Object.keys(checks).filter((name) => checks[name] !== true);
}

test('row 171: every answer has the headers that keep other sites out, and no others', async () => {
  const wrong: string[] = [];
  const names = new Set<string>();
  for (const route of routes) {
    const { method } = route;
    // Those that end the session are asked without a token.
    const isLast = /logout|deactivate/.test(route.url);
    for (const token of isLast ? [undefined] : [undefined, alice.accessToken]) {
      const isBodiless = ['GET', 'HEAD', 'OPTIONS'].includes(method);
      const answer = await request(server, method, `${pathOf(route, {})}?timeout=0`, {
        ...(!isBodiless && { body: {} }),
        ...(token !== undefined && { token }),
      });
      for (const name of answer.headers.keys()) names.add(name);
      const faults = faultsOf(answer, route.url);
      if (faults.length > 0) wrong.push(`${method} ${route.url} ${answer.status}: ${faults.join(', ')}`);
    }
  }
  assert.deepEqual(wrong, []);
  const usual = ['connection', 'content-length', 'content-type', 'date', 'keep-alive', 'transfer-encoding'];
  const isKnown = (name: string) => usual.includes(name) || name.startsWith('access-control-');
  assert.deepEqual([...names].filter((name) => !isKnown(name)).sort(), [
    'cache-control',
    'content-security-policy',
    'pragma',
    'referrer-policy',
    'set-cookie',
    'www-authenticate',
    'x-content-type-options',
    'x-frame-options',
    'x-request-id',
  ]);
});

test('row 171: what users upload runs nothing, and other sites may show it', async () => {
  const uri = await upload(alice, '<script>alert(1)</script>', { type: 'text/html' });
  const path = `/_matrix/client/v1/media/download/${uri.slice('mxc://'.length)}`;
  const answer = await request(server, 'GET', path, { token: alice.accessToken });
  assert.deepEqual(
    faultsOf(answer, '').filter((fault) => !fault.startsWith('pages')),
    [],
  );
  assert.match(answer.headers.get('content-security-policy') ?? '', /^sandbox; default-src 'none'/);
  assert.equal(answer.headers.get('cross-origin-resource-policy'), 'cross-origin');
  assert.match(answer.headers.get('content-disposition') ?? '', /^attachment/);
});

test('row 173: health says that the server runs and nothing else, and there are no metrics', async () => {
  const health = await request(server, 'GET', '/health');
  assert.deepEqual([health.status, health.body], [200, 'OK']);
  for (const path of ['/metrics', '/_synapse/metrics', '/_kurir/metrics', '/_matrix/metrics', '/debug']) {
    const answer = await request(server, 'GET', path);
    assert.deepEqual([answer.status, answer.body.errcode], [404, 'M_UNRECOGNIZED'], path);
  }
  const paths = [...routes, ...(await federationRoutes(server))].map(({ url }) => url);
  assert.deepEqual(
    paths.filter((path) => path.includes('metrics')),
    [],
  );
});
