import assert from 'node:assert/strict';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { Server as HttpServer } from 'node:http';
import { get, Server as HttpsServer, request as httpsRequest } from 'node:https';
import { connect } from 'node:net';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { certificatePath } from '#server/tls/certificate.ts';
import { type Answer, register, request } from '#test/harness/client.ts';
import { crossSigningOf } from '#test/harness/encryption.ts';
import { startServer, type TestServer } from '#test/harness/server.ts';
import { until } from '#test/harness/until.ts';

const WHOAMI = '/_matrix/client/v3/account/whoami';
const DATA = (userId: string, type: string) =>
  `/_matrix/client/v3/user/${encodeURIComponent(userId)}/account_data/${encodeURIComponent(type)}`;

function assertError(answer: Answer, status: number, errcode: string): void {
  assert.deepEqual([answer.status, answer.body.errcode], [status, errcode], JSON.stringify(answer.body));
  assert.equal(typeof answer.body.error, 'string');
}

/** Sends bytes as they are, and answers what comes back until the connection ends. */
function exchange(server: TestServer, text: string): Promise<string> {
  const { hostname, port } = new URL(server.clientUrl);
  return new Promise((resolve, reject) => {
    const socket = connect(Number(port), hostname, () => socket.end(text));
    let answer = '';
    socket.setEncoding('utf8');
    socket.on('data', (chunk) => {
      answer += chunk;
    });
    socket.on('close', () => resolve(answer));
    socket.on('error', reject);
  });
}

test('every answer allows other origins, and OPTIONS is answered for any path without authentication', async () => {
  await using server = await startServer();
  for (const path of [WHOAMI, '/_matrix/client/v3/nothing', '/_matrix/client/versions']) {
    for (const method of ['GET', 'OPTIONS']) {
      const { status, headers } = await request(server, method, path);
      assert.equal(headers.get('access-control-allow-origin'), '*');
      assert.equal(headers.get('access-control-allow-methods'), 'GET, POST, PUT, DELETE, OPTIONS');
      assert.match(
        headers.get('access-control-allow-headers') ?? '',
        /X-Requested-With, Content-Type, Authorization/,
      );
      if (method === 'OPTIONS') assert.equal(status, 204);
    }
  }
});

test('an unknown path is 404 M_UNRECOGNIZED, a known path with another method 405 M_UNRECOGNIZED', async () => {
  await using server = await startServer();
  assertError(await request(server, 'GET', '/_matrix/client/v3/nothing'), 404, 'M_UNRECOGNIZED');
  assertError(await request(server, 'GET', '/_matrix/client/v3/profile/a/b/c/d'), 404, 'M_UNRECOGNIZED');
  assertError(await request(server, 'PUT', '/_matrix/client/v3/login'), 405, 'M_UNRECOGNIZED');
  assertError(
    await request(server, 'POST', '/_matrix/client/v3/profile/@a:b/displayname'),
    405,
    'M_UNRECOGNIZED',
  );
});

test('what anybody may ask of a server is answered at the address that clients know, too', async () => {
  await using server = await startServer();
  const version = await request(server, 'GET', '/_matrix/federation/v1/version');
  assert.deepEqual([version.status, version.body.server.name], [200, 'Kurir']);
  assert.equal(version.headers.get('access-control-allow-origin'), '*');
  const unknown = await request(server, 'GET', '/_matrix/federation/v1/openid/userinfo?access_token=x');
  assertError(unknown, 401, 'M_UNKNOWN_TOKEN');
  for (const path of ['/_matrix/federation/v1/version', '/_matrix/key/v2/query']) {
    assertError(await request(server, 'PUT', path), 405, 'M_UNRECOGNIZED');
  }
  // What needs a signature is asked for at the other listener.
  const signed = await request(server, 'GET', '/_matrix/federation/v1/state/!a:b?event_id=x');
  assertError(signed, 404, 'M_UNRECOGNIZED');
});

test('what no route answers is refused so whatever its body says, by both listeners', async () => {
  await using server = await startServer();
  const body = 'no JSON';
  assertError(await request(server, 'PUT', '/_matrix/client/v3/login', { body }), 405, 'M_UNRECOGNIZED');
  assertError(await request(server, 'PUT', '/_matrix/client/v3/nothing', { body }), 404, 'M_UNRECOGNIZED');
  for (const [path, status] of [
    ['/_matrix/federation/v1/version', 405],
    ['/_matrix/federation/v1/nothing', 404],
  ] as const) {
    const ca = readFileSync(certificatePath(server.ctx.config.dataDir));
    const asked = httpsRequest(`${server.federationUrl}${path}`, { method: 'PUT', ca }).end(body);
    const [answer] = await once(asked, 'response');
    const text = (await answer.toArray()).join('');
    assertError(
      { status: answer.statusCode, body: JSON.parse(text), headers: new Headers() },
      status,
      'M_UNRECOGNIZED',
    );
  }
});

