import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as acceptedPolicies from '#storage/accepted-policies.ts';
import type { Tx } from '#storage/database.ts';
import * as emailValidations from '#storage/email-validations.ts';
import * as identityBindings from '#storage/identity-bindings.ts';
import * as registrationTokens from '#storage/registration-tokens.ts';
import * as termsReminders from '#storage/terms-reminders.ts';
import * as threepids from '#storage/threepids.ts';
import { drivers } from '#test/harness/databases.ts';

const ALICE = '@alice:here.test';
const BOB = '@bob:here.test';
const MAIL = { medium: 'email', address: 'alice@example.org', validatedTs: 5, addedTs: 6 };

for (const { name, open } of drivers) {
  test(`${name}: an address is of one user, until it is taken from them`, async () => {
    await using database = await open();
    const { db } = database;
    const write = <T>(body: (tx: Tx) => Promise<T>) => db.write('test', body);
    assert.equal(await write((tx) => threepids.add(tx, ALICE, MAIL)), true);
    assert.equal(await write((tx) => threepids.add(tx, BOB, MAIL)), false);
    assert.equal(await threepids.ownerOf(db, 'email', MAIL.address), ALICE);
    assert.equal(await threepids.ownerOf(db, 'msisdn', MAIL.address), undefined);
    assert.deepEqual(await threepids.ofUser(db, ALICE), [MAIL]);
    assert.deepEqual(await threepids.ofUser(db, BOB), []);
    assert.equal(await write((tx) => threepids.remove(tx, BOB, MAIL)), false);
    assert.equal(await write((tx) => threepids.remove(tx, ALICE, MAIL)), true);
    assert.equal(await write((tx) => threepids.add(tx, BOB, MAIL)), true);
    await write((tx) => threepids.clear(tx, BOB));
    assert.equal(await threepids.ownerOf(db, 'email', MAIL.address), undefined);
  });

  test(`${name}: a proof is begun anew under the same id, confirmed by its last token once, used once, and ends`, async () => {
    await using database = await open();
    const { db } = database;
    const write = <T>(body: (tx: Tx) => Promise<T>) => db.write('test', body);
    const proof = {
      sid: 'one',
      purpose: 'register' as const,
      address: MAIL.address,
      clientSecretHash: 'secret',
      tokenHash: 'first',
      nextLink: undefined,
      expiresTs: 100,
    };
    assert.equal(await write((tx) => emailValidations.begin(tx, proof, 1)), 'one');
    await write((tx) => emailValidations.sent(tx, 'one', 3));
    await write((tx) => emailValidations.sent(tx, 'one', 2));
    const again = { ...proof, sid: 'two', tokenHash: 'second' };
    assert.equal(await write((tx) => emailValidations.begin(tx, again, 2)), 'one');
    const other = { ...proof, sid: 'three', purpose: 'password' as const };
    assert.equal(await write((tx) => emailValidations.begin(tx, other, 2)), 'three');
    const known = await emailValidations.ofClient(db, proof, 3);
    assert.deepEqual([known?.sid, known?.sendAttempt, known?.tokenHash], ['one', 3, 'second']);

    const confirm = (tokenHash: string, now = 4) =>
      write((tx) => emailValidations.confirm(tx, { sid: 'one', tokenHash, now, expiresTs: 200 }));
    assert.equal(await confirm('first'), false, 'a newer letter was sent');
    assert.equal(await confirm('second', 100), false, 'too late');
    assert.equal(await confirm('second'), true);
    assert.equal(await confirm('second'), false, 'confirmed already');
    assert.equal((await emailValidations.of(db, 'one', 150))?.validatedTs, 4);
    assert.equal(await emailValidations.of(db, 'one', 200), undefined);
    assert.equal(await write((tx) => emailValidations.remove(tx, 'one')), true);
    assert.equal(await write((tx) => emailValidations.remove(tx, 'one')), false);
    await write((tx) => emailValidations.clear(tx, MAIL.address));
    assert.equal(await emailValidations.of(db, 'three', 3), undefined);
  });

  test(`${name}: a registration token admits as many as it says, until it ends or is removed`, async () => {
    await using database = await open();
    const { db } = database;
    const write = <T>(body: (tx: Tx) => Promise<T>) => db.write('test', body);
    const use = (hash: string, now = 10) => write((tx) => registrationTokens.use(tx, hash, now));
    await write((tx) => registrationTokens.add(tx, { hash: 'twice', uses: 2, now: 1, expiresTs: 50 }));
    await write((tx) => registrationTokens.add(tx, { hash: 'any', now: 2, note: 'for the press' }));
    assert.deepEqual(await registrationTokens.list(db, 10), [
      { hash: 'twice', usesLeft: 2, used: 0, createdTs: 1, expiresTs: 50, note: '' },
      {
        hash: 'any',
        usesLeft: undefined,
        used: 0,
        createdTs: 2,
        expiresTs: undefined,
        note: 'for the press',
      },
    ]);
    const uses = await Promise.all(['twice', 'twice', 'twice', 'any', 'any', 'any'].map((hash) => use(hash)));
    assert.equal(uses.filter((used) => used).length, 5);
    assert.deepEqual(
      (await registrationTokens.list(db, 10)).map(({ hash, used }) => [hash, used]),
      [['any', 3]],
    );
    await write((tx) => registrationTokens.add(tx, { hash: 'short', now: 3, expiresTs: 20 }));
    assert.equal(await use('short', 20), false);
    assert.equal(await registrationTokens.isValid(db, 'short', 19), true);
    assert.equal(await write((tx) => registrationTokens.remove(tx, 'any')), true);
    assert.equal(await write((tx) => registrationTokens.remove(tx, 'any')), false);
    assert.equal(await use('any'), false);
  });

  test(`${name}: of an accepted policy each version is kept, with the first time`, async () => {
    await using database = await open();
    const { db } = database;
    const accept = (version: string, acceptedTs: number) =>
      db.write('test', (tx) => acceptedPolicies.add(tx, ALICE, { policyId: 'privacy', version, acceptedTs }));
    await accept('1', 5);
    await accept('1', 6);
    await accept('2', 7);
    assert.deepEqual(await acceptedPolicies.ofUser(db, ALICE), [
      { policyId: 'privacy', version: '1', acceptedTs: 5 },
      { policyId: 'privacy', version: '2', acceptedTs: 7 },
    ]);
  });

  test(`${name}: what identity servers know is kept by user, address and server`, async () => {
    await using database = await open();
    const { db } = database;
    const write = (body: (tx: Tx) => Promise<void>) => db.write('test', body);
    const one = { medium: 'email', address: MAIL.address, idServer: 'id.test' as const };
    const other = { ...one, idServer: 'other.test' as const };
    for (const binding of [other, one, one]) await write((tx) => identityBindings.add(tx, ALICE, binding, 5));
    await write((tx) => identityBindings.add(tx, BOB, one, 6));
    assert.deepEqual(await identityBindings.ofUser(db, ALICE), [one, other]);
    await write((tx) => identityBindings.remove(tx, ALICE, one));
    assert.deepEqual(await identityBindings.ofUser(db, ALICE), [other]);
    assert.deepEqual(await identityBindings.ofUser(db, BOB), [one]);
  });

  test(`${name}: of a reminder of terms the last one is kept`, async () => {
    await using database = await open();
    const { db } = database;
    assert.equal(await termsReminders.of(db, ALICE), undefined);
    for (const versions of ['1', '2']) {
      await db.write('test', (tx) => termsReminders.set(tx, ALICE, versions, 5));
      assert.equal(await termsReminders.of(db, ALICE), versions);
    }
    assert.equal(await termsReminders.of(db, BOB), undefined);
  });
}
