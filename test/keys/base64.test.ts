import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeBase64, decodeBase64Url, encodeBase64, encodeBase64Url } from '#keys/base64.ts';
import { sha256, sha256Base64, sha256Base64Url } from '#keys/hash.ts';
import { fc } from '#test/harness/rounds.ts';

const examples = ['', 'f', 'fo', 'foo', 'foob', 'fooba', 'foobar'];
const encoded = ['', 'Zg', 'Zm8', 'Zm9v', 'Zm9vYg', 'Zm9vYmE', 'Zm9vYmFy'];

test('unpadded Base64: the examples of the specification', () => {
  assert.deepEqual(
    examples.map((text) => encodeBase64(Buffer.from(text))),
    encoded,
  );
  assert.deepEqual(
    encoded.map((text) => Buffer.from(decodeBase64(text) ?? []).toString()),
    examples,
  );
});

test('Base64 with padding is read too', () => {
  assert.deepEqual(Buffer.from(decodeBase64('Zg==') ?? []).toString(), 'f');
  assert.deepEqual(Buffer.from(decodeBase64Url('Zm8=') ?? []).toString(), 'fo');
});

test('what is not Base64 is refused: junk, white space, a lone digit, wrong padding, the other alphabet', () => {
  for (const text of [
    'AA!!AA==zz',
    'Zg =',
    'Zm\n8',
    'Z',
    'Zm9vY',
    'Zg=',
    'Zg===',
    '=',
    '====',
    'Zm=8',
    'Zé',
    '-_-_',
  ]) {
    assert.equal(decodeBase64(text), undefined, text);
  }
  for (const text of ['+/+/', 'Zg=', 'Z', 'Z g']) assert.equal(decodeBase64Url(text), undefined, text);
});

test('bytes survive both alphabets', () => {
  fc.assert(
    fc.property(fc.uint8Array(), (bytes) => {
      assert.deepEqual(Uint8Array.from(decodeBase64(encodeBase64(bytes)) ?? []), bytes);
      assert.deepEqual(Uint8Array.from(decodeBase64Url(encodeBase64Url(bytes)) ?? []), bytes);
      assert.match(encodeBase64(bytes), /^[A-Za-z0-9+/]*$/);
      assert.match(encodeBase64Url(bytes), /^[A-Za-z0-9_-]*$/);
    }),
  );
});

test('a part of a larger buffer is encoded alone', () => {
  assert.equal(encodeBase64(new Uint8Array(Buffer.from('xfoobarx')).subarray(1, 4)), 'Zm9v');
});

test('SHA-256 of text is that of its UTF-8', () => {
  const abc = 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad';
  assert.equal(sha256('abc').toString('hex'), abc);
  assert.equal(sha256Base64('abc'), 'ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0');
  assert.equal(sha256Base64Url('abc'), 'ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0');
  assert.deepEqual(sha256('日本'), sha256(Buffer.from('日本', 'utf8')));
});
