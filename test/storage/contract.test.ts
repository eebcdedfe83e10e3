/** What every caller may rely on (storage/database.ts), asserted on both databases. */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import {
  DatabaseUnavailable,
  isDatabaseFault,
  type Tx,
  WriteQueueFull,
  WriteRuleBroken,
} from '#storage/database.ts';
import { anyOf, sql } from '#storage/sql.ts';
import { drivers, type TestDatabase } from '#test/harness/databases.ts';

type ItemRow = { name: string; n: number; body: Uint8Array | null };

const insert = sql<[name: string, n: number]>('test.insert', 'INSERT INTO items (name, n) VALUES (?, ?)');
const insertBody = sql<[name: string, n: number, body: Uint8Array | null]>(
  'test.insertBody',
  'INSERT INTO items (name, n, body) VALUES (?, ?, ?)',
);
const upsert = sql<[name: string, n: number], { name: string; n: number }>(
  'test.upsert',
  `INSERT INTO items (name, n) VALUES (?, ?)
   ON CONFLICT (name) DO UPDATE SET n = items.n + excluded.n RETURNING name, n`,
);
const byName = sql<[name: string], ItemRow>('test.byName', 'SELECT name, n, body FROM items WHERE name = ?');
const lockByName = sql<[name: string], { n: number }>(
  'test.lockByName',
  'SELECT n FROM items WHERE name = ? {forUpdate}',
);
const byNames = sql<[names: string], { name: string }>(
  'test.byNames',
  'SELECT name FROM items WHERE name {anyOf} ORDER BY name',
);
const byNumbers = sql<[numbers: string], { name: string }>(
  'test.byNumbers',
  'SELECT name FROM items WHERE n {anyInt} ORDER BY name',
);
const update = sql<[n: number, name: string]>('test.update', 'UPDATE items SET n = ? WHERE name = ?');
const updateIf = sql<[n: number, name: string, expected: number]>(
  'test.updateIf',
  'UPDATE items SET n = ? WHERE name = ? AND n = ?',
);
const raise = sql<[n: number, name: string]>(
  'test.raise',
  'UPDATE items SET n = {greatest}(n, ?) WHERE name = ?',
);
const total = sql<[], { count: number; sum: number }>(
  'test.total',
  'SELECT COUNT(*) AS count, SUM(n) AS sum FROM items',
);
const remove = sql<[name: string]>('test.remove', 'DELETE FROM items WHERE name = ?');
const insertPart = sql<[item: string]>('test.insertPart', 'INSERT INTO parts (item) VALUES (?)');
const insertReturning = sql<[name: string, n: number], { name: string }>(
  'test.insertReturning',
  'INSERT INTO items (name, n) VALUES (?, ?) RETURNING name',
);

const tables = [
  'CREATE TABLE items (name {text} NOT NULL PRIMARY KEY, n {int} NOT NULL, body {bytes}) {strict}',
  `CREATE TABLE parts (
     id {id}, item {text} NOT NULL REFERENCES items (name) DEFERRABLE INITIALLY DEFERRED
   ) {strict}`,
];

