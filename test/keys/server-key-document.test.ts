import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodeCanonical } from '#keys/canonical-json.ts';
import { generateSeed, keyPairFromSeed, publicKeyFrom } from '#keys/ed25519.ts';
import type { JsonObject } from '#keys/json.ts';
import {
  buildServerKeyDocument,
  countersign,
  MAX_KEYS,
  verifyServerKeyDocument,
} from '#keys/server-key-document.ts';
import { signersOf, signJson, verifyJson } from '#keys/sign-json.ts';

const keyPair = keyPairFromSeed('a_1', generateSeed());
const oldPair = keyPairFromSeed('a_0', generateSeed());
const oldKeys = [{ keyId: oldPair.keyId, publicKey: oldPair.publicKey, expiredTs: 500 }];
const serverName = 'a.example:8448';
const document = buildServerKeyDocument({
  serverName,
  signingKey: { keyPair, oldKeys },
  validUntilTs: 1_000,
});

const signed = (changes: JsonObject, by = keyPair): JsonObject => {
  const { signatures, ...plain } = document;
  return signJson({ ...plain, ...changes }, serverName, by);
};

test('our own document is read as we wrote it', async () => {
  const keys = await verifyServerKeyDocument(document, serverName);
  assert.equal(keys?.serverName, serverName);
  assert.equal(keys?.validUntilTs, 1_000);
  assert.deepEqual(Object.fromEntries(keys?.keys ?? []), {
    'ed25519:a_0': { publicKey: oldPair.publicKey, expiredTs: 500 },
    'ed25519:a_1': { publicKey: keyPair.publicKey },
  });
  assert.equal(keys?.document, document);
});

test('our own document has the fields of the specification', () => {
  const { signatures, ...plain } = document;
  assert.deepEqual(plain, {
    server_name: serverName,
    valid_until_ts: 1_000,
    verify_keys: { 'ed25519:a_1': { key: keyPair.publicKey } },
    old_verify_keys: { 'ed25519:a_0': { expired_ts: 500, key: oldPair.publicKey } },
  });
  assert.deepEqual(signersOf(document), [serverName]);
});

test('our own document is written as canonical JSON, for those who verify the text as it comes', () => {
  const older = [{ ...oldKeys[0], keyId: 'ed25519:z' }, ...oldKeys] as typeof oldKeys;
  const signingKey = { keyPair, oldKeys: older };
  const { signatures, ...plain } = buildServerKeyDocument({ serverName, signingKey, validUntilTs: 1_000 });
  assert.equal(JSON.stringify(plain), encodeCanonical(plain));
});

test('a document may lack old_verify_keys, and may have keys of other algorithms', async () => {
  const { old_verify_keys, signatures, ...plain } = document;
  const lean = signJson(plain, serverName, keyPair);
  assert.deepEqual(
    [...((await verifyServerKeyDocument(lean, serverName))?.keys.keys() ?? [])],
    ['ed25519:a_1'],
  );
  const verify_keys = { 'rsa:1': { key: 'x' }, 'ed25519:a_1': { key: keyPair.publicKey } };
  assert.notEqual(await verifyServerKeyDocument(signed({ verify_keys }), serverName), undefined);
});

test('one of several keys that signs is enough', async () => {
  const verify_keys = { 'ed25519:x': { key: oldPair.publicKey }, 'ed25519:a_1': { key: keyPair.publicKey } };
  const keys = await verifyServerKeyDocument(signed({ verify_keys }), serverName);
  assert.deepEqual([...(keys?.keys.keys() ?? [])], ['ed25519:a_0', 'ed25519:x', 'ed25519:a_1']);
});

const many = Object.fromEntries(
  Array.from({ length: MAX_KEYS + 1 }, (_, index) => [`ed25519:${index}`, { key: keyPair.publicKey }]),
);

const refused: Record<string, JsonObject> = {
  'it is of another server': signed({ server_name: 'b.example' }),
  'it has no server name': signed({ server_name: null }),
  'valid_until_ts is text': signed({ valid_until_ts: '1000' }),
  'valid_until_ts is negative': signed({ valid_until_ts: -1 }),
  'valid_until_ts is a fraction': signed({ valid_until_ts: 1.5 }),
  'verify_keys is missing': signed({ verify_keys: null }),
  'verify_keys is empty': signed({ verify_keys: {} }),
  'a key is malformed': signed({ verify_keys: { 'ed25519:a_1': { key: 'AAAA' } } }),
  'a key is no object': signed({ verify_keys: { 'ed25519:a_1': keyPair.publicKey } }),
  'an old key has no date': signed({ old_verify_keys: { 'ed25519:x': { key: oldPair.publicKey } } }),
  'old_verify_keys is an array': signed({ old_verify_keys: [] }),
  'it has too many keys': signed({ verify_keys: { ...many, 'ed25519:a_1': { key: keyPair.publicKey } } }),
  'only an old key signed it': signed({}, oldPair),
  'it was changed after it was signed': { ...document, valid_until_ts: 2_000 },
  'it has no signature': { ...document, signatures: {} },
  'its signatures are no object': { ...document, signatures: 'x' },
  'it is signed by another server only': {
    ...document,
    signatures: { other: Object(document.signatures)[serverName] },
  },
};

for (const [why, bad] of Object.entries(refused)) {
  test(`a document is refused: ${why}`, async () => {
    assert.equal(await verifyServerKeyDocument(bad, serverName), undefined);
  });
}

test('a notary adds its signature and keeps that of the server', async () => {
  const notary = keyPairFromSeed('n', generateSeed());
  const answer = countersign(document, 'notary.example', notary);
  const notaryKey = publicKeyFrom(notary.publicKey);
  assert.ok(notaryKey !== undefined);
  assert.equal(await verifyJson(answer, 'notary.example', notary.keyId, notaryKey), true);
  assert.notEqual(await verifyServerKeyDocument(answer, serverName), undefined);
});
