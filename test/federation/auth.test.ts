import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request as httpRequest } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { authenticateOrigin } from '#federation/auth.ts';
import { formatXMatrix } from '#federation/x-matrix.ts';
import { encodeCanonical } from '#keys/canonical-json.ts';
import { generateSeed, keyPairFromSeed, type SigningKeyPair } from '#keys/ed25519.ts';
import type { ServerName } from '#keys/ids.ts';
import { KeyRing } from '#keys/key-ring.ts';
import { createApp } from '#server/http/create-app.ts';
import { createAuthority } from '#test/harness/certificates.ts';
import { connectFederation } from '#test/harness/connect.ts';
import { temporarySqlite } from '#test/harness/databases.ts';
import { keyDocumentOf, type Peer, startPeer } from '#test/harness/peer.ts';

const OURS = 'kurir.test';
const authority = await createAuthority();
const silent = { debug() {}, info() {}, warn() {}, error() {} };

interface Answer {
  readonly status: number;
  readonly body: string;
}

interface Gate extends AsyncDisposable {
  readonly peer: Peer;
  /** Servers that have shown a sign of life. */
  readonly recovered: ServerName[];
  readonly failed: (server: ServerName) => Promise<void>;
  /** Sends a request as it stands; `authorization` undefined for none. */
  send(request: {
    method: string;
    uri: string;
    body?: string;
    authorization?: string | undefined;
  }): Promise<Answer>;
}

/** An application with one guarded route, which answers with the origin, and a peer that publishes its key. */
async function openGate(): Promise<Gate> {
  const peer = await startPeer({ authority, answer: (_, self) => ({ json: keyDocumentOf(self) }) });
  const database = await temporarySqlite();
  const signingKey = { keyPair: keyPairFromSeed('ours', generateSeed()), oldKeys: [] };
  const options = { serverName: OURS, signingKey, db: database.db, clock: Date, allowPrivate: true };
  const connected = connectFederation({ ...options, extraCa: authority.cert });
  const keyRing = new KeyRing(connected.keySource);
  const recovered: ServerName[] = [];
  connected.backoff.onRecovery((server) => recovered.push(server));
  const ctx = {
    serverName: OURS,
    keyRing,
    clock: Date,
    backoff: connected.backoff,
    callers: connected.callers,
  };
  const app = createApp({ log: silent, cors: false, bodyLimit: 1_000_000, relaysEvents: true });
  app.decorateRequest('origin', '');
  app.all('/*', { preHandler: authenticateOrigin(ctx) }, async (request) => ({ origin: request.origin }));
  await app.listen({ port: 0, host: '127.0.0.1' });
  const { port } = app.server.address() as AddressInfo;
  return {
    peer,
    recovered,
    failed: (server) => connected.backoff.failed(server),
    send: async ({ method, uri, body, authorization }) => {
      const request = httpRequest({
        port,
        method,
        path: uri,
        headers: authorization === undefined ? {} : { authorization },
      });
      request.end(body);
      const [response] = await once(request, 'response');
      return { status: response.statusCode, body: await text(response) };
    },
    [Symbol.asyncDispose]: async () => {
      await app.close();
      await keyRing[Symbol.asyncDispose]();
      await connected.client[Symbol.asyncDispose]();
      await peer[Symbol.asyncDispose]();
      await database[Symbol.asyncDispose]();
    },
  };
}

interface Signed {
  readonly method?: string;
  readonly uri?: string;
  /** Canonical JSON, as it is signed. */
  readonly content?: string;
  readonly destination?: string;
  readonly keyPair?: SigningKeyPair;
  readonly origin?: string;
}

/** The header of a request, by the specification's own recipe on text. */
function headerFor(peer: Peer, signed: Signed): string {
  const { method = 'PUT', uri = '/x', content, destination = OURS, origin = peer.name } = signed;
  const { keyPair = peer.signingKey.keyPair } = signed;
  const members = [
    ...(content === undefined ? [] : [`"content":${content}`]),
    ...[`"destination":"${destination}"`, `"method":"${method}"`, `"origin":"${origin}"`, `"uri":"${uri}"`],
  ];
  const sig = keyPair.sign(`{${members.join(',')}}`);
  return formatXMatrix({ origin, destination, key: keyPair.keyId, sig });
}

