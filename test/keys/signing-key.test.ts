import assert from 'node:assert/strict';
import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { encodeBase64 } from '#keys/base64.ts';
import { generateSeed, keyPairFromSeed } from '#keys/ed25519.ts';
import {
  LiveSigningKey,
  loadOrCreateSigningKey,
  MOST_OLD_KEYS,
  rotateSigningKey,
  SigningKeyError,
} from '#keys/signing-key.ts';

async function folderOf(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'signing-key-'));
  t.after(() => rm(folder, { recursive: true }));
  return folder;
}

async function fileWith(t: TestContext, text: string, mode = 0o600): Promise<string> {
  const path = join(await folderOf(t), 'signing.key');
  await writeFile(path, text, { mode });
  await chmod(path, mode);
  return path;
}

const isRefusal = (secret: string) => (error: unknown) => {
  assert.ok(error instanceof SigningKeyError);
  assert.doesNotMatch(error.message, /\n/);
  assert.ok(secret === '' || !error.message.includes(secret), 'the key is not in the message');
  return true;
};

test('a key is made where there is none, for its owner alone, and found again', async (t) => {
  const folder = await folderOf(t);
  const path = join(folder, 'signing.key');
  const made = await loadOrCreateSigningKey(path);
  assert.match(made.keyPair.keyId, /^ed25519:a_[A-Za-z0-9]{4}$/);
  assert.deepEqual(made.oldKeys, []);
  assert.equal((await stat(path)).mode & 0o777, 0o600);
  assert.match(await readFile(path, 'utf8'), /^ed25519 a_[A-Za-z0-9]{4} [A-Za-z0-9+/]{43}\n$/);
  assert.deepEqual(await readdir(folder), ['signing.key']);
  const found = await loadOrCreateSigningKey(path);
  assert.equal(found.keyPair.publicKey, made.keyPair.publicKey);
  assert.equal(found.keyPair.keyId, made.keyPair.keyId);
});

test('two servers have two keys', async (t) => {
  const folder = await folderOf(t);
  const one = await loadOrCreateSigningKey(join(folder, 'one.key'));
  const two = await loadOrCreateSigningKey(join(folder, 'two.key'));
  assert.notEqual(one.keyPair.publicKey, two.keyPair.publicKey);
});

test('the file of another homeserver, and old keys, are read', async (t) => {
  const old = keyPairFromSeed('a_old', generateSeed());
  const seed = 'YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1';
  const text = `# ours\n\ned25519 a_Xy12 ${seed}\r\nold ed25519 a_old ${old.publicKey} 1700000000000\n`;
  const key = await loadOrCreateSigningKey(await fileWith(t, text));
  assert.equal(key.keyPair.keyId, 'ed25519:a_Xy12');
  assert.equal(key.keyPair.publicKey, 'XGX0JRS2Af3be3knz2fBiRbApjm2Dh61gXDJA8kcJNI');
  assert.deepEqual(key.oldKeys, [
    { keyId: old.keyId, publicKey: old.publicKey, expiredTs: 1_700_000_000_000 },
  ]);
});

const seed = encodeBase64(generateSeed());
const { publicKey } = keyPairFromSeed('b', generateSeed());

const malformed: Record<string, string> = {
  'it is empty': '',
  'it holds comments only': '# nothing\n\n',
  'the seed is short': `ed25519 a_1 ${seed.slice(4)}\n`,
  'the seed has junk': `ed25519 a_1 !${seed.slice(1)}\n`,
  'the algorithm is unknown': `rsa a_1 ${seed}\n`,
  'the version is no version': `ed25519 a-1 ${seed}\n`,
  'a word is missing': `ed25519 ${seed}\n`,
  'a word is too many': `ed25519 a_1 ${seed} x\n`,
  'two keys sign': `ed25519 a_1 ${seed}\ned25519 a_2 ${seed}\n`,
  'an old key has no date': `ed25519 a_1 ${seed}\nold ed25519 b ${publicKey}\n`,
  'an old key has no key': `ed25519 a_1 ${seed}\nold ed25519 b 1\n`,
  'two keys share an id': `ed25519 a_1 ${seed}\nold ed25519 a_1 ${publicKey} 1\n`,
  'there are old keys only': `old ed25519 b ${publicKey} 1\n`,
};

for (const [why, text] of Object.entries(malformed)) {
  test(`a file is refused and left as it is: ${why}`, async (t) => {
    const path = await fileWith(t, text);
    await assert.rejects(loadOrCreateSigningKey(path), isRefusal(seed));
    assert.equal(await readFile(path, 'utf8'), text);
  });
}

for (const mode of [0o604, 0o644, 0o606, 0o660, 0o601, 0o666]) {
  test(`a file of mode ${mode.toString(8)} is refused`, async (t) => {
    const path = await fileWith(t, `ed25519 a_1 ${seed}\n`, mode);
    await assert.rejects(loadOrCreateSigningKey(path), isRefusal(seed));
  });
}