test('answers are application/json, without parameters', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const roomId = await alice.createRoom();
  const room = `/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}`;
  for (const path of [
    '/_matrix/client/v3/login',
    '/_matrix/client/v3/nothing',
    '/_matrix/client/v3/sync',
    `${room}/state`,
  ]) {
    const { headers } = await request(server, 'GET', path, { token: alice.accessToken });
    assert.equal(headers.get('content-type'), 'application/json', path);
  }
});

test('a body of no bytes is none, whatever content type it has', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const headers = { 'content-type': 'application/json' };
  const post = (path: string, token?: string) =>
    request(server, 'POST', `/_matrix/client/v3/${path}`, {
      body: '',
      headers,
      ...(token !== undefined && { token }),
    });
  assertError(await post('logout'), 401, 'M_MISSING_TOKEN');
  assert.equal((await post('logout', alice.accessToken)).status, 200);
});

test('what was r0 before it was v3 is answered by its former name too', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const token = alice.accessToken;
  const answer = await request(server, 'GET', '/_matrix/client/r0/account/whoami?x=/r0/', { token });
  assert.equal(answer.body.user_id, alice.userId);
  assert.equal((await request(server, 'GET', '/_matrix/media/r0/config', { token })).status, 200);
  assertError(await request(server, 'GET', '/_matrix/client/r0/nothing'), 404, 'M_UNRECOGNIZED');
});

test('what was unstable before it came into the specification is answered so too, where clients still ask', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const old = '/_matrix/client/unstable';
  const { body } = crossSigningOf(alice.userId);
  assert.deepEqual(await alice.post(`${old}/keys/device_signing/upload`, body), {});
  assert.deepEqual(await alice.post(`${old}/keys/signatures/upload`), { failures: {} });
  const backup = { algorithm: 'm.megolm_backup.v1.curve25519-aes-sha2', auth_data: {} };
  const { version } = await alice.post(`${old}/room_keys/version`, backup);
  assert.equal((await alice.get(`${old}/room_keys/version`)).version, version);
  assert.deepEqual(await alice.get(`${old}/room_keys/keys?version=${version}`), { rooms: {} });
  const roomId = await alice.createRoom();
  const eventId = await alice.send(roomId, 'hello');
  const relations = await alice.get(`${old}/rooms/${roomId}/relations/${eventId}/m.thread?limit=5`);
  assert.deepEqual(relations.chunk, []);

  const { accessToken: token } = alice;
  for (const path of ['keys/upload', 'sync', `rooms/${roomId}/messages?x=/relations/`]) {
    assertError(await request(server, 'GET', `${old}/${path}`, { token }), 404, 'M_UNRECOGNIZED');
  }
  const nobody = await request(server, 'GET', `${old}/room_keys/version`);
  assertError(nobody, 401, 'M_MISSING_TOKEN');
});

test('other servers are listened to before clients are', async () => {
  const order: string[] = [];
  const note = (message: unknown): void => {
    const { server } = message as { server: unknown };
    if (server instanceof HttpsServer) order.push('federation');
    else if (server instanceof HttpServer) order.push('client');
  };
  subscribe('tracing:net.server.listen:asyncEnd', note);
  try {
    await using _server = await startServer();
  } finally {
    unsubscribe('tracing:net.server.listen:asyncEnd', note);
  }
  assert.deepEqual(order, ['federation', 'client']);
});

test('each request has an id of its own', async () => {
  await using server = await startServer();
  const ids = await Promise.all([1, 2, 3].map(() => request(server, 'GET', '/health')));
  assert.equal(new Set(ids.map((answer) => answer.headers.get('x-request-id'))).size, 3);
});

