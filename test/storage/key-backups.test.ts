import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { UserId } from '#keys/ids.ts';
import type { BackedUpKey } from '#storage/backed-up-keys.ts';
import * as backedUpKeys from '#storage/backed-up-keys.ts';
import * as keyBackups from '#storage/key-backups.ts';
import { drivers } from '#test/harness/databases.ts';

const ALICE: UserId = '@alice:here.test';
const BACKUP = { algorithm: 'a', authData: { key: 'k' } };

function keyOf(session: number, rank: Partial<BackedUpKey> = {}): BackedUpKey {
  return {
    roomId: `!r${session % 3}:here.test`,
    sessionId: `s\0\\${session}`,
    firstMessageIndex: 2,
    forwardedCount: 2,
    isVerified: false,
    sessionData: '{"text":"\\u0000"}',
    ...rank,
  };
}

for (const { name, open } of drivers) {
  test(`${name}: keys of a backup are stored in bulk, the better of two, and read room by room`, async () => {
    await using at = await open();
    const { db } = at;
    await db.write('test', (tx) => keyBackups.create(tx, ALICE, BACKUP));
    const backup = await keyBackups.newest(db, ALICE);
    assert.ok(backup);
    const { backupNid } = backup;
    const keys = Array.from({ length: 10 }, (_, session) => keyOf(session));
    const add = (list: readonly BackedUpKey[]) =>
      db.write('test', (tx) => backedUpKeys.add(tx, backupNid, list));
    assert.equal(await backedUpKeys.howManyOf(db, backupNid, keys), 0);
    assert.equal(await add(keys), 10);
    assert.equal(await add(keys), 0);
    const ranks: [Partial<BackedUpKey>, number][] = [
      [{ firstMessageIndex: 3 }, 0],
      [{ forwardedCount: 3 }, 0],
      [{ firstMessageIndex: 3, forwardedCount: 1 }, 0],
      [{ forwardedCount: 1 }, 1],
      [{ firstMessageIndex: 1, forwardedCount: 9 }, 1],
      [{ isVerified: true, firstMessageIndex: 9, forwardedCount: 9 }, 1],
      [{ isVerified: false, firstMessageIndex: 0, forwardedCount: 0 }, 0],
    ];
    for (const [rank, stored] of ranks)
      assert.equal(await add([keyOf(0, rank)]), stored, JSON.stringify(rank));
    const best = keyOf(0, { isVerified: true, firstMessageIndex: 9, forwardedCount: 9 });
    const { roomId, sessionId } = best;
    assert.deepEqual(await backedUpKeys.ofSession(db, { backupNid, roomId, sessionId }), best);
    assert.equal(await backedUpKeys.howManyOf(db, backupNid, [...keys, keyOf(99)]), 10);

    const found: BackedUpKey[] = [];
    for (;;) {
      const page = await backedUpKeys.page(db, { backupNid }, { after: found.at(-1), limit: 3 });
      found.push(...page);
      if (page.length < 3) break;
    }
    assert.deepEqual(found, [
      best,
      keys[3],
      keys[6],
      keys[9],
      keys[1],
      keys[4],
      keys[7],
      keys[2],
      keys[5],
      keys[8],
    ]);
    const ofRoom = await backedUpKeys.page(db, { backupNid, roomId }, { after: keys[3], limit: 9 });
    assert.deepEqual(ofRoom, [keys[6], keys[9]]);
    const deleted = (of: Partial<BackedUpKey>, limit: number) =>
      db.write('test', (tx) => backedUpKeys.deleteSome(tx, { ...of, backupNid }, limit));
    assert.equal(await deleted({ roomId, sessionId }, 9), 1);
    assert.equal(await deleted({ roomId }, 2), 2);
    assert.equal(await deleted({ roomId }, 2), 1);
    assert.equal(await deleted({}, 4), 4);
    assert.equal((await backedUpKeys.page(db, { backupNid }, { after: undefined, limit: 9 })).length, 2);
  });

  test(`${name}: a deleted backup is found until it is removed, and its version is not given again`, async () => {
    await using at = await open();
    const { db } = at;
    const first = await db.write('test', (tx) => keyBackups.create(tx, ALICE, BACKUP));
    const second = await db.write('test', (tx) => keyBackups.create(tx, ALICE, BACKUP));
    const { backupNid } = (await keyBackups.of(db, ALICE, second)) ?? assert.fail();
    await db.write('test', (tx) => keyBackups.keysChanged(tx, backupNid, 7));
    assert.deepEqual(await keyBackups.totals(db, ALICE), { backups: 2, keys: 7 });
    assert.equal((await keyBackups.newest(db, ALICE))?.etag, 1);
    assert.equal(await db.write('test', (tx) => keyBackups.markDeleted(tx, ALICE, second)), true);
    assert.equal(await db.write('test', (tx) => keyBackups.markDeleted(tx, ALICE, second)), false);
    assert.equal((await keyBackups.newest(db, ALICE))?.version, first);
    assert.equal(await db.write('test', (tx) => keyBackups.setAuthData(tx, backupNid, {})), false);
    assert.equal(await keyBackups.firstDeleted(db), backupNid);
    await db.write('test', (tx) => keyBackups.remove(tx, backupNid));
    assert.equal(await keyBackups.firstDeleted(db), undefined);
    assert.equal(await db.write('test', (tx) => keyBackups.create(tx, ALICE, BACKUP)), 3);
    assert.deepEqual(
      [await keyBackups.wasGiven(db, ALICE, second), await keyBackups.wasGiven(db, ALICE, 4)],
      [true, false],
    );
    await db.write('test', (tx) => keyBackups.markAllDeleted(tx, ALICE));
    assert.deepEqual(await keyBackups.totals(db, ALICE), { backups: 0, keys: 0 });
  });
}
