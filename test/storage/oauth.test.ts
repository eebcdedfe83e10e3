import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as oauthClients from '#storage/oauth-clients.ts';
import * as oauthCodes from '#storage/oauth-codes.ts';
import * as oauthDeviceGrants from '#storage/oauth-device-grants.ts';
import * as oauthSessions from '#storage/oauth-sessions.ts';
import { drivers } from '#test/harness/databases.ts';

const ALICE = '@alice:a.test';
const ORIGIN = { provider: 'staff', subject: 's1', sid: undefined };
const SESSION: oauthSessions.OAuthSession = {
  userId: ALICE,
  deviceId: 'A',
  clientId: 'used',
  scope: 's',
  createdTs: 1,
  codeHash: undefined,
};
const CODE: Omit<oauthCodes.OAuthCode, 'usedTs'> = {
  clientId: 'c',
  userId: ALICE,
  scope: 's',
  redirectUri: 'https://a.test/',
  codeChallenge: 'x',
  expiresTs: 100,
  origin: ORIGIN,
};
const GRANT = { clientId: 'c', scope: 's', address: '1.2.3.4', expiresTs: 100 };

for (const { name, open } of drivers) {
  test(`${name}: of clients that nobody is signed in by the oldest go, when they are too old or too many`, async () => {
    await using database = await open();
    const { db } = database;
    const add = (clientId: string, usedTs: number, most = 10) =>
      db.write('test', async (tx) => {
        await oauthClients.add(tx, { clientId, metadata: '{}', usedTs });
        await oauthClients.forgetSurplus(tx, most);
      });
    const left = async () => {
      const ids = ['used', 'a', 'b', 'c', 'd'];
      const found = await Promise.all(ids.map((id) => oauthClients.of(db, id)));
      return found.flatMap((client) => client?.clientId ?? []);
    };
    await add('used', 1);
    await db.write('test', (tx) => oauthSessions.set(tx, SESSION));
    await add('a', 2);
    await add('b', 3);
    await add('c', 4, 2);
    assert.deepEqual(await left(), ['used', 'b', 'c']);
    await db.write('test', (tx) => oauthClients.touch(tx, 'b', 9));
    await add('d', 10, 2);
    assert.deepEqual(await left(), ['used', 'b', 'd']);
    await add('b', 20);
    assert.equal((await oauthClients.of(db, 'b'))?.usedTs, 20);
    assert.equal(await db.write('test', (tx) => oauthClients.forgetUnused(tx, 20)), 1);
    assert.deepEqual(await left(), ['used', 'b']);
  });

  test(`${name}: sessions of OAuth are set, replaced and removed by device`, async () => {
    await using database = await open();
    const { db } = database;
    await db.write('test', (tx) => oauthSessions.set(tx, SESSION));
    assert.deepEqual(await oauthSessions.of(db, SESSION), SESSION);
    await db.write('test', (tx) => oauthSessions.set(tx, { ...SESSION, clientId: 'b', codeHash: 'h' }));
    assert.deepEqual(await oauthSessions.of(db, SESSION), { ...SESSION, clientId: 'b', codeHash: 'h' });
    await db.write('test', (tx) => oauthSessions.remove(tx, SESSION));
    assert.equal(await oauthSessions.of(db, SESSION), undefined);
  });

  test(`${name}: codes are kept after their use, until they are forgotten`, async () => {
    await using database = await open();
    const { db } = database;
    await db.write('test', async (tx) => {
      await oauthCodes.add(tx, 'a', CODE, 0);
      assert.deepEqual(await oauthCodes.of(tx, 'a'), { ...CODE, usedTs: undefined });
      await oauthCodes.use(tx, 'a', 7);
      assert.equal((await oauthCodes.of(tx, 'a'))?.usedTs, 7);
      await oauthCodes.add(tx, 'b', { ...CODE, expiresTs: 200, origin: undefined }, 101);
      assert.equal(await oauthCodes.of(tx, 'a'), undefined);
      assert.deepEqual((await oauthCodes.of(tx, 'b'))?.origin, undefined);
    });
  });

  test(`${name}: what a user has granted and nobody has taken is removed with it`, async () => {
    await using database = await open();
    const { db } = database;
    const bob = { ...CODE, userId: '@bob:a.test' } as const;
    await db.write('test', async (tx) => {
      await oauthCodes.add(tx, 'used', CODE, 0);
      await oauthCodes.use(tx, 'used', 7);
      await oauthCodes.add(tx, 'unused', CODE, 0);
      await oauthCodes.add(tx, 'bob', bob, 0);
      await oauthCodes.removeUnused(tx, ALICE);
      const left = await Promise.all(['used', 'unused', 'bob'].map((hash) => oauthCodes.of(tx, hash)));
      assert.deepEqual(
        left.map((code) => code?.userId),
        [ALICE, undefined, '@bob:a.test'],
      );
      for (const [n, userId] of [ALICE, '@bob:a.test'].entries()) {
        const codes = { deviceCodeHash: `d${n}`, userCodeHash: `u${n}` };
        await oauthDeviceGrants.add(tx, { ...GRANT, ...codes }, 0);
        await oauthDeviceGrants.decide(
          tx,
          `u${n}`,
          { userId: userId as typeof ALICE, origin: undefined },
          50,
        );
      }
      await oauthDeviceGrants.removeOfUser(tx, ALICE);
      assert.equal(await oauthDeviceGrants.byDeviceCode(tx, 'd0'), undefined);
      assert.equal((await oauthDeviceGrants.byDeviceCode(tx, 'd1'))?.userId, '@bob:a.test');
    });
  });

  test(`${name}: of those who decide about a waiting device the first does, and one takes what was granted`, async () => {
    await using database = await open();
    const { db } = database;
    const by = { userId: ALICE, origin: ORIGIN } as const;
    await db.write('test', async (tx) => {
      const codes = { deviceCodeHash: 'd1', userCodeHash: 'u1' };
      assert.equal(await oauthDeviceGrants.add(tx, { ...GRANT, ...codes }, 0), true);
      assert.equal(await oauthDeviceGrants.add(tx, { ...GRANT, ...codes, deviceCodeHash: 'd2' }, 0), false);
      assert.equal(await oauthDeviceGrants.count(tx, 50), 1);
      assert.equal(await oauthDeviceGrants.decide(tx, 'u1', by, 100), false);
      assert.equal(await oauthDeviceGrants.decide(tx, 'u1', by, 50), true);
      assert.equal(await oauthDeviceGrants.decide(tx, 'u1', undefined, 51), false);
    });
    const expected = { ...GRANT, decidedTs: 50, userId: ALICE, origin: ORIGIN };
    assert.deepEqual(await oauthDeviceGrants.byUserCode(db, 'u1'), expected);
    assert.deepEqual(await oauthDeviceGrants.byDeviceCode(db, 'd1'), expected);
    await db.write('test', async (tx) => {
      assert.equal(await oauthDeviceGrants.remove(tx, 'd1'), true);
      assert.equal(await oauthDeviceGrants.remove(tx, 'd1'), false);
      await oauthDeviceGrants.add(tx, { ...GRANT, deviceCodeHash: 'd3', userCodeHash: 'u3' }, 0);
      await oauthDeviceGrants.add(
        tx,
        { ...GRANT, expiresTs: 200, deviceCodeHash: 'd4', userCodeHash: 'u4' },
        101,
      );
      assert.equal(await oauthDeviceGrants.byDeviceCode(tx, 'd3'), undefined);
    });
  });
}
