import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as browserSessions from '#storage/browser-sessions.ts';
import * as deviceOrigins from '#storage/device-origins.ts';
import * as devices from '#storage/devices.ts';
import * as loginTokens from '#storage/login-tokens.ts';
import * as providerEnded from '#storage/provider-ended.ts';
import * as providerLinks from '#storage/provider-links.ts';
import * as providerTokens from '#storage/provider-tokens.ts';
import * as users from '#storage/users.ts';
import { drivers } from '#test/harness/databases.ts';

const ANN = '@ann:a.test';
const BOB = '@bob:a.test';
const ISSUER = 'https://login.example.org';
const LINK = {
  issuer: ISSUER,
  subject: 's1',
  sub: 'sub1',
  userId: ANN,
  createdTs: 1,
  usedTs: undefined,
} as const;
const ORIGIN = { provider: 'staff', subject: 's1', sid: 'x' } as const;

for (const { name, open } of drivers) {
  test(`${name}: a person of an issuer is linked to one account, an account to several persons`, async () => {
    await using database = await open();
    const { db } = database;
    const add = (link: providerLinks.ProviderLink): Promise<boolean> =>
      db.write('test', (tx) => providerLinks.add(tx, link));
    assert.equal(await add(LINK), true);
    assert.equal(await add({ ...LINK, userId: BOB }), false);
    assert.equal(await add({ ...LINK, subject: 's2', sub: 'sub2' }), true);
    assert.equal(await add({ ...LINK, issuer: 'https://other.example' }), true);
    assert.deepEqual(await providerLinks.of(db, ISSUER, 's1'), LINK);
    assert.equal(await providerLinks.of(db, ISSUER, 'sub1'), undefined);
    await db.write('test', (tx) => providerLinks.used(tx, { ...LINK, sub: 'changed' }, 7));
    assert.deepEqual(await providerLinks.ofSub(db, ISSUER, 'changed'), [
      { ...LINK, sub: 'changed', usedTs: 7 },
    ]);
    assert.deepEqual(await providerLinks.ofSub(db, ISSUER, 'sub1'), []);
    const subjects = (await providerLinks.ofUser(db, ANN)).map(({ issuer, subject }) => [issuer, subject]);
    assert.deepEqual(subjects, [
      [ISSUER, 's1'],
      [ISSUER, 's2'],
      ['https://other.example', 's1'],
    ]);
    assert.equal(await db.write('test', (tx) => providerLinks.remove(tx, { ...LINK, userId: BOB })), false);
    assert.equal(await db.write('test', (tx) => providerLinks.remove(tx, LINK)), true);
    assert.equal(await providerLinks.of(db, ISSUER, 's1'), undefined);
  });

  test(`${name}: those of an issuer who are signed in are found page by page`, async () => {
    await using database = await open();
    const { db } = database;
    const person = (subject: string, userId: `@${string}`) => ({ ...LINK, subject, userId });
    await db.write('test', async (tx) => {
      for (const link of [person('s1', ANN), person('s2', BOB), person('s3', '@eve:a.test')]) {
        await providerLinks.add(tx, link);
      }
      await devices.create(tx, { userId: ANN, deviceId: 'A', displayName: undefined, now: 1 });
      await browserSessions.add(tx, 'hash', {
        ...{ userId: BOB, createdTs: 1, authTs: 1, factorTs: undefined, expiresTs: 9, origin: undefined },
      });
    });
    const page = async (after: string, limit: number): Promise<string[]> =>
      (await providerLinks.signedIn(db, ISSUER, { after, limit })).map(({ subject }) => subject);
    assert.deepEqual(await page('', 10), ['s1', 's2']);
    assert.deepEqual(await page('', 1), ['s1']);
    assert.deepEqual(await page('s1', 1), ['s2']);
    assert.deepEqual(await page('s2', 1), []);
  });

  test(`${name}: tokens of a provider are due the longest unchecked first, and replaced only as they were read`, async () => {
    await using database = await open();
    const { db } = database;
    const token = (subject: string, sealedToken = 'a') => ({ provider: 'staff', subject, sealedToken });
    await db.write('test', async (tx) => {
      await providerTokens.set(tx, token('s1'), 5);
      await providerTokens.set(tx, token('s2'), 3);
      await providerTokens.set(tx, { ...token('s3'), provider: 'other' }, 1);
    });
    const due = (before: number) => providerTokens.due(db, 'staff', { before, limit: 10 });
    assert.deepEqual(await due(5), [token('s2'), token('s1')]);
    assert.deepEqual(await due(4), [token('s2')]);
    const replace = (before: string): Promise<boolean> =>
      db.write('test', (tx) => providerTokens.replace(tx, token('s2', before), { sealedToken: 'b', now: 9 }));
    assert.equal(await replace('a'), true);
    assert.equal(await replace('a'), false);
    assert.deepEqual(await due(9), [token('s1'), token('s2', 'b')]);
    await db.write('test', (tx) => providerTokens.remove(tx, 'staff', 's1'));
    assert.deepEqual(await due(9), [token('s2', 'b')]);
  });

  test(`${name}: what has ended at a provider is noted once, and forgotten in time`, async () => {
    await using database = await open();
    const { db } = database;
    const sid = { provider: 'staff', kind: 'sid', id: 'x' } as const;
    const add = (times: { expiresTs: number; now: number }): Promise<boolean> =>
      db.write('test', (tx) => providerEnded.add(tx, sid, times));
    assert.equal(await add({ expiresTs: 5, now: 1 }), true);
    assert.equal(await add({ expiresTs: 9, now: 2 }), false);
    assert.equal(await providerEnded.isSessionEnded(db, { provider: 'staff', sid: 'x' }), true);
    assert.equal(await providerEnded.isSessionEnded(db, { provider: 'staff', sid: 'y' }), false);
    assert.equal(await providerEnded.isSessionEnded(db, { provider: 'other', sid: 'x' }), false);
    assert.equal(await providerEnded.isSessionEnded(db, { provider: 'staff', sid: undefined }), false);
    assert.equal(await add({ expiresTs: 9, now: 5 }), true);
  });

  test(`${name}: login tokens and devices remember the session of the provider`, async () => {
    await using database = await open();
    const { db } = database;
    const phone = { userId: ANN, deviceId: 'PHONE' } as const;
    await db.write('test', async (tx) => {
      await loginTokens.add(tx, { hash: 'a', userId: ANN, expiresTs: 9, origin: ORIGIN }, 1);
      await loginTokens.add(tx, { hash: 'b', userId: ANN, expiresTs: 9 }, 1);
      await loginTokens.add(tx, { hash: 'c', userId: ANN, expiresTs: 9, origin: ORIGIN }, 1);
      await deviceOrigins.set(tx, phone, ORIGIN);
    });
    const take = (hash: string) => db.write('test', (tx) => loginTokens.take(tx, hash, 2));
    assert.deepEqual(await take('a'), { userId: ANN, origin: ORIGIN });
    assert.equal(await take('a'), undefined);
    await db.write('test', (tx) => loginTokens.removeOfSid(tx, 'staff', 'x'));
    assert.equal(await take('c'), undefined);
    assert.deepEqual(await take('b'), { userId: ANN });
    assert.deepEqual(await deviceOrigins.of(db, phone), ORIGIN);
    assert.deepEqual(await deviceOrigins.ofSid(db, 'staff', 'x'), [phone]);
    assert.deepEqual(await deviceOrigins.ofSid(db, 'staff', 'y'), []);
  });

  test(`${name}: an account is made an administrator, and given back`, async () => {
    await using database = await open();
    const { db } = database;
    await db.write('test', (tx) =>
      users.create(tx, { userId: ANN, passwordHash: undefined, isAdmin: false, now: 1 }),
    );
    const setAdmin = (isAdmin: boolean) => db.write('test', (tx) => users.setAdmin(tx, ANN, isAdmin));
    assert.deepEqual(
      [await setAdmin(true), await setAdmin(true), await setAdmin(false)],
      [true, false, true],
    );
    assert.equal(await db.write('test', (tx) => users.reactivate(tx, ANN)), false);
    await db.write('test', (tx) => users.deactivate(tx, ANN, 2));
    assert.equal(await db.write('test', (tx) => users.reactivate(tx, ANN)), true);
    assert.equal((await users.of(db, ANN))?.deactivatedTs, undefined);
  });
}
