import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as mediaUsage from '#storage/media-usage.ts';
import { drivers } from '#test/harness/databases.ts';

for (const { name, open } of drivers) {
  test(`${name}: bytes are counted for each user, for all of them, and apart from them for other servers`, async () => {
    await using database = await open();
    const { db } = database;
    await db.write('test', async (tx) => {
      await mediaUsage.add(tx, '@alice:here.test', 5);
      await mediaUsage.add(tx, '@bob:here.test', 7);
      await mediaUsage.add(tx, 'remote', 100);
      await mediaUsage.add(tx, '@alice:here.test', -2);
    });
    const of = await Promise.all(
      (['@alice:here.test', '@bob:here.test', '@carol:here.test', 'remote'] as const).map((owner) =>
        mediaUsage.of(db, owner),
      ),
    );
    assert.deepEqual(of, [3, 7, 0, 100]);
    assert.equal(await mediaUsage.ofAllUsers(db), 10);
  });
}
