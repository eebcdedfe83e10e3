import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeBase64 } from '#keys/base64.ts';
import { generateSeed, keyPairFromSeed, publicKeyFrom, verify } from '#keys/ed25519.ts';
import type { JsonObject } from '#keys/json.ts';
import { signableBytes, signaturesOf, signersOf, signJson, verifyJson } from '#keys/sign-json.ts';
import { fc } from '#test/harness/rounds.ts';
import { jsonObject } from './json-values.ts';

/** https://spec.matrix.org/v1.19/appendices/#cryptographic-test-vectors (Apache-2.0) */
const seed = decodeBase64('YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1') ?? new Uint8Array();
const pair = keyPairFromSeed('1', seed);
const publicKey = publicKeyFrom(pair.publicKey);
assert.ok(publicKey !== undefined);

test('test vector: an empty object', () => {
  const signature = 'K8280/U9SSy9IVtjBuVeLr+HpOB4BQFWbg+UZaADMtTdGYI7Geitb76LTrr5QV/7Xg4ahLwYGYZzuHGZKM5ZAQ';
  assert.deepEqual(signJson({}, 'domain', pair), { signatures: { domain: { 'ed25519:1': signature } } });
});

test('test vector: an object with values', () => {
  const signature = 'KqmLSbO39/Bzb0QIYE82zqLwsA+PDzYIpIRA2sRQ4sL53+sN6/fpNSoqE7BP7vBZhG6kYdD13EIMJpvhJI+6Bw';
  assert.deepEqual(signJson({ one: 1, two: 'Two' }, 'domain', pair), {
    one: 1,
    two: 'Two',
    signatures: { domain: { 'ed25519:1': signature } },
  });
});

test('test vector: a minimal event, as redacted and hashed', async () => {
  const event = {
    room_id: '!x:domain',
    sender: '@a:domain',
    origin: 'domain',
    origin_server_ts: 1000000,
    signatures: {
      domain: {
        'ed25519:1': 'KxwGjPSDEtvnFgU00fwFz+l6d2pJM6XBIaMEn81SXPTRl16AqLAYqfIReFGZlHi5KLjAWbOoMszkwsQma+lYAg',
      },
    },
    hashes: { sha256: '5jM4wQpv6lnBo7CLIghJuHdW+s2CMBJPUOGOC89ncos' },
    type: 'X',
    content: {},
    prev_events: [],
    auth_events: [],
    depth: 3,
    unsigned: { age_ts: 1000000 },
  };
  assert.equal(await verifyJson(event, 'domain', 'ed25519:1', publicKey), true);
  assert.equal(await verifyJson({ ...event, depth: 4 }, 'domain', 'ed25519:1', publicKey), false);
});

test('neither signatures nor unsigned are covered', () => {
  const object = { b: 1, a: { unsigned: 2, signatures: 3 }, unsigned: { age: 1 }, signatures: { x: {} } };
  assert.equal(signableBytes(object), '{"a":{"signatures":3,"unsigned":2},"b":1}');
});

test('signing keeps unsigned, the signatures of others and our other ones', () => {
  const signatures = { other: { 'ed25519:x': 'sig' }, domain: { 'ed25519:0': 'old' } };
  const object = Object.freeze({ a: 1, unsigned: { age: 5 }, signatures });
  const signed = signJson(object, 'domain', pair);
  assert.deepEqual(signed.unsigned, { age: 5 });
  assert.deepEqual(signersOf(signed), ['other', 'domain']);
  assert.deepEqual([...signaturesOf(signed, 'domain').keys()], ['ed25519:0', 'ed25519:1']);
  assert.deepEqual(object.signatures, { other: { 'ed25519:x': 'sig' }, domain: { 'ed25519:0': 'old' } });
});

test('an own __proto__ key is covered and kept', async () => {
  const object: JsonObject = JSON.parse('{"__proto__":{"a":1},"b":2}');
  const signed = signJson(object, 'domain', pair);
  assert.equal(signableBytes(signed), '{"__proto__":{"a":1},"b":2}');
  assert.equal(await verifyJson(signed, 'domain', 'ed25519:1', publicKey), true);
  assert.equal(
    await verifyJson({ b: 2, signatures: signed.signatures }, 'domain', 'ed25519:1', publicKey),
    false,
  );
});

test('algorithms that are not understood, and values that are no text, count as missing', () => {
  const object = { signatures: { a: { 'rsa:1': 'x', 'ed25519:1': 1, 'ed25519:2': 'y' }, b: [], c: null } };
  assert.deepEqual([...signaturesOf(object, 'a')], [['ed25519:2', 'y']]);
  for (const entity of ['b', 'c', 'd', 'constructor', '__proto__'])
    assert.equal(signaturesOf(object, entity).size, 0);
  for (const signatures of [null, [], 'x', 1]) assert.deepEqual(signersOf({ signatures }), []);
});

test('malformed signatures of others do not keep us from signing', async () => {
  for (const signatures of [null, [], 'x', { domain: 1 }]) {
    const signed = signJson({ a: 1, signatures }, 'domain', pair);
    assert.equal(await verifyJson(signed, 'domain', 'ed25519:1', publicKey), true);
  }
});

test('what is signed holds, and not after a change, a rename of the key id or another entity', async () => {
  const stranger = publicKeyFrom(keyPairFromSeed('1', generateSeed()).publicKey);
  assert.ok(stranger !== undefined);
  await fc.assert(
    fc.asyncProperty(jsonObject, async (object) => {
      const signed = signJson(object, 'domain', pair);
      assert.equal(await verifyJson(signed, 'domain', 'ed25519:1', publicKey), true);
      assert.equal(
        await verifyJson({ ...signed, unsigned: { age: 1 } }, 'domain', 'ed25519:1', publicKey),
        true,
      );
      assert.equal(
        await verifyJson({ ...signed, added: 1, more: 2 }, 'domain', 'ed25519:1', publicKey),
        false,
      );
      assert.equal(await verifyJson(signed, 'domain', 'ed25519:2', publicKey), false);
      assert.equal(await verifyJson(signed, 'other', 'ed25519:1', publicKey), false);
      assert.equal(await verifyJson(signed, 'domain', 'ed25519:1', stranger), false);
    }),
    { numRuns: 50 },
  );
});

test('the signature is one over the canonical JSON', async () => {
  const signed = signJson({ b: 1, a: 2 }, 'domain', pair);
  const signature = signaturesOf(signed, 'domain').get('ed25519:1') ?? '';
  assert.equal(await verify(publicKey, '{"a":2,"b":1}', signature), true);
});
