import assert from 'node:assert/strict';
import { test } from 'node:test';
import { keyFaultOf, keyFaults } from '#federation/doctor/key-faults.ts';
import { generateSeed, keyPairFromSeed } from '#keys/ed25519.ts';
import type { KeyId } from '#keys/ids.ts';
import type { JsonObject } from '#keys/json.ts';
import { KeyRing } from '#keys/key-ring.ts';
import { countersign } from '#keys/server-key-document.ts';
import type { SigningKey } from '#keys/signing-key.ts';
import type { Database } from '#storage/database.ts';
import * as serverKeys from '#storage/server-keys.ts';
import { createAuthority } from '#test/harness/certificates.ts';
import { connectFederation } from '#test/harness/connect.ts';
import { temporarySqlite } from '#test/harness/databases.ts';
import { keyDocumentOf, type Peer, startPeer } from '#test/harness/peer.ts';

const authority = await createAuthority();
const signingKey = { keyPair: keyPairFromSeed('ours', generateSeed()), oldKeys: [] };

/** A key ring that asks the network, on a database. */
function ringOn(
  db: Database,
  notaries: readonly string[] = [],
  clock: { now(): number } = Date,
): AsyncDisposable & { ring: KeyRing } {
  const options = { serverName: 'kurir.test', signingKey, db, clock, allowPrivate: true, notaries };
  const { client, keySource } = connectFederation({ ...options, extraCa: authority.cert });
  const ring = new KeyRing(keySource);
  const dispose = async () => {
    await ring[Symbol.asyncDispose]();
    await client[Symbol.asyncDispose]();
  };
  return { ring, [Symbol.asyncDispose]: dispose };
}

const now = () => ({ atTs: Date.now(), strictValidity: true });
const startPublisher = (change: (document: JsonObject) => JsonObject = (document) => document) =>
  startPeer({ authority, answer: (_, peer) => ({ json: change(keyDocumentOf(peer)) }) });

test("a server's key is asked of the server itself, once, without a signature, and stored", async () => {
  await using peer = await startPublisher();
  await using at = await temporarySqlite();
  const { keyId, publicKey } = peer.signingKey.keyPair;
  {
    await using first = ringOn(at.db);
    const keys = await Promise.all([1, 2, 3].map(() => first.ring.keyFor(peer.name, keyId, now())));
    assert.deepEqual(
      keys.map((key) => key?.base64),
      [publicKey, publicKey, publicKey],
    );
  }
  assert.equal(peer.requests.length, 1);
  const [request] = peer.requests;
  assert.equal(request?.url, '/_matrix/key/v2/server');
  assert.equal(request?.headers.authorization, undefined);
  await peer.stop();
  await using second = ringOn(at.db);
  assert.equal((await second.ring.keyFor(peer.name, keyId, now()))?.base64, publicKey);
  assert.deepEqual((await serverKeys.of(at.db, peer.name))?.document.server_name, peer.name);
});

const forgeries: readonly (readonly [string, (document: JsonObject) => JsonObject])[] = [
  ['another server name', (document) => ({ ...document, server_name: 'other.test' })],
  [
    'a changed key',
    (document) => ({ ...document, verify_keys: { 'ed25519:peer': { key: signingKey.keyPair.publicKey } } }),
  ],
  ['no signature', ({ signatures: _, ...document }) => document],
  ['no keys', (document) => ({ ...document, verify_keys: {} })],
];

for (const [rule, change] of forgeries) {
  test(`a key document with ${rule} is not believed`, async () => {
    await using peer = await startPublisher(change);
    await using at = await temporarySqlite();
    await using opened = ringOn(at.db);
    assert.equal(await opened.ring.keyFor(peer.name, peer.signingKey.keyPair.keyId, now()), undefined);
    assert.equal(await serverKeys.of(at.db, peer.name), undefined);
  });
}

test('a server that does not answer is left alone for a while', async () => {
  await using peer = await startPeer({ authority, answer: () => ({ status: 500, json: {} }) });
  await using at = await temporarySqlite();
  await using opened = ringOn(at.db);
  for (let count = 0; count < 3; count += 1) {
    assert.equal(await opened.ring.keyFor(peer.name, 'ed25519:x', now()), undefined);
  }
  assert.equal(peer.requests.length, 1);
});

/** A notary that answers for `subject`, signing with `signer`'s key. */
function startNotary(subject: Peer, signer: 'itself' | 'nobody') {
  return startPeer({
    authority,
    answer: ({ url }, notary) => {
      if (url === '/_matrix/key/v2/server') return { json: keyDocumentOf(notary) };
      const document = keyDocumentOf(subject);
      const signed =
        signer === 'itself' ? countersign(document, notary.name, notary.signingKey.keyPair) : document;
      return { json: { server_keys: [{ server_name: 'noise.test' }, signed] } };
    },
  });
}

