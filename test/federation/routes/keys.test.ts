import assert from 'node:assert/strict';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { request as httpsRequest } from 'node:https';
import { json } from 'node:stream/consumers';
import { test } from 'node:test';
import { publicKeyFrom } from '#keys/ed25519.ts';
import { isObject, type JsonObject } from '#keys/json.ts';
import { verifyServerKeyDocument } from '#keys/server-key-document.ts';
import { verifyJson } from '#keys/sign-json.ts';
import type { ServerContext } from '#server/context.ts';
import { createAuthority } from '#test/harness/certificates.ts';
import { temporaryFolder } from '#test/harness/databases.ts';
import { startFleet } from '#test/harness/fleet.ts';
import { keyDocumentOf, startPeer } from '#test/harness/peer.ts';
import { startServer, type TestServerOptions } from '#test/harness/server.ts';

const authority = await createAuthority();

interface Answer {
  readonly status: number;
  readonly body: JsonObject;
}

interface Routes extends AsyncDisposable {
  readonly ctx: ServerContext;
  get(path: string): Promise<Answer>;
  post(path: string, body: JsonObject): Promise<Answer>;
}

/** What a server named `here.test` answers to strangers on its federation port. */
async function routes(options: TestServerOptions = {}): Promise<Routes> {
  const folder = await temporaryFolder();
  const roots = `${folder.path}/roots.pem`;
  await writeFile(roots, authority.cert);
  const server = await startServer({ serverName: 'here.test', federationCa: [roots], ...options });
  const ask = async (path: string, body?: JsonObject): Promise<Answer> => {
    const method = body === undefined ? 'GET' : 'POST';
    const request = httpsRequest(`${server.federationUrl}${path}`, { method, rejectUnauthorized: false });
    request.end(body === undefined ? undefined : JSON.stringify(body));
    const [response] = await once(request, 'response');
    const answer: unknown = await json(response);
    assert.ok(isObject(answer));
    return { status: response.statusCode, body: answer };
  };
  return {
    ctx: server.ctx,
    get: (path) => ask(path),
    post: ask,
    [Symbol.asyncDispose]: async () => {
      await server[Symbol.asyncDispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
}

function documentsOf({ body }: Answer): JsonObject[] {
  const documents = body.server_keys;
  assert.ok(Array.isArray(documents));
  return documents;
}

test('key/v2/server: our key, signed by itself, valid for about a day; an older form names a key', async () => {
  await using at = await routes();
  for (const url of [
    '/_matrix/key/v2/server',
    '/_matrix/key/v2/server/',
    '/_matrix/key/v2/server/ed25519:x',
  ]) {
    const { body: document } = await at.get(url);
    const keys = await verifyServerKeyDocument(document, 'here.test');
    assert.ok(keys);
    const { keyId, publicKey } = at.ctx.signingKey.keyPair;
    assert.equal(keys.keys.get(keyId)?.publicKey, publicKey);
    const hours = (keys.validUntilTs - Date.now()) / 3_600_000;
    assert.ok(hours > 22 && hours <= 24, `${hours} hours`);
  }
});

test('key/v2/query: the document of another server with our signature beside its own, asked once', async () => {
  await using at = await routes();
  await using peer = await startPeer({ authority, answer: (_, self) => ({ json: keyDocumentOf(self) }) });
  const { keyId } = peer.signingKey.keyPair;
  const path = '/_matrix/key/v2/query';
  const answers = [
    () => at.get(`${path}/${encodeURIComponent(peer.name)}`),
    () => at.post(path, { server_keys: { [peer.name]: {} } }),
    () => at.post(path, { server_keys: { [peer.name]: { [keyId]: {} } } }),
  ];
  for (const answer of answers) {
    const documents = documentsOf(await answer());
    assert.equal(documents.length, 1);
    const [document = {}] = documents;
    assert.ok(await verifyServerKeyDocument(document, peer.name));
    const ours = at.ctx.signingKey.keyPair;
    const key = publicKeyFrom(ours.publicKey);
    assert.ok(key !== undefined && (await verifyJson(document, 'here.test', ours.keyId, key)));
  }
  assert.equal(peer.requests.length, 1);
});

test('key/v2/query: servers that cannot be asked are left out, no servers give an empty list', async () => {
  await using at = await routes();
  const ask = async (servers: JsonObject) =>
    documentsOf(await at.post('/_matrix/key/v2/query', { server_keys: servers }));
  assert.deepEqual(await ask({}), []);
  assert.deepEqual(await ask({ 'localhost:1': {} }), []);
  const [ours] = await ask({ 'here.test': {} });
  assert.equal(ours?.server_name, 'here.test');
});

test('key/v2/query: at most 100 servers; malformed queries are refused', async () => {
  await using at = await routes();
  const many = Object.fromEntries(Array.from({ length: 101 }, (_, index) => [`s${index}.test`, {}]));
  const bad = [
    { server_keys: many },
    { server_keys: [] },
    {},
    { server_keys: { 'a b': {} } },
    { server_keys: { 'a.test': 1 } },
  ];
  for (const body of bad) assert.equal((await at.post('/_matrix/key/v2/query', body)).status, 400);
  assert.equal((await at.get('/_matrix/key/v2/query/a%20b')).status, 400);
  assert.equal((await at.get('/_matrix/key/v2/query/a.test?minimum_valid_until_ts=soon')).status, 400);
});

/** A clock that a test sets forward. */
function manualClock(): { now(): number; pass(ms: number): void } {
  let passed = 0;
  return {
    now: () => Date.now() + passed,
    pass: (ms) => {
      passed += ms;
    },
  };
}

test('key/v2/query: "The returned keys SHOULD be valid until at least this timestamp": the server is asked anew', async () => {
  const clock = manualClock();
  await using at = await routes({ clock });
  await using peer = await startPeer({ authority, answer: (_, self) => ({ json: keyDocumentOf(self) }) });
  const path = `/_matrix/key/v2/query/${encodeURIComponent(peer.name)}`;
  const inTwoHours = clock.now() + 7_200_000;
  await at.get(path);
  clock.pass(60_000);
  await at.get(`${path}?minimum_valid_until_ts=${clock.now() + 60_000}`);
  assert.equal(peer.requests.length, 1, 'what is stored is valid for an hour');
  // Its document is never valid for that long: it is given all the same.
  assert.equal(documentsOf(await at.get(`${path}?minimum_valid_until_ts=${inTwoHours}`)).length, 1);
  assert.equal(peer.requests.length, 2);
  assert.equal(documentsOf(await at.get(`${path}?minimum_valid_until_ts=${inTwoHours}`)).length, 1);
  assert.equal(peer.requests.length, 2, 'and asked for it once, not by every query');
  clock.pass(60_000);
  const far = { minimum_valid_until_ts: Number.MAX_SAFE_INTEGER };
  const body = { server_keys: { [peer.name]: { [peer.signingKey.keyPair.keyId]: far } } };
  assert.equal(documentsOf(await at.post('/_matrix/key/v2/query', body)).length, 1);
  assert.equal(peer.requests.length, 3);
});

test('key/v2/query: a key that is not known yet is asked for, also as the second of two or in the path', async () => {
  const clock = manualClock();
  await using at = await routes({ clock });
  await using peer = await startPeer({ authority, answer: (_, self) => ({ json: keyDocumentOf(self) }) });
  const { keyId } = peer.signingKey.keyPair;
  const path = '/_matrix/key/v2/query';
  await at.post(path, { server_keys: { [peer.name]: { [keyId]: {}, 'ed25519:new': {} } } });
  clock.pass(60_000);
  await at.post(path, { server_keys: { [peer.name]: { [keyId]: {}, 'ed25519:new': {} } } });
  assert.equal(peer.requests.length, 2);
  clock.pass(60_000);
  const inPath = await at.get(`${path}/${encodeURIComponent(peer.name)}/ed25519:new`);
  assert.equal(documentsOf(inPath)[0]?.server_name, peer.name);
  assert.equal(peer.requests.length, 3);
  await at.get(`${path}/${encodeURIComponent(peer.name)}/${keyId}`);
  assert.equal(peer.requests.length, 3);
});

test('key/v2/query: "Notary servers can return keys for servers that are offline", by what is stored', async () => {
  const clock = manualClock();
  await using at = await routes({ clock });
  await using peer = await startPeer({ authority, answer: (_, self) => ({ json: keyDocumentOf(self) }) });
  const path = `/_matrix/key/v2/query/${encodeURIComponent(peer.name)}`;
  await at.get(path);
  await peer.stop();
  clock.pass(2 * 3_600_000);
  const [document = {}] = documentsOf(await at.get(path));
  assert.ok(await verifyServerKeyDocument(document, peer.name));
});

test('key/v2/query: an address that asks for very many servers is told to wait; our own keys cost nothing', async () => {
  await using at = await routes({ rateLimits: true });
  const ask = (servers: JsonObject) => at.post('/_matrix/key/v2/query', { server_keys: servers });
  const hundred = Object.fromEntries(Array.from({ length: 100 }, (_, port) => [`localhost:${port + 1}`, {}]));
  assert.equal((await ask(hundred)).status, 200);
  assert.equal((await ask(hundred)).status, 200);
  const refused = await ask(hundred);
  assert.deepEqual([refused.status, refused.body.errcode], [429, 'M_LIMIT_EXCEEDED']);
  assert.equal((await ask({ 'here.test': {} })).status, 200);
});

test('trusted_key_servers: the keys of a server that is gone come from a notary, and from nobody without one', async () => {
  await using fleet = await startFleet(1);
  const [notary] = fleet.servers;
  assert.ok(notary);
  await using peer = await startPeer({
    authority: fleet.authority,
    answer: (_, self) => ({ json: keyDocumentOf(self) }),
  });
  const { keyId, publicKey } = peer.signingKey.keyPair;
  const query = { atTs: Date.now(), strictValidity: true };
  await notary.ctx.keyRing.keyFor(peer.name, keyId, query);
  await peer.stop();
  const [caPath = ''] = notary.ctx.config.federationCa;
  for (const trustedKeyServers of [[], [notary.serverName]]) {
    await using here = await startServer({ federationCa: [caPath], trustedKeyServers });
    const key = await here.ctx.keyRing.keyFor(peer.name, keyId, query);
    assert.equal(key?.base64, trustedKeyServers.length === 0 ? undefined : publicKey);
  }
});

test('federation/v1/version names Kurir', async () => {
  await using at = await routes();
  const { body } = await at.get('/_matrix/federation/v1/version');
  assert.deepEqual(body, { server: { name: 'Kurir', version: at.ctx.federation.version } });
});

test('.well-known/matrix/server: the configured address, 404 without one', async () => {
  await using delegated = await routes({ federationAddress: 'matrix.here.test:443' });
  const answer = await delegated.get('/.well-known/matrix/server');
  assert.deepEqual(answer.body, { 'm.server': 'matrix.here.test:443' });
  await using plain = await routes();
  assert.equal((await plain.get('/.well-known/matrix/server')).status, 404);
});
