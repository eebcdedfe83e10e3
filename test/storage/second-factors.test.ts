import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as crossSigningResets from '#storage/cross-signing-resets.ts';
import * as passkeys from '#storage/passkeys.ts';
import * as recoveryCodes from '#storage/recovery-codes.ts';
import * as totpSecrets from '#storage/totp-secrets.ts';
import * as userLanguages from '#storage/user-languages.ts';
import { drivers } from '#test/harness/databases.ts';

const ALICE = '@alice:a.test';
const BOB = '@bob:a.test';
const KEY = {
  ...{
    credentialId: 'a',
    userId: ALICE,
    publicKey: 'k',
    counter: 0,
    transports: ['usb', 'nfc'],
    name: 'Key',
  },
  createdTs: 1,
} as const;

for (const { name, open } of drivers) {
  test(`${name}: an app with codes is set up once, and each of its codes is taken once`, async () => {
    await using database = await open();
    const { db } = database;
    const begin = (sealedSecret: string) =>
      db.write('test', (tx) => totpSecrets.begin(tx, ALICE, { sealedSecret, createdTs: 1 }));
    await begin('one');
    await begin('two');
    const begun = { sealedSecret: 'two', createdTs: 1, confirmedTs: undefined, lastStep: 0 };
    assert.deepEqual(await totpSecrets.of(db, ALICE), begun);
    const accept = (step: number) => db.write('test', (tx) => totpSecrets.accept(tx, ALICE, step));
    assert.deepEqual(
      [await accept(7), await accept(7), await accept(6), await accept(8)],
      [...[true, false, false, true]],
    );
    await db.write('test', (tx) => totpSecrets.confirm(tx, ALICE, 5));
    await begin('three');
    const confirmed = { ...begun, confirmedTs: 5, lastStep: 8 };
    assert.deepEqual(await totpSecrets.of(db, ALICE), confirmed);
    assert.equal(await totpSecrets.of(db, BOB), undefined);
    await db.write('test', (tx) => totpSecrets.remove(tx, ALICE));
    assert.equal(await totpSecrets.of(db, ALICE), undefined);
  });

  test(`${name}: a recovery code is its user's, good once, and replaced by new ones`, async () => {
    await using database = await open();
    const { db } = database;
    const take = (user: typeof ALICE | typeof BOB, hash: string) =>
      db.write('test', (tx) => recoveryCodes.take(tx, user, hash));
    await db.write('test', (tx) => recoveryCodes.replace(tx, ALICE, ['a', 'b', 'b']));
    assert.equal(await recoveryCodes.count(db, ALICE), 2);
    assert.deepEqual(
      [await take(BOB, 'a'), await take(ALICE, 'a'), await take(ALICE, 'a')],
      [...[false, true, false]],
    );
    await db.write('test', (tx) => recoveryCodes.replace(tx, ALICE, ['c']));
    assert.deepEqual([await take(ALICE, 'b'), await take(ALICE, 'c')], [false, true]);
  });

  test(`${name}: a passkey belongs to one user`, async () => {
    await using database = await open();
    const { db } = database;
    const add = (userId: typeof ALICE | typeof BOB, credentialId = 'a') =>
      db.write('test', (tx) => passkeys.add(tx, { ...KEY, userId, credentialId }));
    assert.deepEqual([await add(ALICE), await add(BOB), await add(ALICE, 'b')], [true, false, true]);
    await db.write('test', (tx) => passkeys.use(tx, 'a', { counter: 3, now: 9 }));
    assert.deepEqual(await passkeys.of(db, 'a'), { ...KEY, counter: 3, usedTs: 9 });
    assert.deepEqual(
      (await passkeys.ofUser(db, ALICE)).map(({ credentialId }) => credentialId),
      ['a', 'b'],
    );
    assert.equal(await db.write('test', (tx) => passkeys.remove(tx, BOB, 'a')), false);
    assert.equal(await db.write('test', (tx) => passkeys.remove(tx, ALICE, 'a')), true);
    await db.write('test', (tx) => passkeys.clear(tx, ALICE));
    assert.deepEqual(await passkeys.ofUser(db, ALICE), []);
    assert.equal(await passkeys.of(db, 'a'), undefined);
  });

  test(`${name}: a reset of keys is allowed for a time; a language is chosen anew or not at all`, async () => {
    await using database = await open();
    const { db } = database;
    const isAllowed = (now: number) => crossSigningResets.isResetAllowed(db, ALICE, now);
    assert.equal(await isAllowed(0), false);
    await db.write('test', (tx) => crossSigningResets.allowReset(tx, ALICE, 5));
    await db.write('test', (tx) => crossSigningResets.allowReset(tx, ALICE, 9));
    assert.deepEqual([await isAllowed(8), await isAllowed(9)], [true, false]);
    await db.write('test', (tx) => crossSigningResets.endReset(tx, ALICE));
    assert.equal(await isAllowed(0), false);
    await db.write('test', (tx) => userLanguages.set(tx, ALICE, 'sv'));
    await db.write('test', (tx) => userLanguages.set(tx, ALICE, 'fr'));
    assert.deepEqual([await userLanguages.of(db, ALICE), await userLanguages.of(db, BOB)], ['fr', undefined]);
    await db.write('test', (tx) => userLanguages.remove(tx, ALICE));
    assert.equal(await userLanguages.of(db, ALICE), undefined);
  });
}
