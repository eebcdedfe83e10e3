import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  belongsTo,
  isCompliantUserId,
  isEventId,
  isIpLiteral,
  isNewLocalpart,
  isRoomAlias,
  isRoomId,
  isServerName,
  isUserId,
  localpartOf,
  parseServerName,
  serverNameOf,
} from '#keys/ids.ts';

test('server names: the examples of the specification', () => {
  assert.deepEqual(parseServerName('matrix.org'), { host: 'matrix.org', port: undefined });
  assert.deepEqual(parseServerName('matrix.org:8888'), { host: 'matrix.org', port: 8888 });
  assert.deepEqual(parseServerName('1.2.3.4'), { host: '1.2.3.4', port: undefined });
  assert.deepEqual(parseServerName('1.2.3.4:1234'), { host: '1.2.3.4', port: 1234 });
  assert.deepEqual(parseServerName('[1234:5678::abcd]'), { host: '[1234:5678::abcd]', port: undefined });
  assert.deepEqual(parseServerName('[1234:5678::abcd]:5678'), { host: '[1234:5678::abcd]', port: 5678 });
});

test('server names: what the grammar does not allow is refused', () => {
  const refused = [
    '',
    ':',
    ':8448',
    'a:',
    'a:b',
    'a:1:2',
    'a:123456',
    'a:65536',
    'a:-1',
    'a b',
    'a_b',
    'a/b',
    'a@b',
    'a?b',
    'a%20b',
    'bücher.example',
    '256.1.1.1',
    '1234:5678::abcd',
    '[1234:5678::abcd',
    '[]',
    '[::1%lo]',
    '[1::2::3]',
    '[example.org]',
    'a\n',
    'a\0',
    `${'a'.repeat(256)}`,
  ];
  for (const name of refused) assert.equal(isServerName(name), false, JSON.stringify(name));
  for (const name of [null, undefined, 1, {}, ['a']]) assert.equal(isServerName(name), false);
});

test('server names are case-sensitive', () => {
  assert.equal(belongsTo('@a:matrix.org', 'matrix.org'), true);
  assert.equal(belongsTo('@a:MATRIX.org', 'matrix.org'), false);
});

test('IP literals are told from names', () => {
  for (const host of ['127.0.0.1', '[::1]', '[::ffff:127.0.0.1]'])
    assert.equal(isIpLiteral(host), true, host);
  for (const host of ['localhost', '::1', '1.2.3', '1.2.3.256', '[a]'])
    assert.equal(isIpLiteral(host), false, host);
});

test('row 132: the server name of an id is all after its first colon', () => {
  assert.equal(serverNameOf('@a:b.example'), 'b.example');
  assert.equal(serverNameOf('@a:b.example:8448'), 'b.example:8448');
  assert.equal(serverNameOf('@a:[::1]:8448'), '[::1]:8448');
  assert.equal(localpartOf('@a:[::1]:8448'), 'a');
  assert.equal(serverNameOf('@a:b:c'), undefined);
  assert.equal(serverNameOf('@a:b:80:80'), undefined);
  assert.equal(serverNameOf('@a'), undefined);
});

test('user ids: historical localparts are accepted in events', () => {
  for (const id of [
    '@alice:a.example',
    '@:a',
    '@Älice:a',
    '@a b:a',
    '@\u0001:a',
    '@\u{1F600}:a',
    '@__proto__:a:1',
  ]) {
    assert.equal(isUserId(id), true, JSON.stringify(id));
  }
  assert.equal(isCompliantUserId('@Alice!:a'), true);
  for (const id of ['@:a', '@a b:a', '@Älice:a']) assert.equal(isCompliantUserId(id), false, id);
});

test('user ids: NUL, lone surrogates, a bad server name or another sigil are refused', () => {
  for (const id of ['@a\0:b', '@\ud800:b', '@a', '@a:', '@a:b c', 'a:b', '!a:b', '', '@', '@a:b:c']) {
    assert.equal(isUserId(id), false, JSON.stringify(id));
  }
});

test('user ids: 255 bytes, not characters', () => {
  const id = (localpart: string) => `@${localpart}:b`;
  assert.equal(isUserId(id('a'.repeat(252))), true);
  assert.equal(isUserId(id('a'.repeat(253))), false);
  assert.equal(isUserId(id('\u{1F600}'.repeat(63))), true);
  assert.equal(isUserId(id('\u{1F600}'.repeat(64))), false);
});

test('localparts of new accounts: a-z, 0-9 and ._=-/+', () => {
  for (const localpart of ['alice', 'a.b_c=d-e/f+1']) assert.equal(isNewLocalpart(localpart), true);
  for (const localpart of ['', 'Alice', 'a b', 'a:b', 'ä', 'a\n'])
    assert.equal(isNewLocalpart(localpart), false);
});

test('room ids: with a server name to version 11, a hash from version 12 on', () => {
  const hash = `${'a-_9'.repeat(10)}xyz`;
  assert.equal(hash.length, 43);
  for (const id of ['!abc:a.example', '!abc:a:8448', `!${hash}`]) assert.equal(isRoomId(id), true, id);
  for (const id of [
    `!${hash}x`,
    `!${hash.slice(1)}`,
    `!${hash.slice(1)}+`,
    '!abc',
    `$${hash}`,
    '!',
    '!a\0:b',
    '!a:b c',
  ]) {
    assert.equal(isRoomId(id), false, id);
  }
  assert.equal(serverNameOf(`!${hash}`), undefined);
});

test('room aliases: any localpart without NUL, with a server name', () => {
  for (const alias of ['#a:b', '#\u{1F600}:b:80', '#a b:c']) assert.equal(isRoomAlias(alias), true, alias);
  for (const alias of ['#a', '#a\0:b', '@a:b', `#${'a'.repeat(253)}:b`])
    assert.equal(isRoomAlias(alias), false, alias);
});

test('event ids: with and without a server name', () => {
  for (const id of ['$0:domain', '$acR1l0raoZnm60CBwAVgqbZqoO/mYU81xysh1u7XcJk'])
    assert.equal(isEventId(id), true);
  for (const id of ['$', '', 'x', `$${'a'.repeat(255)}`, null]) assert.equal(isEventId(id), false);
});