test('a body is JSON whatever its content type says, and is refused where it is none', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const path = DATA(alice.userId, 'org.example');
  const put = (body: string | Uint8Array, contentType = 'application/json') =>
    request(server, 'PUT', path, {
      body,
      token: alice.accessToken,
      headers: { 'content-type': contentType },
    });
  for (const type of [
    'text/plain',
    'application/octet-stream',
    'garbage',
    'application/x-www-form-urlencoded',
    ';',
  ]) {
    assert.equal((await put('{"a":1}', type)).status, 200, type);
  }
  assertError(await put('{"a":'), 400, 'M_NOT_JSON');
  assertError(await put(''), 400, 'M_NOT_JSON');
  assertError(await put('{"a":NaN}'), 400, 'M_NOT_JSON');
  assertError(await put('{"a":1e999}'), 400, 'M_NOT_JSON');
  assertError(await put(Buffer.from('{"a":"\xff"}', 'latin1')), 400, 'M_NOT_JSON');
  assertError(await put('\uFEFF{"a":1}'), 400, 'M_NOT_JSON');
  assertError(await put('[]'), 400, 'M_BAD_JSON');
  assertError(await put('"text"'), 400, 'M_BAD_JSON');
  assertError(await put('null'), 400, 'M_BAD_JSON');
  assert.equal((await put(`${'{"a":'.repeat(99)}{}${'}'.repeat(99)}`)).status, 200);
  assertError(await put(`${'{"a":'.repeat(100)}{}${'}'.repeat(100)}`), 400, 'M_BAD_JSON');
  assertError(await put('['.repeat(100_000)), 400, 'M_BAD_JSON');
});

test('keys such as __proto__ and constructor are kept like any other', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const content = '{"__proto__":{"polluted":true},"constructor":{"prototype":1},"toString":"x"}';
  const path = DATA(alice.userId, '__proto__');
  const put = await request(server, 'PUT', path, { body: content, token: alice.accessToken });
  assert.equal(put.status, 200);
  assert.equal(JSON.stringify(await alice.get(path)), content);
  assert.equal('polluted' in {}, false);
  assertError(await alice.try('GET', DATA(alice.userId, 'constructor')), 404, 'M_NOT_FOUND');
});

test('a body over the limit is 413 M_TOO_LARGE', async () => {
  await using server = await startServer();
  const body = { type: 'm.login.password', user: 'a'.repeat(300_000) };
  assertError(await request(server, 'POST', '/_matrix/client/v3/login', { body }), 413, 'M_TOO_LARGE');
});

test('a client that sends a body over the limit to its end, and reads only then, is told as well', async () => {
  await using server = await startServer();
  const { hostname, port } = new URL(server.clientUrl);
  const pieces = 32;
  const piece = Buffer.alloc(64 * 1024, 'x');
  for (const [length, before, after] of [
    [`Content-Length: ${pieces * piece.length}`, '', ''],
    ['Transfer-Encoding: chunked', `${piece.length.toString(16)}\r\n`, '\r\n'],
  ] as const) {
    const socket = connect(Number(port), hostname).setEncoding('utf8').pause();
    await once(socket, 'connect');
    socket.write(`POST /_matrix/client/v3/login HTTP/1.1\r\nHost: a\r\n${length}\r\n\r\n`);
    for (let sent = 0; sent < pieces; sent++) {
      // Slowly, as over a network: the server knows by the first of them that there are too many.
      socket.write(Buffer.concat([Buffer.from(before), piece, Buffer.from(after)]));
      await sleep(2);
    }
    if (after !== '') socket.write('0\r\n\r\n');
    let answer = '';
    for await (const text of socket) answer += text;
    assert.match(answer, /^HTTP\/1\.1 413 .*M_TOO_LARGE/s, length);
  }
});

test('an id of 255 bytes, each percent-encoded, is no too long path', async () => {
  await using server = await startServer();
  const name = `@${'ä'.repeat(120)}:kurir.test`;
  const encoded = [...Buffer.from(name)].map((byte) => `%${byte.toString(16).padStart(2, '0')}`).join('');
  assertError(await request(server, 'GET', `/_matrix/client/v3/profile/${encoded}`), 404, 'M_NOT_FOUND');
  assertError(
    await request(server, 'GET', `/_matrix/client/v3/profile/${'a'.repeat(3_000)}`),
    400,
    'M_INVALID_PARAM',
  );
  assertError(await request(server, 'GET', '/_matrix/client/v3/profile/%ff'), 400, 'M_INVALID_PARAM');
});

test('huge headers, and what is not HTTP, get an answer and the end of the connection', async () => {
  await using server = await startServer();
  const huge = await exchange(
    server,
    `GET /health HTTP/1.1\r\nHost: a\r\nX-Huge: ${'x'.repeat(20_000)}\r\n\r\n`,
  );
  assert.match(huge, /^HTTP\/1\.1 431 /);
  assert.match(huge, /"errcode":"M_TOO_LARGE"/);
  assert.match(await exchange(server, 'nonsense\r\n\r\n'), /^HTTP\/1\.1 400 .*"errcode":"M_UNKNOWN"/s);
});

test('a second Host, Authorization or Content-Type header is refused', async () => {
  await using server = await startServer();
  for (const twice of ['Host: b', 'Authorization: Bearer a\r\nAuthorization: Bearer b']) {
    const answer = await exchange(
      server,
      `GET /health HTTP/1.1\r\nHost: a\r\n${twice}\r\nConnection: close\r\n\r\n`,
    );
    assert.match(answer, /^HTTP\/1\.1 400 .*M_INVALID_PARAM/s, twice);
  }
});

