import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { FastifyInstance } from 'fastify';
import type { FederationContext } from '#federation/context.ts';
import { keysQueryRoutes } from '#federation/routes/keys-query.ts';
import { keysServerRoutes } from '#federation/routes/keys-server.ts';
import { versionRoutes } from '#federation/routes/version.ts';
import { wellknownRoutes } from '#federation/routes/wellknown.ts';
import { publicKeyFrom } from '#keys/ed25519.ts';
import type { JsonObject } from '#keys/json.ts';
import { KeyRing } from '#keys/key-ring.ts';
import { verifyServerKeyDocument } from '#keys/server-key-document.ts';
import { verifyJson } from '#keys/sign-json.ts';
import { createApp } from '#server/http.ts';
import { createAuthority } from '#test/harness/certificates.ts';
import { startSending } from '#test/harness/outbound.ts';
import { keyDocumentOf, startPeer } from '#test/harness/peer.ts';

const authority = await createAuthority();
const silent = { debug() {}, info() {}, warn() {}, error() {} };

/** The routes, of a server named `here.test`. */
async function routes(
  publicAddress?: string,
): Promise<AsyncDisposable & { app: FastifyInstance; ctx: FederationContext }> {
  const server = await startSending(authority);
  const clock = { now: () => Date.now() };
  const keyRing = new KeyRing({ ...server.ctx.keySource, clock });
  const federation = { version: '1.2.3', publicAddress };
  const ctx = { ...server.ctx, clock, keyRing, federation, sender: server.sender };
  const app = createApp({ log: silent, cors: false, bodyLimit: 1_000_000 });
  keysServerRoutes(app, ctx);
  keysQueryRoutes(app, ctx);
  versionRoutes(app, ctx);
  wellknownRoutes(app, ctx);
  const dispose = async () => {
    await app.close();
    await keyRing[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
  };
  return { app, ctx, [Symbol.asyncDispose]: dispose };
}

test('key/v2/server: our key, signed by itself, valid for about a day; an older form names a key', async () => {
  await using at = await routes();
  for (const url of [
    '/_matrix/key/v2/server',
    '/_matrix/key/v2/server/',
    '/_matrix/key/v2/server/ed25519:x',
  ]) {
    const document: JsonObject = (await at.app.inject(url)).json();
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
  const queries = [
    { url: `/_matrix/key/v2/query/${encodeURIComponent(peer.name)}` },
    { url: '/_matrix/key/v2/query', method: 'POST', payload: { server_keys: { [peer.name]: {} } } },
    {
      url: '/_matrix/key/v2/query',
      method: 'POST',
      payload: { server_keys: { [peer.name]: { [keyId]: {} } } },
    },
  ] as const;
  for (const query of queries) {
    const { server_keys: documents } = (await at.app.inject(query)).json<{ server_keys: JsonObject[] }>();
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
    at.app.inject({ url: '/_matrix/key/v2/query', method: 'POST', payload: { server_keys: servers } });
  assert.deepEqual((await ask({})).json(), { server_keys: [] });
  assert.deepEqual((await ask({ 'localhost:1': {} })).json(), { server_keys: [] });
  const ours = (await ask({ 'here.test': {} })).json<{ server_keys: JsonObject[] }>();
  assert.equal(ours.server_keys[0]?.server_name, 'here.test');
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
  for (const payload of bad) {
    const answer = await at.app.inject({ url: '/_matrix/key/v2/query', method: 'POST', payload });
    assert.equal(answer.statusCode, 400);
  }
  assert.equal((await at.app.inject('/_matrix/key/v2/query/a%20b')).statusCode, 400);
  const answer = await at.app.inject('/_matrix/key/v2/query/a.test?minimum_valid_until_ts=soon');
  assert.equal(answer.statusCode, 400);
});

test('federation/v1/version names Kurir', async () => {
  await using at = await routes();
  const answer = await at.app.inject('/_matrix/federation/v1/version');
  assert.deepEqual(answer.json(), { server: { name: 'Kurir', version: '1.2.3' } });
});

test('.well-known/matrix/server: the configured address, 404 without one', async () => {
  await using delegated = await routes('matrix.here.test:443');
  const answer = await delegated.app.inject('/.well-known/matrix/server');
  assert.deepEqual(answer.json(), { 'm.server': 'matrix.here.test:443' });
  await using plain = await routes();
  assert.equal((await plain.app.inject('/.well-known/matrix/server')).statusCode, 404);
});