const content = encodeCanonical({ pdus: [], origin: 'x', hashes: { sha256: 'a' }, signatures: { x: {} } });

test('a signed request sets its origin, with raw sigils in the path, a query and a body of any key order', async () => {
  await using gate = await openGate();
  const uri = '/_matrix/federation/v1/event/!room:a.test/$event?v=@x:y&v=%24z';
  const authorization = headerFor(gate.peer, { uri, content });
  const body = `{ "signatures": {"x":{}}, "pdus" : [], "hashes":{"sha256":"a"}, "origin":"x" }`;
  const answer = await gate.send({ method: 'PUT', uri, body, authorization });
  assert.deepEqual([answer.status, JSON.parse(answer.body)], [200, { origin: gate.peer.name }]);
});

test('a request without a body is signed without content', async () => {
  await using gate = await openGate();
  const authorization = headerFor(gate.peer, { method: 'GET' });
  assert.equal((await gate.send({ method: 'GET', uri: '/x', authorization })).status, 200);
});

test('a body with numbers that are not canonical counts as it was sent', async () => {
  await using gate = await openGate();
  const body = '{"pdus":[{"depth":9007199254740993,"x":1.50}]}';
  const authorization = headerFor(gate.peer, { content: body });
  assert.equal((await gate.send({ method: 'PUT', uri: '/x', body, authorization })).status, 200);
});

test('a header without destination is accepted; the signature still covers our name', async () => {
  await using gate = await openGate();
  const authorization = headerFor(gate.peer, { content }).replace(`destination="${OURS}",`, '');
  assert.equal((await gate.send({ method: 'PUT', uri: '/x', body: content, authorization })).status, 200);
});

test('401 M_UNAUTHORIZED for whatever the signature does not cover, and for other keys and destinations', async () => {
  await using gate = await openGate();
  const { peer } = gate;
  const good = headerFor(peer, { content });
  const stranger = keyPairFromSeed('peer', generateSeed());
  const sent = { method: 'PUT', uri: '/x', body: content };
  const refused = [
    { ...sent, authorization: undefined },
    { ...sent, authorization: 'Bearer token' },
    { ...sent, uri: '/y', authorization: good },
    { ...sent, uri: '/x?a=1', authorization: good },
    { ...sent, uri: '/%78', authorization: good },
    { ...sent, method: 'POST', authorization: good },
    { ...sent, body: '{"pdus":[1]}', authorization: good },
    { method: 'PUT', uri: '/x', authorization: good },
    { ...sent, authorization: headerFor(peer, { content, keyPair: stranger }) },
    {
      ...sent,
      authorization: headerFor(peer, { content, keyPair: keyPairFromSeed('other', generateSeed()) }),
    },
    { ...sent, authorization: headerFor(peer, { content, destination: 'other.test' }) },
    { ...sent, authorization: good.replace(/destination="[^"]*"/, 'destination="other.test"') },
    { ...sent, authorization: headerFor(peer, { content, origin: OURS }) },
    { ...sent, authorization: headerFor(peer, { content, origin: 'localhost:1' }) },
    { ...sent, authorization: good.replace(/sig="./, 'sig="!') },
    { ...sent, authorization: good.replace(/sig="[^"]*"/, 'sig="AAAA"') },
  ];
  for (const [index, request] of refused.entries()) {
    const answer = await gate.send(request);
    assert.equal(answer.status, 401, `request ${index}`);
    assert.equal(JSON.parse(answer.body).errcode, 'M_UNAUTHORIZED', `request ${index}`);
  }
  assert.equal((await gate.send({ ...sent, authorization: good })).status, 200);
});

test('a request of a server ends its back-off', async () => {
  await using gate = await openGate();
  await gate.failed(gate.peer.name);
  const request = {
    method: 'PUT',
    uri: '/x',
    body: content,
    authorization: headerFor(gate.peer, { content }),
  };
  assert.equal((await gate.send(request)).status, 200);
  assert.deepEqual(gate.recovered, [gate.peer.name]);
  assert.equal((await gate.send(request)).status, 200);
  assert.equal(gate.recovered.length, 1);
});
