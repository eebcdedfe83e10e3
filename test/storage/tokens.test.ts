/** Tokens of devices, and what the server keeps of accounts beside their passwords, on both databases. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as accessTokens from '#storage/access-tokens.ts';
import type { Database, Tx } from '#storage/database.ts';
import * as devices from '#storage/devices.ts';
import * as erasedUsers from '#storage/erased-users.ts';
import * as loginTokens from '#storage/login-tokens.ts';
import * as openidTokens from '#storage/openid-tokens.ts';
import * as refreshTokens from '#storage/refresh-tokens.ts';
import * as users from '#storage/users.ts';
import { drivers } from '#test/harness/databases.ts';

const ALICE = '@alice:a.test';
const GUEST = '@guest:a.test';
const PHONE = { userId: ALICE, deviceId: 'PHONE' } as const;

function writer(db: Database): <T>(body: (tx: Tx) => Promise<T>) => Promise<T> {
  return (body) => db.write('test', body);
}

async function addAccounts(db: Database): Promise<void> {
  await db.write('test', async (tx) => {
    await users.create(tx, { userId: ALICE, passwordHash: 'x', isAdmin: true, now: 1 });
    await users.create(tx, { userId: GUEST, passwordHash: undefined, isAdmin: false, isGuest: true, now: 1 });
  });
}

for (const { name, open } of drivers) {
  test(`${name}: an access token names its owner, who may be locked, and what it replaces`, async () => {
    await using database = await open();
    const { db } = database;
    const write = writer(db);
    await addAccounts(db);
    const refresh = { hash: 'r1', ...PHONE, expiresTs: undefined };
    await write((tx) => refreshTokens.add(tx, refresh));
    await write((tx) => refreshTokens.add(tx, { ...refresh, hash: 'r2' }));
    await write((tx) => refreshTokens.setNext(tx, 'r1', 'r2'));
    await write((tx) =>
      accessTokens.add(tx, { hash: 'a1', ...PHONE, now: 1, expiresTs: 9, refreshHash: 'r1' }),
    );
    await write((tx) =>
      accessTokens.add(tx, { hash: 'a2', ...PHONE, now: 1, expiresTs: 9, refreshHash: 'r2' }),
    );
    const owner = { ...PHONE, isAdmin: true, isGuest: false, isLocked: false, isSuspended: false };
    assert.deepEqual(await accessTokens.ownerOf(db, 'a1'), { ...owner, expiresTs: 9, replaces: undefined });
    assert.deepEqual(await accessTokens.ownerOf(db, 'a2'), { ...owner, expiresTs: 9, replaces: 'r1' });
    await write((tx) => refreshTokens.spend(tx, 'r1', 5));
    await write((tx) => accessTokens.expireOfRefresh(tx, 'r1', 5));
    assert.equal((await accessTokens.ownerOf(db, 'a1'))?.expiresTs, 5);
    assert.equal((await accessTokens.ownerOf(db, 'a2'))?.replaces, undefined);
    assert.deepEqual(await refreshTokens.before(db, 'r2'), await refreshTokens.of(db, 'r1'));
    await write((tx) => users.setLocked(tx, ALICE, 7));
    await write((tx) => users.setSuspended(tx, ALICE, 7));
    const restricted = await accessTokens.ownerOf(db, 'a2');
    assert.deepEqual([restricted?.isLocked, restricted?.isSuspended], [true, true]);
    await write((tx) => accessTokens.removeExpired(tx, PHONE, 5));
    await write((tx) => refreshTokens.removeSpent(tx, PHONE, 6));
    assert.equal(await accessTokens.ownerOf(db, 'a1'), undefined);
    assert.equal(await refreshTokens.of(db, 'r1'), undefined);
    await write((tx) => accessTokens.expireOfDevice(tx, PHONE, 6));
    assert.equal((await accessTokens.ownerOf(db, 'a2'))?.expiresTs, 6);
    await write((tx) => refreshTokens.removeOfDevice(tx, ALICE, 'PHONE'));
    assert.equal(await refreshTokens.of(db, 'r2'), undefined);
  });

  test(`${name}: a login token is taken once, and not after its end`, async () => {
    await using database = await open();
    const { db } = database;
    const write = writer(db);
    await write((tx) => loginTokens.add(tx, { hash: 'one', userId: ALICE, expiresTs: 10 }, 1));
    await write((tx) => loginTokens.add(tx, { hash: 'two', userId: ALICE, expiresTs: 10 }, 1));
    await write((tx) => loginTokens.add(tx, { hash: 'three', userId: ALICE, expiresTs: 30 }, 1));
    assert.deepEqual(await write((tx) => loginTokens.take(tx, 'one', 9)), { userId: ALICE });
    assert.equal(await write((tx) => loginTokens.take(tx, 'one', 9)), undefined);
    assert.equal(await write((tx) => loginTokens.take(tx, 'two', 10)), undefined);
    await write((tx) => loginTokens.removeOfUser(tx, ALICE));
    assert.equal(await write((tx) => loginTokens.take(tx, 'three', 9)), undefined);
    await addAccounts(db);
    await write((tx) => openidTokens.add(tx, { hash: 'o', userId: ALICE, expiresTs: 10 }, 1));
    assert.equal(await openidTokens.ownerOf(db, 'o', 9), ALICE);
    await write((tx) => openidTokens.removeOfUser(tx, ALICE));
    assert.equal(await openidTokens.ownerOf(db, 'o', 9), undefined);
  });

  test(`${name}: accounts are locked, suspended, spared the limits, and made of guests`, async () => {
    await using database = await open();
    const { db } = database;
    const write = writer(db);
    await addAccounts(db);
    assert.equal(await write((tx) => users.setUnlimited(tx, ALICE, true)), true);
    assert.deepEqual(await users.unlimited(db), [ALICE]);
    assert.equal(await write((tx) => users.setUnlimited(tx, ALICE, false)), true);
    assert.deepEqual(await users.unlimited(db), []);
    await write((tx) => users.setLocked(tx, ALICE, 5));
    await write((tx) => users.setSuspended(tx, ALICE, 6));
    const known = await users.of(db, ALICE);
    assert.deepEqual([known?.lockedTs, known?.suspendedTs, known?.isGuest], [5, 6, false]);
    assert.equal(await write((tx) => users.setLocked(tx, '@nobody:a.test', 5)), false);
    assert.deepEqual(await users.guestsAmong(db, [ALICE, GUEST]), [GUEST]);
    assert.deepEqual(await users.roomsWithGuests(db, 10), []);
    assert.equal(await write((tx) => users.upgradeGuest(tx, ALICE, 'y')), false);
    assert.equal(await write((tx) => users.upgradeGuest(tx, GUEST, 'y')), true);
    assert.equal((await users.of(db, GUEST))?.passwordHash, 'y');
    await write((tx) => users.deactivate(tx, ALICE, 9));
    assert.equal(await write((tx) => users.setLocked(tx, ALICE, undefined)), false);
  });

  test(`${name}: an erasure is kept as it was first made, and where a device was seen is kept`, async () => {
    await using database = await open();
    const { db } = database;
    const write = writer(db);
    await write((tx) => erasedUsers.add(tx, ALICE, 5));
    await write((tx) => erasedUsers.add(tx, ALICE, 9));
    assert.deepEqual(await erasedUsers.among(db, [ALICE, GUEST]), new Map([[ALICE, 5]]));
    await write((tx) => erasedUsers.remove(tx, ALICE));
    assert.deepEqual(await erasedUsers.among(db, [ALICE]), new Map());
    assert.equal(await erasedUsers.cameIn(db, 1, ALICE), undefined);
    assert.equal(await erasedUsers.serverCameIn(db, 1, 'a.test'), undefined);
    await write((tx) => devices.create(tx, { ...PHONE, displayName: undefined, now: 1 }));
    await write((tx) => devices.seen(tx, PHONE, { ts: 3, ip: '192.0.2.1', userAgent: 'A client' }));
    const device = await devices.of(db, ALICE, 'PHONE');
    assert.deepEqual(
      [device?.lastSeenTs, device?.lastSeenIp, device?.lastSeenUserAgent],
      [3, '192.0.2.1', 'A client'],
    );
  });
}
