import assert from 'node:assert/strict';
import { test } from 'node:test';
import { equalSecrets, hashToken, hmacSha1Hex, newToken } from '#keys/tokens.ts';

test('a token has its prefix and at least 160 random bits, URL-safe', () => {
  assert.match(newToken('kat'), /^kat_[A-Za-z0-9_-]{32}$/);
  const tokens = new Set(Array.from({ length: 10_000 }, () => newToken('kat')));
  assert.equal(tokens.size, 10_000);
});

test('what is stored of a token is its SHA-256', () => {
  assert.equal(hashToken('abc'), 'ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0');
});

test('secrets are equal or not, whatever their lengths', () => {
  assert.equal(equalSecrets('a', 'a'), true);
  for (const other of ['', 'b', 'aa', 'A', 'a\0']) assert.equal(equalSecrets('a', other), false);
});

test('HMAC-SHA1: test case 2 of RFC 2202', () => {
  assert.equal(
    hmacSha1Hex('Jefe', 'what do ya want for nothing?'),
    'effcdf6ae5eb2fa2d27416d5f184df9c259a7c79',
  );
});
