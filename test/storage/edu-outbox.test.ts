import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as destinations from '#storage/destinations.ts';
import * as eduOutbox from '#storage/edu-outbox.ts';
import { drivers } from '#test/harness/databases.ts';

for (const { name, open } of drivers) {
  test(`${name}: of too many EDUs the oldest are forgotten, but none with a key: no later one says what it says`, async () => {
    await using at = await open();
    const { db } = at;
    const queued = [undefined, 'devices of @a', undefined, 'devices of @b', 'devices of @a', undefined];
    await db.write('test', async (tx) => {
      await destinations.add(tx, 'a.test', 0);
      for (const [index, replaceKey] of queued.entries()) {
        await eduOutbox.enqueue(tx, ['a.test'], { json: String(index), replaceKey, queuedTs: index });
      }
    });
    const waiting = async () => (await eduOutbox.pendingOf(db, 'a.test', 10)).map(({ edu }) => edu);
    assert.deepEqual(await waiting(), ['0', '2', '3', '4', '5']);
    assert.equal(await db.write('test', (tx) => eduOutbox.trim(tx, 'a.test', 1)), 2);
    assert.deepEqual(await waiting(), ['3', '4', '5']);
  });
}