test('a notary is asked where the server itself does not answer, and must sign what it says', async () => {
  await using subject = await startPeer({ authority, answer: () => ({ status: 404, json: {} }) });
  await using honest = await startNotary(subject, 'itself');
  await using sloppy = await startNotary(subject, 'nobody');
  const { keyId, publicKey } = subject.signingKey.keyPair;
  for (const [notary, expected] of [
    [honest, publicKey],
    [sloppy, undefined],
  ] as const) {
    await using at = await temporarySqlite();
    await using opened = ringOn(at.db, [notary.name]);
    assert.equal((await opened.ring.keyFor(subject.name, keyId, now()))?.base64, expected);
  }
  const query = honest.requests.find(({ url }) => url === '/_matrix/key/v2/query');
  assert.ok(Object.hasOwn(JSON.parse(query?.body ?? '{}').server_keys, subject.name));
});

test("a notary that is away is left alone: it does not delay every other server's look-up", async () => {
  await using notary = await startPeer({ authority, answer: () => ({ status: 503, json: {} }) });
  await using at = await temporarySqlite();
  await using opened = ringOn(at.db, [notary.name]);
  for (const server of ['localhost:1', 'localhost:2', 'localhost:3']) {
    assert.equal(await opened.ring.keyFor(server, 'ed25519:x', now()), undefined);
  }
  assert.equal(notary.requests.length, 1);
});

test('a notary whose key changed is believed again at the next look-up', async () => {
  await using first = await startPeer({ authority, answer: () => ({ status: 404, json: {} }) });
  await using second = await startPeer({ authority, answer: () => ({ status: 404, json: {} }) });
  await using third = await startPeer({ authority, answer: () => ({ status: 404, json: {} }) });
  let notaryKey: SigningKey = { keyPair: keyPairFromSeed('one', generateSeed()), oldKeys: [] };
  await using notary = await startPeer({
    authority,
    answer: ({ url, body }, { name }) => {
      if (url === '/_matrix/key/v2/server') return { json: keyDocumentOf({ name, signingKey: notaryKey }) };
      const subject = [first, second, third].find((peer) => body.includes(peer.name)) ?? first;
      return { json: { server_keys: [countersign(keyDocumentOf(subject), name, notaryKey.keyPair)] } };
    },
  });
  await using at = await temporarySqlite();
  await using opened = ringOn(at.db, [notary.name]);
  const keyOf = async ({ name, signingKey: { keyPair } }: Peer) =>
    (await opened.ring.keyFor(name, keyPair.keyId, now()))?.base64 === keyPair.publicKey;
  assert.equal(await keyOf(first), true);
  notaryKey = { keyPair: keyPairFromSeed('two', generateSeed()), oldKeys: [] };
  assert.equal(await keyOf(second), false);
  assert.equal(await keyOf(third), true);
  const asked = notary.requests.filter(({ url }) => url === '/_matrix/key/v2/server');
  assert.equal(asked.length, 2, 'its keys are kept between look-ups');
});

test('a valid key that changes and keeps its id is not believed, and noted until that is cleared up', async () => {
  let passed = 0;
  const clock = { now: () => Date.now() + passed };
  let publishes: SigningKey | undefined;
  await using peer = await startPeer({
    authority,
    answer: (_, { name, signingKey: usual }) => ({
      json: keyDocumentOf({ name, signingKey: publishes ?? usual }),
    }),
  });
  await using at = await temporarySqlite();
  await using opened = ringOn(at.db, [], clock);
  const { keyId, publicKey } = peer.signingKey.keyPair;
  const lookUp = (wanted: KeyId) =>
    opened.ring.keyFor(peer.name, wanted, { atTs: clock.now(), strictValidity: true });
  await lookUp(keyId);
  assert.equal(await keyFaultOf(at.db, peer.name), undefined);

  publishes = { keyPair: keyPairFromSeed('peer', generateSeed()), oldKeys: [] };
  passed += 60_000;
  await lookUp('ed25519:another');
  assert.equal((await lookUp(keyId))?.base64, publicKey, 'the key that was known stays');
  const found = await keyFaultOf(at.db, peer.name);
  assert.equal(found?.fault.words, `its signing key ${keyId} changed and kept its id`);
  assert.deepEqual(
    (await keyFaults(at.db)).map(({ server }) => server),
    [peer.name],
  );

  publishes = undefined;
  passed += 10 * 60_000;
  await lookUp('ed25519:another');
  assert.equal(await keyFaultOf(at.db, peer.name), undefined);
});
