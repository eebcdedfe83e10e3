import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as noticeRooms from '#storage/notice-rooms.ts';
import { drivers } from '#test/harness/databases.ts';

for (const { name, open } of drivers) {
  test(`${name}: a user has one room of notices`, async () => {
    await using opened = await open();
    const { db } = opened;
    const alice = '@alice:here.test';
    assert.equal(await noticeRooms.of(db, alice), undefined);
    await db.write('test', (tx) => noticeRooms.set(tx, alice, '!one:here.test'));
    await db.write('test', (tx) => noticeRooms.set(tx, alice, '!two:here.test'));
    assert.equal(await noticeRooms.of(db, alice), '!two:here.test');
    assert.equal(await noticeRooms.isSender(db, alice), false);
    for (const _ of [1, 2]) await db.write('test', (tx) => noticeRooms.addSender(tx, alice));
    assert.equal(await noticeRooms.isSender(db, alice), true);
  });
}
