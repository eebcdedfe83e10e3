import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as browserSessions from '#storage/browser-sessions.ts';
import * as deviceOrigins from '#storage/device-origins.ts';
import { drivers } from '#test/harness/databases.ts';

const ALICE = '@alice:a.test';
const ORIGIN = { provider: 'staff', subject: 's1', sid: 'x' } as const;
const SESSION = {
  userId: ALICE,
  createdTs: 1,
  authTs: 1,
  factorTs: undefined,
  expiresTs: 9,
  origin: undefined,
} as const;

for (const { name, open } of drivers) {
  test(`${name}: sessions of browsers end one by one, by user, by provider's user and by provider's session`, async () => {
    await using database = await open();
    const { db } = database;
    const left = async (): Promise<string[]> => {
      const found: string[] = [];
      for (const hash of ['a', 'b', 'c', 'd']) if (await browserSessions.of(db, hash)) found.push(hash);
      return found;
    };
    await db.write('test', async (tx) => {
      await browserSessions.add(tx, 'a', SESSION);
      await browserSessions.add(tx, 'b', { ...SESSION, factorTs: 1, origin: ORIGIN });
      await browserSessions.add(tx, 'c', { ...SESSION, origin: { ...ORIGIN, sid: undefined } });
      await browserSessions.add(tx, 'd', { ...SESSION, userId: '@bob:a.test' });
    });
    assert.deepEqual(await browserSessions.of(db, 'b'), { ...SESSION, factorTs: 1, origin: ORIGIN });
    await db.write('test', (tx) => browserSessions.removeOfSid(tx, 'staff', 'x'));
    assert.deepEqual(await left(), ['a', 'c', 'd']);
    await db.write('test', (tx) => browserSessions.removeOfSubject(tx, 'staff', 's1'));
    assert.deepEqual(await left(), ['a', 'd']);
    await db.write('test', (tx) => browserSessions.removeOfUser(tx, ALICE));
    assert.deepEqual(await left(), ['d']);
    await db.write('test', (tx) => browserSessions.add(tx, 'a', { ...SESSION, createdTs: 9, expiresTs: 10 }));
    assert.deepEqual(await left(), ['a']);
    await db.write('test', (tx) => browserSessions.remove(tx, 'a'));
    assert.deepEqual(await left(), []);
  });

  test(`${name}: a device's session of an identity provider is noted, replaced and forgotten`, async () => {
    await using database = await open();
    const { db } = database;
    const phone = { userId: ALICE, deviceId: 'PHONE' } as const;
    await db.write('test', (tx) => deviceOrigins.set(tx, phone, ORIGIN));
    await db.write('test', (tx) => deviceOrigins.set(tx, phone, { ...ORIGIN, sid: undefined }));
    assert.deepEqual(await deviceOrigins.ofSubject(db, 'staff', 's1'), [{ ...phone, sid: undefined }]);
    await db.write('test', (tx) => deviceOrigins.remove(tx, phone));
    assert.deepEqual(await deviceOrigins.ofSubject(db, 'staff', 's1'), []);
  });
}
