import assert from 'node:assert/strict';
import { argon2Sync } from 'node:crypto';
import { test } from 'node:test';
import { decodeBase64, encodeBase64 } from '#keys/base64.ts';
import {
  hashPassword,
  PASSWORDS_AT_ONCE,
  PASSWORDS_WAITING,
  PasswordQueueFull,
  verifyNothing,
  verifyPassword,
} from '#keys/password.ts';

test('a password fits its hash, and no other password does', async () => {
  const stored = await hashPassword('correct horse');
  assert.equal(await verifyPassword('correct horse', stored), true);
  for (const wrong of ['', 'correct horse ', 'Correct horse', 'correct hors']) {
    assert.equal(await verifyPassword(wrong, stored), false);
  }
});

test('the hash is argon2id with 19 MiB, two passes and one lane, in the PHC format', async () => {
  const stored = await hashPassword('geheim');
  const [, salt = '', tag = ''] =
    /^\$argon2id\$v=19\$m=19456,t=2,p=1\$([^$]{22})\$([^$]{43})$/.exec(stored) ?? [];
  const nonce = decodeBase64(salt);
  assert.ok(nonce !== undefined);
  const options = { message: 'geheim', nonce, memory: 19_456, passes: 2, parallelism: 1, tagLength: 32 };
  assert.equal(encodeBase64(argon2Sync('argon2id', options)), tag);
});

test('one password has a new hash each time', async () => {
  assert.notEqual(await hashPassword('a'), await hashPassword('a'));
});

test('one accented letter is the same however the keyboard composed it', async () => {
  assert.equal(await verifyPassword('cafe\u0301', await hashPassword('caf\u00e9')), true);
});

test('a hash with other costs is checked by its own', async () => {
  const nonce = Buffer.from('0123456789abcdef');
  const tag = argon2Sync('argon2id', {
    message: 'a',
    nonce,
    memory: 64,
    passes: 3,
    parallelism: 2,
    tagLength: 24,
  });
  const stored = `$argon2id$v=19$m=64,t=3,p=2$${encodeBase64(nonce)}$${encodeBase64(tag)}`;
  assert.equal(await verifyPassword('a', stored), true);
  assert.equal(await verifyPassword('b', stored), false);
});

test('what is no hash, or would cost too much, fits no password', async () => {
  const salt = encodeBase64(Buffer.alloc(16));
  const tag = encodeBase64(Buffer.alloc(32));
  const stored = [
    '',
    'geheim',
    '$2b$12$abcdefghijklmnopqrstuv',
    `$argon2i$v=19$m=64,t=2,p=1$${salt}$${tag}`,
    `$argon2id$v=16$m=64,t=2,p=1$${salt}$${tag}`,
    `$argon2id$v=19$m=4194304,t=2,p=1$${salt}$${tag}`,
    `$argon2id$v=19$m=64,t=100,p=1$${salt}$${tag}`,
    `$argon2id$v=19$m=64,t=0,p=1$${salt}$${tag}`,
    `$argon2id$v=19$m=7,t=2,p=1$${salt}$${tag}`,
    `$argon2id$v=19$m=64,t=2,p=1$$${tag}`,
    `$argon2id$v=19$m=64,t=2,p=1$${salt}$`,
  ];
  for (const each of stored) assert.equal(await verifyPassword('', each), false, each);
});

test('nobody has a password', async () => {
  for (const password of ['', 'a', 'correct horse']) assert.equal(await verifyNothing(password), false);
});

test('over 64 passwords that wait are refused at once, and those before them are still checked', async () => {
  const places = PASSWORDS_AT_ONCE + PASSWORDS_WAITING;
  const outcomes = await Promise.allSettled(Array.from({ length: places + 5 }, () => verifyNothing('a')));
  const refusals = outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [outcome.reason] : []));
  assert.deepEqual(
    outcomes.slice(0, places).map(({ status }) => status),
    new Array(places).fill('fulfilled'),
  );
  assert.equal(refusals.length, 5);
  for (const refusal of refusals) assert.ok(refusal instanceof PasswordQueueFull);
  assert.equal(await verifyNothing('a'), false, 'afterwards there is room again');
});