test('row 125: a fault of ours is 500 M_UNKNOWN without detail, logged whole, and no token gets into the log', async () => {
  const lines: string[] = [];
  await using server = await startServer({ logTo: (line) => lines.push(line) });
  const alice = await register(server);
  await server.ctx.db.write('test.break', (tx) => tx.run({ name: '', text: 'DROP TABLE profile_fields' }));
  const path = `/_matrix/client/v3/profile/${alice.userId}/displayname?access_token=${alice.accessToken}`;
  const answer = await request(server, 'PUT', path, { body: { displayname: 'A' } });
  assertError(answer, 500, 'M_UNKNOWN');
  assert.equal(answer.body.error, 'Internal server error');
  const log = lines.join('');
  assert.match(log, /"msg":"request failed"/);
  assert.match(log, /profile_fields/);
  assert.equal(log.includes(alice.accessToken), false);
  assert.equal(log.includes(alice.password), false);
});

test('tokens and passwords are cut out of whatever is logged', async () => {
  const lines: string[] = [];
  await using server = await startServer({ logTo: (line) => lines.push(line) });
  const secret = 'kat_abcdefghijklmnopqrstuvwxyz';
  const fields = {
    access_token: secret,
    body: { password: secret },
    url: `/sync?access_token=${secret}&a=1`,
  };
  server.ctx.log.warn({ ...fields, err: new Error(`Authorization: Bearer ${secret}`) }, 'something');
  assert.equal(lines.join('').includes(secret), false);
  assert.match(lines.join(''), /\[redacted\]&a=1/);
});

test('both listeners answer /health, the one for servers by HTTPS', async () => {
  await using server = await startServer();
  const answer = await request(server, 'GET', '/health');
  assert.deepEqual([answer.status, answer.body], [200, 'OK']);
  const text = await new Promise((resolve, reject) => {
    const options = { ca: readFileSync(certificatePath(server.ctx.config.dataDir)) };
    get(`${server.federationUrl}/health`, options, (response) => {
      response.setEncoding('utf8').on('data', resolve);
    }).on('error', reject);
  });
  assert.equal(text, 'OK');
});

test('the versions are v1.1 to v1.19', async () => {
  await using server = await startServer();
  const { body } = await request(server, 'GET', '/_matrix/client/versions');
  assert.equal(body.versions.length, 19);
  assert.deepEqual([body.versions[0], body.versions[18]], ['v1.1', 'v1.19']);
});

test('half a surrogate pair is 400 M_BAD_JSON, wherever a client says it', async () => {
  await using server = await startServer();
  const alice = await register(server, 'alice');
  const own = `/user/${encodeURIComponent(alice.userId)}`;
  const requests: readonly (readonly [string, string, string])[] = [
    ['PUT', `${own}/account_data/test`, '{"text":"\\ud800"}'],
    ['PUT', `/profile/${encodeURIComponent(alice.userId)}/displayname`, '{"displayname":"\\udc00"}'],
    ['POST', '/createRoom', '{"name":"\\ud83d \\ude00"}'],
    ['POST', `${own}/filter`, '{"\\ud800":1}'],
  ];
  for (const [method, path, body] of requests)
    assertError(await alice.try(method, path, body), 400, 'M_BAD_JSON');
  await alice.put(`${own}/account_data/test`, { text: '😀' });
});

test('what is asked while the server stops is 503 with an error of Matrix, and what was asked before is answered', async () => {
  await using server = await startServer();
  const { hostname, port } = new URL(server.clientUrl);
  const socket = connect(Number(port), hostname);
  const chunks: string[] = [];
  socket.setEncoding('utf8').on('data', (chunk: string) => chunks.push(chunk));
  const head = `host: ${hostname}\r\ncontent-type: application/json\r\n`;
  socket.write(`POST /_matrix/client/v3/login HTTP/1.1\r\n${head}content-length: 2\r\n\r\n{`);
  // Answered after the one before has arrived.
  await request(server, 'GET', '/health');
  const { shutdown } = server.ctx;
  const stopped = server.stop();
  await until(() => shutdown.aborted, 'that the server stops');
  socket.write(`}GET /_matrix/client/versions HTTP/1.1\r\n${head}\r\n`);
  await once(socket, 'close');
  await stopped;
  const answers = chunks.join('');
  assert.match(answers, /^HTTP\/1.1 400 .*M_/s);
  assert.match(answers, /HTTP\/1.1 503 .*\{"errcode":"M_UNKNOWN","error":"The server is shutting down"\}/s);
});
