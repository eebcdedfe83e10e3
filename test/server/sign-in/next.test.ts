import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nextOf, signInUrl } from '#server/sign-in/next.ts';

test('after signing in, a person goes on to a path of this server only', () => {
  for (const path of ['/account', '/oauth2/authorize?client_id=a&redirect_uri=https%3A%2F%2Fa.test%2F']) {
    assert.equal(nextOf(path), path);
  }
  assert.equal(nextOf('/account?access_token=secret'), '/account');
  assert.equal(nextOf('/account?lang=sv&access_token=secret'), '/account?lang=sv');
  const elsewhere = [
    '//evil.test',
    '/\\evil.test',
    '/\t/evil.test',
    '/a\nb',
    'https://evil.test',
    'account',
    '',
  ];
  for (const value of [...elsewhere, `/${'a'.repeat(8_192)}`, null, undefined]) {
    assert.equal(nextOf(value), '/account', String(value));
  }
});

test('the way to the sign-in page keeps the whole path to go on to', () => {
  const next = '/oauth2/authorize?state=a%26b&scope=x%20y';
  assert.equal(new URL(signInUrl(next), 'https://a.test').searchParams.get('next'), next);
});
