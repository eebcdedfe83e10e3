import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { UserId } from '#keys/ids.ts';
import * as accessTokens from '#storage/access-tokens.ts';
import * as news from '#storage/appservice-news.ts';
import * as appservices from '#storage/appservices.ts';
import { cursors } from '#storage/cursors.ts';
import * as deviceLists from '#storage/device-lists.ts';
import * as devices from '#storage/devices.ts';
import * as e2eeKeys from '#storage/e2ee-keys.ts';
import * as memberships from '#storage/memberships.ts';
import * as receipts from '#storage/receipts.ts';
import * as rooms from '#storage/rooms.ts';
import { Streams } from '#storage/streams.ts';
import * as toDevice from '#storage/to-device.ts';
import { drivers } from '#test/harness/databases.ts';

const ALICE: UserId = '@alice:here.test';
const BOB: UserId = '@bob:here.test';
const ALL = { after: 0, upto: Number.MAX_SAFE_INTEGER, limit: 100 };

for (const { name, open } of drivers) {
  test(`${name}: services are kept once, with one transaction each, and go with all that is theirs`, async () => {
    await using database = await open();
    const { db } = database;
    const row = { id: 'b', registration: 'id: b', policy: '{}', addedTs: 5 };
    const add = () => db.write('test', (tx) => appservices.add(tx, row));
    assert.deepEqual([await add(), await add()], [true, false]);
    await db.write('test', (tx) => appservices.add(tx, { ...row, id: 'a' }));
    assert.deepEqual(await appservices.list(db), [{ ...row, id: 'a' }, row]);
    for (const txnId of ['1', '2']) {
      await db.write('test', async (tx) => {
        await appservices.setWaiting(tx, 'b', { txnId, body: `{"n":${txnId}}`, createdTs: Number(txnId) });
        await cursors.set(tx, appservices.cursorOf('b'), 7);
      });
    }
    assert.deepEqual(await appservices.waiting(db, 'b'), { txnId: '2', body: '{"n":2}', createdTs: 2 });
    assert.deepEqual([...(await appservices.waitingSince(db))], [['b', 2]]);
    assert.equal(await appservices.waiting(db, 'a'), undefined);
    const remove = () => db.write('test', (tx) => appservices.remove(tx, 'b'));
    assert.deepEqual([await remove(), await remove()], [true, false]);
    assert.equal(await appservices.waiting(db, 'b'), undefined);
    assert.equal(await cursors.find(db, appservices.cursorOf('b')), undefined);
    await db.write('test', async (tx) => {
      await appservices.setWaiting(tx, 'a', { txnId: '1', body: '{}', createdTs: 1 });
      await appservices.taken(tx, 'a');
    });
    assert.equal(await appservices.waiting(db, 'a'), undefined);
  });

  test(`${name}: news of all rooms and users are read in order, after one position and up to another`, async () => {
    await using database = await open();
    const { db } = database;
    await using streams = await Streams.open(db);
    const roomId = '!room:here.test' as const;
    const roomNid = await db.write('test', (tx) => rooms.insert(tx, roomId, '11'));
    const receipt = { type: 'm.read', threadId: '', eventId: '$e', ts: 1 } as const;
    await db.write('test', async (tx) => {
      await receipts.set(tx, streams, { roomNid, roomId }, { ...receipt, userId: ALICE });
      await receipts.set(
        tx,
        streams,
        { roomNid, roomId },
        { ...receipt, userId: BOB, type: 'm.read.private' },
      );
    });
    const read = await news.receipts(db, ALL);
    assert.deepEqual(
      read.map(({ userId, type, roomId: id }) => [userId, type, id]),
      [
        [ALICE, 'm.read', roomId],
        [BOB, 'm.read.private', roomId],
      ],
    );
    assert.deepEqual(await news.receipts(db, { ...ALL, after: read.at(-1)?.position ?? 0 }), []);

    for (const [userId, deviceId] of [
      [ALICE, 'A'],
      [ALICE, 'B'],
      [BOB, 'C'],
    ] as const) {
      await db.write('test', async (tx) => {
        await devices.create(tx, { userId, deviceId, displayName: undefined, now: 1 });
        await toDevice.add(
          tx,
          streams,
          { userId, deviceId },
          { sender: BOB, type: 't', content: { d: deviceId } },
        );
        await deviceLists.devicesChanged(tx, streams, userId, [deviceId]);
      });
    }
    await db.write('test', async (tx) => {
      await accessTokens.add(tx, { hash: 'h', userId: ALICE, deviceId: 'A', now: 1 });
      await e2eeKeys.setDeviceKeys(tx, { userId: ALICE, deviceId: 'B' }, {});
    });
    const messages = await news.messages(db, ALL);
    assert.deepEqual(
      messages.map(({ deviceId }) => deviceId),
      ['A', 'B', 'C'],
    );
    await db.write('test', (tx) => news.deleteMessages(tx, messages.slice(0, 2)));
    assert.deepEqual(
      (await news.messages(db, ALL)).map(({ deviceId }) => deviceId),
      ['C'],
    );
    assert.deepEqual(await news.devicesOfOthers(db, [ALICE, BOB]), [{ userId: ALICE, deviceId: 'A' }]);
    assert.deepEqual(await news.devicesWithKeys(db, [ALICE, BOB]), [{ userId: ALICE, deviceId: 'B' }]);
    assert.deepEqual(
      (await news.changedDeviceLists(db, ALL)).map(({ userId }) => userId),
      [ALICE, BOB],
    );

    const member = { roomNid, eventNid: 1, serverName: 'here.test', displayName: null, avatarUrl: null };
    const put = (userId: UserId, membership: memberships.Membership, position: number) =>
      db.write('test', (tx) => memberships.set(tx, { ...member, userId, membership, position }));
    await put(ALICE, 'join', 100);
    await put(BOB, 'join', 101);
    await put(BOB, 'leave', 110);
    const stays = async (after: number) =>
      (await news.localStays(db, roomNid, { serverName: 'here.test', after })).map(
        ({ userId, joinedPosition, leftPosition }) => [userId, joinedPosition, leftPosition],
      );
    assert.deepEqual(await stays(105), [
      [ALICE, 100, undefined],
      [BOB, 101, 110],
    ]);
    assert.deepEqual(await stays(110), [[ALICE, 100, undefined]]);
  });
}
