import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { EventId } from '#keys/ids.ts';
import * as connections from '#storage/sliding-connections.ts';
import { Streams } from '#storage/streams.ts';
import * as subscriptions from '#storage/thread-subscriptions.ts';
import { drivers } from '#test/harness/databases.ts';

const ALICE = '@alice:here.test';
const BOB = '@bob:here.test';

for (const { name, open } of drivers) {
  test(`${name}: of a device the connections used last are kept, and those that nobody uses are deleted`, async () => {
    await using opened = await open();
    const { db } = opened;
    const refOf = (connId: string) => ({ userId: ALICE, deviceId: 'D', connId }) as const;
    const write = (connId: string, now: number) =>
      db.write('test', (tx) => connections.set(tx, refOf(connId), { content: { now }, now, most: 2 }));
    await write('a\0\\', 1);
    await write('b', 2);
    await write('a\0\\', 3);
    assert.deepEqual(await connections.get(db, refOf('a\0\\')), { now: 3 });
    await write('c', 4);
    assert.equal(await connections.get(db, refOf('b')), undefined);
    assert.deepEqual(await connections.get(db, refOf('a\0\\')), { now: 3 });
    assert.equal(await connections.get(db, { ...refOf('c'), deviceId: 'E' }), undefined);
    assert.equal(await db.write('test', (tx) => connections.removeBefore(tx, 4, 10)), 1);
    assert.deepEqual(await connections.get(db, refOf('c')), { now: 4 });
    await db.write('test', (tx) => connections.removeOfDevice(tx, { userId: ALICE, deviceId: 'D' }));
    assert.equal(await connections.get(db, refOf('c')), undefined);
  });

  test(`${name}: subscriptions of threads are by user, room and root, with when they ended`, async () => {
    await using opened = await open();
    const { db } = opened;
    await using streams = await Streams.open(db);
    const rootId = '$root\0\\' as EventId;
    const thread = { userId: ALICE, roomNid: 1, rootId } as const;
    const say = (automatic: boolean) =>
      db.write('test', (tx) => subscriptions.set(tx, streams, thread, { kind: 'subscribed', automatic }));
    assert.equal(await subscriptions.get(db, thread), undefined);
    await say(true);
    const first = await subscriptions.get(db, thread);
    assert.deepEqual([first?.subscribed, first?.automatic, first?.unsubscribedPosition], [true, true, 0]);
    await db.write('test', (tx) => subscriptions.set(tx, streams, thread, { kind: 'unsubscribed' }));
    const ended = await subscriptions.get(db, thread);
    assert.deepEqual([ended?.subscribed, ended?.unsubscribedPosition], [false, ended?.position]);
    await say(false);
    const again = await subscriptions.get(db, thread);
    assert.deepEqual([again?.subscribed, again?.unsubscribedPosition], [true, ended?.position]);
    assert.equal(await subscriptions.countOf(db, ALICE), 1);
    assert.equal(await subscriptions.countOf(db, BOB), 0);
    await db.write('test', (tx) => subscriptions.clearRoom(tx, 2));
    assert.equal(await subscriptions.countOf(db, ALICE), 1);
    await db.write('test', (tx) => subscriptions.clear(tx, ALICE));
    assert.equal(await subscriptions.countOf(db, ALICE), 0);
  });
}
