import assert from 'node:assert/strict';
import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { encodeBase64 } from '#keys/base64.ts';
import { generateSeed, keyPairFromSeed } from '#keys/ed25519.ts';
import { loadOrCreateSigningKey, SigningKeyError } from '#keys/signing-key.ts';

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
