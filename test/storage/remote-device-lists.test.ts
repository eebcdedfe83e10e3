import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { UserId } from '#keys/ids.ts';
import * as deviceLists from '#storage/device-lists.ts';
import * as keySignatures from '#storage/key-signatures.ts';
import * as outgoing from '#storage/outgoing-device-lists.ts';
import * as remoteDeviceLists from '#storage/remote-device-lists.ts';
import { Streams } from '#storage/streams.ts';
import { drivers } from '#test/harness/databases.ts';

const BOB: UserId = '@bob:there.test';
const ALICE: UserId = '@alice:here.test';

for (const { name, open } of drivers) {
  test(`${name}: what is known of a user is replaced as a whole, and moved on device by device`, async () => {
    await using at = await open();
    const { db } = at;
    const server = 'there.test';
    const masterKey = { usage: ['master'] };
    const list = { userId: BOB, server, position: 5, streamId: 7 };
    await db.write('test', async (tx) => {
      const devices = new Map([
        ['A', { a: 1 }],
        ['B', { b: 1 }],
      ]);
      await remoteDeviceLists.set(tx, { ...list, keys: { devices, masterKey, selfSigningKey: undefined } });
      await remoteDeviceLists.setDevice(tx, BOB, 'B', { b: 2 });
      await remoteDeviceLists.removeDevice(tx, BOB, 'A');
      await remoteDeviceLists.setStreamId(tx, BOB, 8);
    });
    const known = (await remoteDeviceLists.keysOf(db, [BOB, ALICE])).get(BOB);
    assert.deepEqual(known, { devices: new Map([['B', { b: 2 }]]), masterKey, selfSigningKey: undefined });
    assert.equal(await remoteDeviceLists.hasDevices(db, BOB, 1), true);
    assert.equal(await remoteDeviceLists.hasDevices(db, BOB, 2), false);
    const state = { userId: BOB, streamId: 8, isStale: false, isFollowed: false };
    assert.deepEqual((await remoteDeviceLists.statesOf(db, 'here.test', [BOB])).get(BOB), state);
    await db.write('test', (tx) => remoteDeviceLists.setStale(tx, BOB));
    assert.deepEqual(await remoteDeviceLists.staleServers(db, '', 10), [server]);
    assert.deepEqual(await remoteDeviceLists.staleOf(db, server, { after: '', limit: 10 }), [BOB]);
    const keys = { devices: new Map(), masterKey: undefined, selfSigningKey: undefined };
    await db.write('test', (tx) => remoteDeviceLists.set(tx, { ...list, streamId: undefined, keys }));
    assert.deepEqual(await remoteDeviceLists.staleServers(db, '', 10), []);
    assert.deepEqual((await remoteDeviceLists.keysOf(db, [BOB])).get(BOB), keys);
  });

  test(`${name}: each change of devices goes on from the one before, and waits to be told in order`, async () => {
    await using at = await open();
    const { db } = at;
    await using streams = await Streams.open(db);
    await db.write('test', async (tx) => {
      await deviceLists.devicesChanged(tx, streams, ALICE, ['A', 'B']);
      await deviceLists.signingKeysChanged(tx, streams, ALICE);
      await deviceLists.devicesChanged(tx, streams, ALICE, ['C']);
    });
    const waiting = await outgoing.first(db, 10);
    const updates = waiting.filter((row) => row.kind === 'update');
    assert.deepEqual(
      waiting.map((row) => (row.kind === 'update' ? row.deviceId : row.kind)),
      ['A', 'B', 'signing_keys', 'C'],
    );
    const ids = updates.map(({ streamId }) => streamId);
    assert.deepEqual(
      updates.map(({ prevStreamId }) => prevStreamId),
      [0, ids[0], ids[1]],
    );
    const last = { streamId: ids[2], prevStreamId: ids[1], deviceId: 'C' };
    assert.deepEqual(await deviceLists.lastUpdateOf(db, ALICE), last);
    await db.write('test', (tx) => outgoing.remove(tx, [waiting[0]?.seq ?? 0]));
    assert.equal((await outgoing.first(db, 10)).length, 3);
  });

  test(`${name}: signatures are told to their maker and, on one's own keys, to all`, async () => {
    await using at = await open();
    const { db } = at;
    const target = { userId: BOB, id: 'KEY' };
    const given = [
      { target, signer: BOB, keyId: 'ed25519:1', signature: 'his' },
      { target, signer: ALICE, keyId: 'ed25519:2', signature: 'hers' },
    ];
    await db.write('test', async (tx) => {
      for (const signature of given) await keySignatures.set(tx, signature, 3);
      for (const signature of given) await keySignatures.set(tx, signature, 4);
    });
    const seenBy = async (viewer: UserId | undefined) =>
      (await keySignatures.onKeysOf(db, [BOB], viewer)).map(({ signature }) => signature);
    assert.deepEqual(await seenBy(undefined), ['his']);
    assert.deepEqual(await seenBy(ALICE), ['hers', 'his']);
    assert.deepEqual(await seenBy('@carol:here.test'), ['his']);
    await db.write('test', (tx) => keySignatures.removeOn(tx, target));
    assert.deepEqual(await seenBy(ALICE), []);
  });
}
