import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseXMatrix } from '#federation/x-matrix.ts';
import { encodeCanonical } from '#keys/canonical-json.ts';
import { generateSeed, keyPairFromSeed, publicKeyFrom, verify } from '#keys/ed25519.ts';
import { createAuthority, type TestAuthority } from '#test/harness/certificates.ts';
import { type Connected, connectFederation } from '#test/harness/connect.ts';
import { temporarySqlite } from '#test/harness/databases.ts';
import { type Peer, type PeerOptions, startPeer } from '#test/harness/peer.ts';

const OURS = 'kurir.test';
const signingKey = { keyPair: keyPairFromSeed('ours', generateSeed()), oldKeys: [] };
const authority: TestAuthority = await createAuthority();

/** A peer and our client, which trusts it. */
async function connected(
  answer: PeerOptions['answer'],
  options: { readonly extraCa?: string; readonly allowPrivate?: boolean } = {},
): Promise<Connected & { peer: Peer } & AsyncDisposable> {
  const peer = await startPeer({ authority, answer });
  const database = await temporarySqlite();
  const parts = connectFederation({
    serverName: OURS,
    signingKey,
    db: database.db,
    clock: Date,
    allowPrivate: true,
    extraCa: authority.cert,
    ...options,
  });
  const dispose = async () => {
    await parts.client[Symbol.asyncDispose]();
    await peer[Symbol.asyncDispose]();
    await database[Symbol.asyncDispose]();
  };
  return { ...parts, peer, [Symbol.asyncDispose]: dispose };
}

test('a request is signed over method, uri, origin, destination and body, and names its Host', async () => {
  await using at = await connected(() => ({ json: { fine: true } }));
  const body = { b: 'ö', a: [1, { d: 1, c: 2 }] };
  const query = { v: ['$a', '$b'], limit: 5, unused: undefined };
  const path = '/_matrix/federation/v1/x/!r%3Ahere';
  const answer = await at.client.request({ server: at.peer.name, method: 'PUT', path, query, body });
  assert.equal(answer.kind, 'ok');
  const [request] = at.peer.requests;
  assert.ok(request);
  assert.equal(request.url, `${path}?v=%24a&v=%24b&limit=5`);
  assert.equal(request.headers.host, at.peer.name);
  assert.equal(request.body, encodeCanonical(body));
  const auth = parseXMatrix(request.headers.authorization ?? '');
  assert.equal(auth?.destination, at.peer.name);
  assert.equal(auth?.origin, OURS);
  const signed = { method: 'PUT', uri: request.url, origin: OURS, destination: at.peer.name, content: body };
  const key = publicKeyFrom(signingKey.keyPair.publicKey);
  assert.ok(key);
  assert.ok(await verify(key, encodeCanonical(signed), auth?.sig ?? ''));
});

test('a refusal gives status, errcode and message, and is no outage', async () => {
  await using at = await connected(() => ({ status: 403, json: { errcode: 'M_FORBIDDEN', error: 'No.' } }));
  const answer = await at.client.request({ server: at.peer.name, method: 'GET', path: '/x' });
  assert.ok(answer.kind === 'failed');
  assert.deepEqual(
    [answer.reason, answer.status, answer.errcode, answer.message],
    ['refused', 403, 'M_FORBIDDEN', 'No.'],
  );
  assert.equal(await at.backoff.remainingMs(at.peer.name), 0);
});

test('429 is honoured with its retry_after_ms, up to an hour', async () => {
  await using at = await connected(() => ({
    status: 429,
    json: { errcode: 'M_LIMIT_EXCEEDED', retry_after_ms: 1e15 },
  }));
  const answer = await at.client.request({ server: at.peer.name, method: 'GET', path: '/x' });
  assert.ok(answer.kind === 'failed');
  assert.equal(answer.retryAfterMs, 3_600_000);
  const wait = await at.backoff.remainingMs(at.peer.name);
  assert.ok(wait > 3_500_000 && wait <= 3_600_000);
  const again = await at.client.request({ server: at.peer.name, method: 'GET', path: '/x' });
  assert.ok(again.kind === 'failed');
  assert.equal(again.reason, 'backoff');
  assert.equal(at.peer.requests.length, 1);
});

