import assert from 'node:assert/strict';
import { test } from 'node:test';
import nacl from 'tweetnacl';
import { decodeBase64, encodeBase64 } from '#keys/base64.ts';
import {
  ed25519Backend,
  ed25519With,
  generateSeed,
  isEd25519KeyId,
  keyPairFromSeed,
  publicKeyFrom,
  verify,
  verifyMany,
  verifySync,
} from '#keys/ed25519.ts';
import { fc } from '#test/harness/rounds.ts';

const seed32 = fc.uint8Array({ minLength: 32, maxLength: 32 });
const backends = [ed25519With('openssl'), ed25519With('tweetnacl')];

const keyOf = (base64: string, backend = ed25519With('openssl')) => {
  const key = backend.publicKeyFrom(base64);
  assert.ok(key !== undefined);
  return key;
};

test('Node signs with Ed25519 here, so tweetnacl is not needed', () => {
  assert.equal(ed25519Backend(), 'openssl');
  assert.deepEqual(
    backends.map((each) => each.backend),
    ['openssl', 'tweetnacl'],
  );
});

for (const backend of backends) {
  test(`${backend.backend}: keys and signatures are those of NaCl`, async () => {
    await fc.assert(
      fc.asyncProperty(seed32, fc.uint8Array(), async (seed, message) => {
        const expected = nacl.sign.keyPair.fromSeed(seed);
        const pair = backend.keyPairFromSeed('1', seed);
        assert.equal(pair.publicKey, encodeBase64(expected.publicKey));
        assert.equal(pair.sign(message), encodeBase64(nacl.sign.detached(message, expected.secretKey)));
        assert.equal(await verify(keyOf(pair.publicKey, backend), message, pair.sign(message)), true);
      }),
      { numRuns: 20 },
    );
  });

  test(`${backend.backend}: one changed bit of message or signature is noticed`, async () => {
    await fc.assert(
      fc.asyncProperty(
        seed32,
        fc.uint8Array({ minLength: 1 }),
        fc.nat(),
        fc.nat(511),
        async (seed, message, at, bit) => {
          const pair = backend.keyPairFromSeed('1', seed);
          const key = keyOf(pair.publicKey, backend);
          const signature = Uint8Array.from(decodeBase64(pair.sign(message)) ?? []);
          const otherMessage = message.with(at % message.length, (message[at % message.length] ?? 0) ^ 1);
          const byte = bit >> 3;
          const otherSignature = signature.with(byte, (signature[byte] ?? 0) ^ (1 << (bit & 7)));
          assert.equal(await verify(key, otherMessage, encodeBase64(signature)), false);
          assert.equal(await verify(key, message, encodeBase64(otherSignature)), false);
        },
      ),
      { numRuns: 20 },
    );
  });
}

for (const backend of backends) {
  test(`${backend.backend}: the verdict at once is that of the thread pool`, () => {
    const pair = backend.keyPairFromSeed('1', generateSeed());
    const key = keyOf(pair.publicKey, backend);
    assert.equal(verifySync(key, 'a', pair.sign('a')), true);
    assert.equal(verifySync(key, 'b', pair.sign('a')), false);
    assert.equal(verifySync(key, 'a', 'AA'), false);
  });
}

test('text is signed as its UTF-8', async () => {
  const pair = keyPairFromSeed('1', generateSeed());
  assert.equal(pair.sign('日本'), pair.sign(Buffer.from('日本')));
  assert.equal(await verify(keyOf(pair.publicKey), Buffer.from('日本'), pair.sign('日本')), true);
});

test('a malformed signature does not hold, and does not throw', async () => {
  const pair = keyPairFromSeed('1', generateSeed());
  const key = keyOf(pair.publicKey);
  const good = pair.sign('a');
  assert.equal(await verify(key, 'a', `${good}==`), true, 'padding is allowed');
  for (const bad of [
    '',
    'AA',
    `${good}AA`,
    good.slice(0, -2),
    `!!${good.slice(2)}`,
    ` ${good}`,
    `${good}\n`,
  ]) {
    assert.equal(await verify(key, 'a', bad), false, bad);
  }
});

