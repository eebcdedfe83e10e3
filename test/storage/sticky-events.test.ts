import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Tx } from '#storage/database.ts';
import * as stickyEvents from '#storage/sticky-events.ts';
import { drivers } from '#test/harness/databases.ts';

for (const { name, open } of drivers) {
  test(`${name}: sticky events are found by room and position until they end`, async () => {
    await using database = await open();
    const { db } = database;
    const write = <T>(body: (tx: Tx) => Promise<T>) => db.write('test', body);
    const event = { roomNid: 1, position: 10, isOwn: true, untilTs: 100 };
    await write(async (tx) => {
      await stickyEvents.insert(tx, { ...event, nid: 1 });
      await stickyEvents.insert(tx, { ...event, nid: 1, position: 99 });
      await stickyEvents.insert(tx, { ...event, nid: 2, position: 20, isOwn: false, untilTs: 200 });
      await stickyEvents.insert(tx, { ...event, nid: 3, roomNid: 2, position: 30, untilTs: 200 });
      await stickyEvents.insert(tx, { ...event, nid: 4, position: undefined, untilTs: 200 });
    });
    const range = { after: 0, upto: 100, now: 50, limit: 10 };
    const nids = async (rooms: number[], more: Partial<typeof range> = {}) =>
      (await stickyEvents.between(db, rooms, { ...range, ...more })).map(({ nid }) => nid);
    assert.deepEqual(await nids([1, 2]), [1, 2, 3]);
    assert.deepEqual(await nids([1], { after: 10 }), [2]);
    assert.deepEqual(await nids([1], { now: 100 }), [2]);
    assert.deepEqual(await nids([1, 2], { limit: 1 }), [1]);
    assert.deepEqual(await stickyEvents.own(db, [1, 2], range), [1, 3]);
    assert.deepEqual(await stickyEvents.softFailed(db, 1, range), [4]);
    await write(async (tx) => {
      await stickyEvents.place(tx, 4, 40);
      await stickyEvents.remove(tx, 1);
      assert.equal(await stickyEvents.deleteEnded(tx, 200, 10), 0);
    });
    assert.deepEqual(await nids([1]), [2, 4]);
    assert.equal(await write((tx) => stickyEvents.deleteEnded(tx, 201, 2)), 2);
    assert.deepEqual(await stickyEvents.softFailed(db, 1, range), []);
  });
}
