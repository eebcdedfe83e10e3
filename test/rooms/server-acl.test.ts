import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JsonObject } from '#keys/json.ts';
import { matchesGlob } from '#rooms/glob.ts';
import { isServerAllowed } from '#rooms/server-acl.ts';
import { roomOf } from '#test/harness/room-builder.ts';

const room = roomOf('@alice:a.test');

function allows(content: JsonObject, server: string): boolean {
  return isServerAllowed(room.state('@alice:a.test', 'm.room.server_acl', '', content), server);
}

test('ACL 1: without m.room.server_acl every server is allowed', () => {
  assert.equal(isServerAllowed(undefined, 'any.test'), true);
  assert.equal(isServerAllowed(undefined, '1.2.3.4:80'), true);
});

test('ACL 2: IP literals are denied where allow_ip_literals is false, and only there', () => {
  for (const server of ['1.2.3.4', '1.2.3.4:8448', '[::1]', '[2001:db8::1]:8448']) {
    assert.equal(allows({ allow: ['*'], allow_ip_literals: false }, server), false, server);
    assert.equal(allows({ allow: ['*'], allow_ip_literals: true }, server), true, server);
    assert.equal(allows({ allow: ['*'] }, server), true, server);
    assert.equal(allows({ allow: ['*'], allow_ip_literals: 'false' }, server), true, server);
  }
  assert.equal(allows({ allow: ['*'], allow_ip_literals: false }, 'a.test'), true);
});

test('ACL 3: deny goes before allow', () => {
  assert.equal(allows({ allow: ['*'], deny: ['evil.test'] }, 'evil.test'), false);
  assert.equal(allows({ allow: ['evil.test'], deny: ['*.test'] }, 'evil.test'), false);
  assert.equal(allows({ allow: ['*'], deny: ['evil.test'] }, 'good.test'), true);
  assert.equal(allows({ allow: ['*'], deny: ['evil.test'] }, 'sub.evil.test'), true);
  assert.equal(allows({ allow: ['*'], deny: ['*.evil.test'] }, 'sub.evil.test'), false);
  assert.equal(allows({ allow: ['*'], deny: ['evil?.test'] }, 'evil7.test'), false);
});

test('ACL 4 and 5: what no allow entry matches is denied', () => {
  assert.equal(allows({ allow: ['good.test'] }, 'good.test'), true);
  assert.equal(allows({ allow: ['good.test'] }, 'other.test'), false);
});

test('ACL: neither the port nor case counts', () => {
  const acl = { allow: ['*'], deny: ['EVIL.test'] };
  for (const server of ['evil.test', 'evil.test:8448', 'evil.test:1234', 'Evil.Test', 'EVIL.TEST:1']) {
    assert.equal(allows(acl, server), false, server);
  }
});

test('ACL: a trailing dot does not get around deny', () => {
  assert.equal(allows({ allow: ['*'], deny: ['evil.test'] }, 'evil.test.'), false);
});

test('ACL: a missing or malformed allow list denies every server', () => {
  for (const content of [
    {},
    { deny: [] },
    { allow: '*' },
    { allow: {} },
    { allow: [5, null] },
    { allow: null },
  ]) {
    assert.equal(allows(content, 'a.test'), false, JSON.stringify(content));
  }
});

test('ACL: entries that are not strings and a malformed deny list do not count', () => {
  assert.equal(allows({ allow: ['*', 5], deny: [null, ['a.test']] }, 'a.test'), true);
  assert.equal(allows({ allow: ['*'], deny: 'a.test' }, 'a.test'), true);
});

test('ACL: dots are no wildcards, and what is no server name is denied', () => {
  assert.equal(allows({ allow: ['*'], deny: ['a.test'] }, 'axtest'), true);
  assert.equal(allows({ allow: ['*'] }, 'not a name'), false);
});

test('glob: * matches any run, ? exactly one character, all else itself', () => {
  const cases: readonly [string, string, boolean][] = [
    ['', '', true],
    ['', 'a', false],
    ['*', '', true],
    ['*', 'anything', true],
    ['?', '', false],
    ['?', 'a', true],
    ['?', 'ab', false],
    ['?', '\u{1F600}', true],
    ['??', '\u{1F600}', false],
    ['a*c', 'abbbc', true],
    ['a*c', 'abbb', false],
    ['*b*', 'abc', true],
    ['*a?c*', 'xxabcxx', true],
    ['a**b', 'ab', true],
    ['*.test', 'a.test', true],
    ['*.test', '.test', true],
    ['*.test', 'test', false],
    ['[a]', 'a', false],
    ['.', 'x', false],
    ['a?', 'a', false],
    ['*ab', 'aab', true],
    ['*aab*b', 'aaaabxb', true],
  ];
  for (const [pattern, text, expected] of cases) {
    assert.equal(matchesGlob(pattern, text), expected, `${pattern} on ${text}`);
  }
});

test('glob: a pattern of many stars ends, however the text is made', () => {
  // Backtracking over every star would take longer than anybody waits.
  assert.equal(matchesGlob(`${'*a'.repeat(60)}b`, 'a'.repeat(255)), false);
  assert.equal(matchesGlob(`${'*'.repeat(10_000)}b`, 'a'.repeat(255)), false);
});