test('a public key has 32 bytes in Base64', () => {
  const { publicKey } = keyPairFromSeed('1', generateSeed());
  assert.equal(publicKeyFrom(publicKey)?.base64, publicKey);
  assert.equal(publicKeyFrom(`${publicKey}=`)?.base64, publicKey);
  assert.equal(publicKeyFrom(publicKey), publicKeyFrom(publicKey), 'recent keys are kept');
  for (const bad of ['', 'AAAA', `${publicKey}AAAA`, `!${publicKey.slice(1)}`])
    assert.equal(publicKeyFrom(bad), undefined);
});

test('a seed has 32 bytes, a version is made of a-z, A-Z, 0-9 and _', () => {
  assert.throws(() => keyPairFromSeed('1', new Uint8Array(31)), RangeError);
  for (const version of ['', 'a-b', 'a b', 'ä', 'a:b']) {
    assert.throws(() => keyPairFromSeed(version, new Uint8Array(32)), RangeError);
    assert.equal(isEd25519KeyId(`ed25519:${version}`), false);
  }
  assert.equal(keyPairFromSeed('a_1', new Uint8Array(32)).keyId, 'ed25519:a_1');
  assert.equal(isEd25519KeyId('ed25519:a_1'), true);
  assert.equal(isEd25519KeyId('curve25519:a_1'), false);
});

test('seeds differ', () => {
  assert.equal(generateSeed().length, 32);
  assert.notDeepEqual(generateSeed(), generateSeed());
});

test('many signatures are judged each on its own, in order', async () => {
  const pair = keyPairFromSeed('1', generateSeed());
  const publicKey = keyOf(pair.publicKey);
  const items = Array.from({ length: 100 }, (_, index) => {
    const message = `message ${index}`;
    return { publicKey, message, signature: pair.sign(index % 3 === 0 ? 'another' : message) };
  });
  assert.deepEqual(
    await verifyMany(items),
    items.map((_, index) => index % 3 !== 0),
  );
  assert.deepEqual(await verifyMany([]), []);
});

test('lots of many signatures, of several keys, of text and of bytes, are judged side by side', async () => {
  const pairs = ['1', '2'].map((version) => keyPairFromSeed(version, generateSeed()));
  const lots = Array.from({ length: 3 }, (_, lot) =>
    Array.from({ length: 80 + lot }, (_, index) => {
      const pair = pairs[index % 2];
      const other = pairs[(index + 1) % 2];
      assert.ok(pair !== undefined && other !== undefined);
      const message = index % 3 === 0 ? `日本 ${index}` : Buffer.from([lot, index]);
      const signer = index % 5 === 0 ? other : pair;
      const signature = index % 7 === 0 ? 'AA' : signer.sign(message);
      return { publicKey: keyOf(pair.publicKey), message, signature };
    }),
  );
  const verdicts = await Promise.all(lots.map(verifyMany));
  for (const [lot, items] of lots.entries()) {
    assert.deepEqual(
      verdicts[lot],
      items.map((_, index) => index % 5 !== 0 && index % 7 !== 0),
    );
  }
});

test('one signature gets its turn among lots of many', async () => {
  const pair = keyPairFromSeed('1', generateSeed());
  const [publicKey, message, signature] = [keyOf(pair.publicKey), 'a', pair.sign('a')];
  const lots = [1, 2].map(() => verifyMany(new Array(200).fill({ publicKey, message, signature })));
  const one = verify(publicKey, message, signature).then(() => 'one');
  assert.equal(await Promise.race([one, ...lots.map((lot) => lot.then(() => 'many'))]), 'one');
  for (const verdicts of await Promise.all(lots)) assert.ok(verdicts.every(Boolean));
});

test('a lot of signatures that are malformed is judged at once', async () => {
  const publicKey = keyOf(keyPairFromSeed('1', generateSeed()).publicKey);
  const items = new Array(50_000).fill({ publicKey, message: 'a', signature: 'AA' });
  assert.equal((await verifyMany(items)).includes(true), false);
});