for (const driver of drivers) {
  describe(`on ${driver.name}`, () => {
    let opened: TestDatabase;
    let names = 0;
    const fresh = () => {
      names += 1;
      return `item${names}`;
    };

    before(async () => {
      opened = await driver.open({ empty: true });
      await opened.db.write('test.tables', async (tx) => {
        for (const text of tables) await tx.run({ name: '', text });
      });
    });
    after(() => opened[Symbol.asyncDispose]());

    test('a row is written once and read as it was, bytes, null and Unicode included', async () => {
      const { db } = opened;
      const [first, second] = [`${fresh()} – 😀`, fresh()];
      const body = Uint8Array.from([0, 255, 1]);
      const changes = await db.write('test', async (tx) => {
        await tx.run(insertBody, first, -5, body);
        return tx.run(insertBody, second, 2 ** 53 - 1, null);
      });
      assert.equal(changes, 1);
      const row = await db.get(byName, first);
      assert.equal(row?.n, -5);
      assert.deepEqual(Uint8Array.from(row.body ?? []), body);
      assert.deepEqual(await db.get(byName, second), { name: second, n: 2 ** 53 - 1, body: null });
      assert.equal(await db.get(byName, 'nobody'), undefined);
      await db.write('test', (tx) => tx.run(remove, second));
    });

    test('an upsert adds to the row that is there, and returns it', async () => {
      const { db } = opened;
      const name = fresh();
      const add = (n: number) => db.write('test', (tx) => tx.get(upsert, name, n));
      assert.deepEqual(await add(2), { name, n: 2 });
      assert.deepEqual(await add(3), { name, n: 5 });
    });

    test('lists and the scalar maximum have one text', async () => {
      const { db } = opened;
      const [a, b] = [fresh(), fresh()];
      await db.write('test', async (tx) => {
        await tx.run(insert, a, 1_000_001);
        await tx.run(insert, b, 1_000_002);
        await tx.run(raise, 1_000_003, b);
        await tx.run(raise, 5, a);
      });
      assert.deepEqual(await db.all(byNames, anyOf([b, a, 'nobody'])), [{ name: a }, { name: b }]);
      assert.deepEqual(await db.all(byNames, anyOf([])), []);
      assert.deepEqual(await db.all(byNumbers, anyOf([1_000_003, 7])), [{ name: b }]);
      assert.deepEqual(await db.scan(byNumbers, anyOf([1_000_001])), [{ name: a }]);
    });

    test('counts and sums are numbers', async () => {
      const row = await opened.db.get(total);
      assert.equal(typeof row?.count, 'number');
      assert.equal(typeof row?.sum, 'number');
    });

    test('rule 1: a body sees its own writes, and nobody else does before the commit', async () => {
      const { db } = opened;
      const name = fresh();
      let outside: ItemRow | undefined | 'unread' = 'unread';
      await db.write('test', async (tx) => {
        await tx.run(insert, name, 1);
        assert.equal((await tx.get(byName, name))?.n, 1);
        const read = db.get(byName, name).then((row) => {
          outside = row;
        });
        // The write stays open, at work, until the other read has its answer.
        while (outside === 'unread') await tx.get(byName, name);
        await read;
      });
      assert.equal(outside, undefined);
      assert.equal((await db.get(byName, name))?.n, 1);
    });

    test('rule 2: what a write did is read at once by whoever it was told', async () => {
      const { db } = opened;
      const name = fresh();
      await db.write('test', (tx) => tx.run(insert, name, 0));
      for (let n = 1; n <= 20; n += 1) {
        assert.equal((await db.get(byName, name))?.n, n - 1);
        await db.write('test', (tx) => tx.run(update, n, name));
        assert.equal((await db.get(byName, name))?.n, n);
        assert.equal((await db.scan(byName, name))[0]?.n, n);
      }
    });

    test('rule 3: a body that throws leaves nothing behind and does not disturb its neighbours', async () => {
      const { db } = opened;
      const [a, b, c] = [fresh(), fresh(), fresh()];
      const boom = new Error('boom');
      const results = await Promise.allSettled([
        db.write('test', (tx) => tx.run(insert, a, 1)),
        db.write('test', async (tx) => {
          await tx.run(insert, b, 1);
          await tx.run(update, 9, a);
          throw boom;
        }),
        db.write('test', (tx) => tx.run(insert, c, 1)),
      ]);
      assert.deepEqual(
        results.map((result) => result.status),
        ['fulfilled', 'rejected', 'fulfilled'],
      );
      assert.equal(results[1]?.status === 'rejected' && results[1].reason, boom);
      assert.equal((await db.get(byName, a))?.n, 1);
      assert.equal(await db.get(byName, b), undefined);
      assert.equal((await db.get(byName, c))?.n, 1);
    });

    test('rule 3: a write that fails at its commit does not take its neighbours with it', async () => {
      const { db } = opened;
      const [a, b] = [fresh(), fresh()];
      const results = await Promise.allSettled([
        db.write('test', (tx) => tx.run(insert, a, 1)),
        db.write('test', (tx) => tx.run(insertPart, 'no such item')),
        db.write('test', (tx) => tx.run(insert, b, 1)),
      ]);
      assert.deepEqual(
        results.map((result) => result.status),
        ['fulfilled', 'rejected', 'fulfilled'],
      );
      assert.equal((await db.get(byName, a))?.n, 1);
      assert.equal((await db.get(byName, b))?.n, 1);
    });

    test('a write that fails for what it was given is no fault of the database', async () => {
      const { db } = opened;
      const name = fresh();
      await db.write('test', (tx) => tx.run(insert, name, 1));
      const bodies: ((tx: Tx) => Promise<unknown>)[] = [
        (tx) => tx.run(insert, name, 2),
        (tx) => tx.run(insertPart, 'no such item'),
        (tx) => tx.run(update, 1.5, name),
        async () => Buffer.byteLength(undefined as never),
        async () => {
          throw new Error('boom');
        },
      ];
      for (const [index, body] of bodies.entries()) {
        const failing = db.write('test', body);
        await assert.rejects(failing, (error) => !isDatabaseFault(error), `${index}`);
      }
      for (const error of [new WriteQueueFull(7), new DatabaseUnavailable('closed')])
        assert.ok(isDatabaseFault(error));
    });

    test('a body that throws before it awaits anything is refused like any other', async () => {
      const { db } = opened;
      const thrown = () => {
        throw new Error('at once');
      };
      await assert.rejects(db.write('test', thrown), /at once/);
    });

    test('no update is lost: increments under the row lock, and by compare and set', async () => {
      const { db } = opened;
      const name = fresh();
      await db.write('test', (tx) => tx.run(insert, name, 0));
      const increment = () =>
        db.write('test', async (tx) => {
          const row = await tx.get(lockByName, name);
          await tx.run(update, (row?.n ?? 0) + 1, name);
        });
      await Promise.all(Array.from({ length: 20 }, increment));
      assert.equal((await db.get(byName, name))?.n, 20);
      const swaps = await Promise.all(
        Array.from({ length: 20 }, () => db.write('test', (tx) => tx.run(updateIf, 21, name, 20))),
      );
      assert.equal(
        swaps.reduce((sum, n) => sum + n, 0),
        1,
      );
    });

    test('rule 4: every method of a tx throws after its body has ended', async () => {
      const { db } = opened;
      let leaked: Tx | undefined;
      await db.write('test', async (tx) => {
        leaked = tx;
      });
      const tx = leaked;
      assert.ok(tx);
      await assert.rejects(async () => tx.get(byName, 'x'), WriteRuleBroken);
      await assert.rejects(async () => tx.all(byName, 'x'), WriteRuleBroken);
      await assert.rejects(async () => tx.run(insert, 'x', 1), WriteRuleBroken);
      assert.throws(() => tx.afterCommit(() => undefined), WriteRuleBroken);
      assert.throws(() => tx.afterRollback(() => undefined), WriteRuleBroken);
    });

    test('rule 4: a body that awaits something else than its tx is undone', async () => {
      const { db } = opened;
      const [slow, other] = [fresh(), fresh()];
      const results = await Promise.allSettled([
        db.write('test.slow', async (tx) => {
          await tx.run(insert, slow, 1);
          // A timer could end within the same turn of a busy loop.
          await turn();
          await turn();
          await tx.run(update, 2, slow);
        }),
        db.write('test', (tx) => tx.run(insert, other, 1)),
      ]);
      const [first, second] = results;
      assert.ok(first.status === 'rejected' && first.reason instanceof WriteRuleBroken);
      assert.match(first.reason.message, /test\.slow/);
      assert.equal(second.status, 'fulfilled');
      assert.equal(await db.get(byName, slow), undefined);
      assert.equal((await db.get(byName, other))?.n, 1);
    });

    test('rule 6: a write inside a write is refused, and does not hang', async () => {
      const { db } = opened;
      const nested = db.write('outer', async () => {
        await db.write('inner', async () => undefined);
      });
      await assert.rejects(nested, WriteRuleBroken);
      await db.write('test', async () => undefined);
    });

    test('rule 7: a failed statement fails its body, even if the body catches it or does not await it', async () => {
      const { db } = opened;
      const name = fresh();
      await db.write('test', (tx) => tx.run(insert, name, 1));
      const caught = db.write('test', async (tx) => {
        await tx.run(update, 2, name);
        await tx.run(insert, name, 1).catch(() => 0);
      });
      await assert.rejects(caught);
      const ignored = db.write('test', async (tx) => {
        await tx.run(update, 3, name);
        tx.run(insert, name, 1).catch(() => 0);
      });
      await assert.rejects(ignored);
      assert.equal((await db.get(byName, name))?.n, 1);
    });

    test('a statement that the body does not await is committed with it', async () => {
      const { db } = opened;
      const name = fresh();
      await db.write('test', async (tx) => {
        tx.run(insert, name, 4).catch(() => 0);
      });
      assert.equal((await db.get(byName, name))?.n, 4);
    });

    test('afterCommit hooks run once each, in order, after the commit and before the write resolves', async () => {
      const { db } = opened;
      const name = fresh();
      const calls: string[] = [];
      let visible: Promise<ItemRow | undefined> | undefined;
      await db.write('test', async (tx) => {
        tx.afterCommit(() => {
          calls.push('first');
          visible = db.get(byName, name);
        });
        tx.afterRollback(() => calls.push('rollback'));
        await tx.run(insert, name, 1);
        tx.afterCommit(() => calls.push('second'));
      });
      calls.push('resolved');
      assert.deepEqual(calls, ['first', 'second', 'resolved']);
      assert.equal((await visible)?.n, 1);
    });

    test('afterRollback hooks run, and afterCommit hooks do not, for a body that failed', async () => {
      const { db } = opened;
      const calls: string[] = [];
      const failing = db.write('test', async (tx) => {
        tx.afterCommit(() => calls.push('commit'));
        tx.afterRollback(() => calls.push('rollback'));
        await tx.get(byName, 'x');
        throw new Error('boom');
      });
      await assert.rejects(failing, /boom/);
      assert.deepEqual(calls, ['rollback']);
    });

    test('writing without a tx is refused by the database too', async () => {
      const { db } = opened;
      const name = fresh();
      await assert.rejects(db.get(insertReturning, name, 1));
      assert.equal(await db.get(byName, name), undefined);
    });

    test('text is ordered by its bytes', async () => {
      const { db } = opened;
      const written = ['Zsort', 'asort', 'Ésort', '_sort'];
      await db.write('test', async (tx) => {
        for (const name of written) await tx.run(insert, name, 0);
      });
      const rows = await db.all(byNames, anyOf(written));
      assert.deepEqual(
        rows.map((row) => row.name),
        ['Zsort', '_sort', 'asort', 'Ésort'],
      );
    });
  });

  test(`on ${driver.name}: close waits for the writes accepted and refuses later ones`, async () => {
    const { db } = await driver.open({ empty: true });
    const accepted = db.write('test', async () => 'done');
    const closed = db.close();
    await assert.rejects(
      db.write('test', async () => 'late'),
      DatabaseUnavailable,
    );
    await closed;
    assert.equal(await accepted, 'done');
  });
}