test('redirects are not followed', async () => {
  await using at = await connected(() => ({
    status: 302,
    json: {},
    headers: { location: 'https://localhost/elsewhere' },
  }));
  const answer = await at.client.request({ server: at.peer.name, method: 'GET', path: '/x' });
  assert.ok(answer.kind === 'failed');
  assert.equal(answer.reason, 'bad_answer');
  assert.equal(at.peer.requests.length, 1);
});

test('an answer over the cap is given up, whether or not its length is announced', async () => {
  await using at = await connected(({ url }) => (response) => {
    const chunk = Buffer.alloc(64 * 1024, 0x20);
    if (url === '/announced') response.setHeader('content-length', 160 * chunk.length);
    for (let count = 0; count < 160; count += 1) response.write(chunk);
    response.end();
  });
  for (const path of ['/announced', '/chunked']) {
    const answer = await at.client.request({ server: at.peer.name, method: 'GET', path, maxBytes: 100_000 });
    assert.ok(answer.kind === 'failed');
    assert.equal(answer.reason, 'too_large');
  }
});

test('a peer that never answers, or never ends its answer, runs into the time limit', async () => {
  await using at = await connected(({ url }) => (response) => {
    if (url !== '/half') return;
    response.writeHead(200);
    response.write('{');
  });
  for (const path of ['/nothing', '/half']) {
    const answer = await at.client.request({
      server: at.peer.name,
      method: 'GET',
      path,
      timeoutMs: 200,
      backoff: 'ignore',
    });
    assert.ok(answer.kind === 'failed');
    assert.equal(answer.reason, 'timeout');
  }
  assert.ok((await at.backoff.remainingMs(at.peer.name)) > 0);
});

test('a peer that pauses for longer than idleMs is given up, before its answer and within', async () => {
  await using at = await connected(({ url }) => (response) => {
    if (url !== '/half') return;
    response.writeHead(200);
    response.write('{');
  });
  for (const path of ['/nothing', '/half']) {
    const request = { server: at.peer.name, method: 'GET', path, idleMs: 100, backoff: 'ignore' } as const;
    const answer = await at.client.request(request);
    assert.equal(answer.kind === 'failed' && answer.reason, 'unreachable');
  }
});

test('504 by the server itself, with a reason of its own, is no outage; by a proxy it is', async () => {
  let json = { errcode: 'M_NOT_YET_UPLOADED' };
  await using at = await connected(() => ({ status: 504, json }));
  const request = { server: at.peer.name, method: 'GET', path: '/x' } as const;
  await at.client.request(request);
  assert.equal(await at.backoff.remainingMs(at.peer.name), 0);
  json = { errcode: 'M_UNKNOWN' };
  await at.client.request(request);
  assert.ok((await at.backoff.remainingMs(at.peer.name)) > 0);
});

test('an answer that is not read to its end, or not at all, is given up without harm', async () => {
  await using at = await connected(() => (response) => {
    response.writeHead(200);
    response.end('short');
  });
  const request = { server: at.peer.name, method: 'GET', path: '/x' } as const;
  const unread = await at.client.stream(request, async (_, headers) => headers['transfer-encoding']);
  assert.deepEqual(unread.kind === 'ok' && unread.value, 'chunked');
  const begun = await at.client.stream(request, async (body) => {
    const { value } = await body[Symbol.asyncIterator]().next();
    return String(value);
  });
  assert.deepEqual(begun.kind === 'ok' && begun.value, 'short');
  assert.equal((await at.client.request(request)).kind, 'ok');
});

