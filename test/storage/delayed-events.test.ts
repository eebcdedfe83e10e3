import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Tx } from '#storage/database.ts';
import * as delayedEvents from '#storage/delayed-events.ts';
import { drivers } from '#test/harness/databases.ts';

const ALICE = '@alice:here.test';
const EVENT = {
  userId: ALICE,
  txn: undefined,
  roomId: '!room:here.test',
  type: 't',
  stateKey: undefined,
} as const;
const KEPT = { ms: 1_000, most: 2 };

for (const { name, open } of drivers) {
  test(`${name}: delayed events are kept once for a transaction, up to a number, and read in the order of their times`, async () => {
    await using database = await open();
    const { db } = database;
    const write = <T>(body: (tx: Tx) => Promise<T>) => db.write('test', body);
    const insert = (delayId: string, sinceTs: number, txn?: string) =>
      write((tx) =>
        delayedEvents.insert(
          tx,
          { ...EVENT, delayId, txn, content: { a: delayId }, delayMs: 10, sinceTs },
          3,
        ),
      );
    assert.deepEqual(await insert('b', 20, 'x\0'), { kind: 'scheduled', delayId: 'b' });
    assert.deepEqual(await insert('c', 20, 'x\0'), { kind: 'scheduled', delayId: 'b' });
    assert.equal(await delayedEvents.ofTxn(db, ALICE, 'x\0'), 'b');
    await insert('a', 10);
    await insert('d', 30);
    assert.deepEqual(await insert('e', 40), { kind: 'full', nextTs: 20 });
    const ids = async (now: number) => (await delayedEvents.due(db, now, 10)).map(({ delayId }) => delayId);
    assert.deepEqual([await ids(19), await ids(30), await ids(99)], [[], ['a', 'b'], ['a', 'b', 'd']]);
    assert.equal(await delayedEvents.nextDue(db), 20);
    assert.equal(await write((tx) => delayedEvents.restart(tx, 'a', 50)), true);
    await write((tx) => delayedEvents.postpone(tx, 'd', 70));
    assert.deepEqual(
      (await delayedEvents.scheduled(db, ALICE)).map((event) => [event.delayId, event.dueTs]),
      [
        ['b', 30],
        ['a', 60],
        ['d', 70],
      ],
    );
  });

  test(`${name}: what became of a delayed event is noted once, and forgotten when it is old or one of many`, async () => {
    await using database = await open();
    const { db } = database;
    const write = <T>(body: (tx: Tx) => Promise<T>) => db.write('test', body);
    for (const delayId of ['a', 'b', 'c', 'd']) {
      await write((tx) =>
        delayedEvents.insert(tx, { ...EVENT, delayId, content: {}, delayMs: 10, sinceTs: 1 }, 9),
      );
    }
    const end = (delayId: string, finalised: delayedEvents.Finalised) =>
      write((tx) => delayedEvents.finalise(tx, { delayId, userId: ALICE }, finalised, KEPT));
    assert.equal(await end('a', { ts: 100, eventId: '$event' }), true);
    assert.equal(await end('a', { ts: 101, error: { errcode: 'M_FORBIDDEN' } }), false);
    assert.equal((await delayedEvents.of(db, 'a'))?.finalised?.eventId, '$event');
    assert.equal(await write((tx) => delayedEvents.restart(tx, 'a', 5)), false);
    await end('b', { ts: 200, error: { errcode: 'M_FORBIDDEN' } });
    await end('c', { ts: 300 });
    assert.equal(await delayedEvents.of(db, 'a'), undefined, 'one of many');
    assert.deepEqual((await delayedEvents.of(db, 'b'))?.finalised?.error, { errcode: 'M_FORBIDDEN' });
    await end('d', { ts: 1_250 });
    assert.equal(await delayedEvents.of(db, 'b'), undefined, 'old');
    assert.equal(await delayedEvents.nextDue(db), undefined);
  });
}
