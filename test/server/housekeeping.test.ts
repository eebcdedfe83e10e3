import assert from 'node:assert/strict';
import { test } from 'node:test';
import { forgetOldTransactions } from '#server/housekeeping.ts';
import * as clientTransactions from '#storage/client-transactions.ts';
import { temporarySqlite } from '#test/harness/databases.ts';

const DAY_MS = 24 * 60 * 60_000;
const NOW = 1_700_000_000_000;

function keyOf(index: number): clientTransactions.TransactionKey {
  return {
    txnId: `t${index}`,
    userId: '@alice:here.test',
    deviceId: 'D',
    scope: '!r:here.test/m.room.message',
  };
}

test('transactions of clients are forgotten after a week, all of them, and no younger one', async () => {
  await using opened = await temporarySqlite();
  const { db } = opened;
  const ages = [...Array.from({ length: 1_700 }, () => 8), 7.1, 6.9, 0];
  await db.write('test', async (tx) => {
    for (const [index, days] of ages.entries()) {
      // Some within one millisecond, as from a busy server.
      const ts = NOW - days * DAY_MS - Math.floor(index / 10);
      await clientTransactions.insert(tx, keyOf(index), { eventId: `$${index}`, ts: Math.floor(ts) });
    }
  });
  await forgetOldTransactions(db, { now: () => NOW }, new AbortController().signal);
  const left = await clientTransactions.seen(
    db,
    ages.map((_, index) => keyOf(index)),
  );
  assert.deepEqual([...left.values()], ['$1701', '$1702']);
});