for (const mode of [0o400, 0o600, 0o640, 0o440]) {
  test(`a file of mode ${mode.toString(8)} is read`, async (t) => {
    const path = await fileWith(t, `ed25519 a_1 ${seed}\n`, mode);
    assert.equal((await loadOrCreateSigningKey(path)).keyPair.keyId, 'ed25519:a_1');
  });
}

test('no key is made where the folder is missing, or something else has its name', async (t) => {
  const folder = await folderOf(t);
  await assert.rejects(loadOrCreateSigningKey(join(folder, 'missing', 'signing.key')), isRefusal(''));
  await assert.rejects(loadOrCreateSigningKey(folder), SigningKeyError);
  await assert.rejects(loadOrCreateSigningKey(join(folder, 'a'.repeat(300))), isRefusal(''));
});

test('a draft left behind stops the making of a key, and says which file to remove', async (t) => {
  const path = join(await folderOf(t), 'signing.key');
  await writeFile(`${path}.new`, '');
  await assert.rejects(loadOrCreateSigningKey(path), /signing\.key\.new/);
  await assert.rejects(stat(path), { code: 'ENOENT' });
});

test('of several starts at once none makes a second key', async (t) => {
  const path = join(await folderOf(t), 'signing.key');
  const starts = await Promise.allSettled(Array.from({ length: 8 }, () => loadOrCreateSigningKey(path)));
  const made = starts.flatMap((start) =>
    start.status === 'fulfilled' ? [start.value.keyPair.publicKey] : [],
  );
  const { keyPair } = await loadOrCreateSigningKey(path);
  assert.ok(made.length > 0);
  assert.deepEqual(new Set(made), new Set([keyPair.publicKey]));
});

test('rotation: a new key signs, the one before is an old one without its secret, all else stays', async (t) => {
  const text = `# ours\ned25519 a_1 ${seed}\nold ed25519 b ${publicKey} 1700000000000\n`;
  const path = await fileWith(t, text, 0o640);
  const before = await loadOrCreateSigningKey(path);
  const made = await rotateSigningKey(path, 1_800_000_000_000);
  assert.match(made.keyPair.keyId, /^ed25519:a_[A-Za-z0-9]{4}$/);
  assert.notEqual(made.keyPair.publicKey, before.keyPair.publicKey);
  assert.deepEqual(made.oldKeys, [
    { keyId: 'ed25519:a_1', publicKey: before.keyPair.publicKey, expiredTs: 1_800_000_000_000 },
    ...before.oldKeys,
  ]);
  const written = await readFile(path, 'utf8');
  assert.ok(!written.includes(seed), 'the old secret is gone');
  assert.match(written, /^# ours$/m);
  assert.equal((await stat(path)).mode & 0o777, 0o640);
  assert.deepEqual((await loadOrCreateSigningKey(path)).oldKeys, made.oldKeys);
  assert.deepEqual(await readdir(join(path, '..')), ['signing.key']);
});

test('of several rotations at once each that succeeds follows on another: no key is lost', async (t) => {
  const path = await fileWith(t, `ed25519 a_1 ${seed}\n`);
  const results = await Promise.allSettled(Array.from({ length: 8 }, () => rotateSigningKey(path, 1)));
  const made = results.flatMap((each) => (each.status === 'fulfilled' ? [each.value.keyPair.keyId] : []));
  const { keyPair, oldKeys } = await loadOrCreateSigningKey(path);
  assert.ok(made.length > 0);
  const known = [keyPair.keyId, ...oldKeys.map(({ keyId }) => keyId)];
  assert.ok(known.includes('ed25519:a_1'));
  assert.equal(new Set(known).size, oldKeys.length + 1);
  for (const keyId of made) assert.ok(known.includes(keyId), keyId);
  for (const each of results) if (each.status === 'rejected') isRefusal('')(each.reason);
});

test('no rotation without a file, of a file that is malformed, or beyond 32 old keys', async (t) => {
  await assert.rejects(rotateSigningKey(join(await folderOf(t), 'signing.key'), 1), isRefusal(''));
  const old = Array.from({ length: MOST_OLD_KEYS }, (_, index) => `old ed25519 b${index} ${publicKey} 1`);
  for (const text of ['', `ed25519 a_1 ${seed}\n${old.join('\n')}\n`]) {
    const path = await fileWith(t, text);
    await assert.rejects(rotateSigningKey(path, 1), isRefusal(seed));
    assert.equal(await readFile(path, 'utf8'), text);
    assert.deepEqual(await readdir(join(path, '..')), ['signing.key']);
  }
});

test('who holds the live key signs with the new one at once, and the old one is never lost', () => {
  const one = { keyPair: keyPairFromSeed('one', generateSeed()), oldKeys: [] };
  const two = keyPairFromSeed('two', generateSeed());
  const live = new LiveSigningKey(one);
  assert.throws(() => live.replaceBy({ keyPair: two, oldKeys: [] }), /would be lost/);
  assert.equal(live.keyPair, one.keyPair);
  const { keyId, publicKey } = one.keyPair;
  live.replaceBy({ keyPair: two, oldKeys: [{ keyId, publicKey, expiredTs: 1 }] });
  assert.equal(live.keyPair, two);
  assert.equal(live.oldKeys[0]?.keyId, keyId);
});