test('a caller that gives up gets its answer at once, and the peer no blame', async () => {
  await using at = await connected(() => () => undefined);
  const request = {
    server: at.peer.name,
    method: 'GET',
    path: '/x',
    signal: AbortSignal.timeout(50),
  } as const;
  const answer = await at.client.request(request);
  assert.ok(answer.kind === 'failed');
  assert.equal(answer.reason, 'aborted');
  assert.equal(await at.backoff.remainingMs(at.peer.name), 0);
});

test('a peer that speaks no HTTP is unreachable', async () => {
  await using at = await connected(() => (response) => {
    response.socket?.end('SSH-2.0-what\r\n\r\n');
  });
  const answer = await at.client.request({ server: at.peer.name, method: 'GET', path: '/x' });
  assert.ok(answer.kind === 'failed');
  assert.equal(answer.reason, 'unreachable');
});

test('a certificate of an unknown authority is not accepted', async () => {
  await using at = await connected(() => ({ json: {} }), { extraCa: (await createAuthority()).cert });
  const answer = await at.client.request({ server: at.peer.name, method: 'GET', path: '/x' });
  assert.ok(answer.kind === 'failed');
  assert.equal(answer.reason, 'unreachable');
  assert.equal(at.peer.requests.length, 0);
});

test('a certificate for another name is not accepted, one for the IP address is', async () => {
  await using at = await connected(() => ({ json: {} }));
  const byIp = await at.client.request({ server: `127.0.0.1:${at.peer.port}`, method: 'GET', path: '/x' });
  assert.equal(byIp.kind, 'ok');
  const byOther = await at.client.request({ server: `127.0.0.2:${at.peer.port}`, method: 'GET', path: '/x' });
  assert.equal(byOther.kind, 'failed');
});

test('loopback is refused before anything is written, however it is spelt', async () => {
  await using at = await connected(() => ({ json: {} }), { allowPrivate: false });
  const { port } = at.peer;
  const hosts = [
    '127.0.0.1',
    'localhost',
    '2130706433',
    '0x7f.1',
    '127.1',
    '0',
    '[::1]',
    '[::ffff:127.0.0.1]',
    '[::]',
  ];
  for (const host of hosts) {
    const answer = await at.client.request({ server: `${host}:${port}`, method: 'GET', path: '/x' });
    assert.equal(answer.kind, 'failed', host);
  }
  assert.equal(at.peer.requests.length, 0);
});

test('a request on a connection that the peer has closed meanwhile is repeated on a new one', async () => {
  await using at = await connected(() => ({ json: {} }));
  const request = { server: at.peer.name, method: 'GET', path: '/x' } as const;
  assert.equal((await at.client.request(request)).kind, 'ok');
  await at.peer.stop();
  await at.peer.start();
  assert.equal((await at.client.request(request)).kind, 'ok');
  assert.equal(await at.backoff.remainingMs(at.peer.name), 0);
});

test('a server is asked eight things at once at most, the others when these are answered', async () => {
  const gate = Promise.withResolvers<void>();
  let [asked, most] = [0, 0];
  await using at = await connected(async () => {
    asked += 1;
    most = Math.max(most, asked);
    // A ninth would come meanwhile.
    if (asked === 8) setTimeout(gate.resolve, 50);
    await gate.promise;
    asked -= 1;
    return { json: {} };
  });
  const ask = () => at.client.request({ server: at.peer.name, method: 'GET', path: '/x' });
  const answers = await Promise.all(Array.from({ length: 20 }, ask));
  assert.ok(answers.every(({ kind }) => kind === 'ok'));
  assert.equal(most, 8);
});

test('a request to ourselves, or to what is no server name, is not sent', async () => {
  await using at = await connected(() => ({ json: {} }));
  for (const server of [OURS, 'a b', '', 'x:y:z']) {
    const answer = await at.client.request({ server, method: 'GET', path: '/x' });
    assert.ok(answer.kind === 'failed');
    assert.equal(answer.reason, 'invalid_server');
  }
});
