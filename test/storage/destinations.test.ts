import assert from 'node:assert/strict';
import { test } from 'node:test';
import { keyPairFromSeed } from '#keys/ed25519.ts';
import type { KeyId } from '#keys/ids.ts';
import { buildServerKeyDocument } from '#keys/server-key-document.ts';
import * as destinations from '#storage/destinations.ts';
import * as serverKeys from '#storage/server-keys.ts';
import { drivers } from '#test/harness/databases.ts';

for (const { name, open } of drivers) {
  test(`${name}: the outbox keeps each server's events in order, and forgets those that were answered`, async () => {
    await using at = await open();
    const { db } = at;
    await db.write('test', async (tx) => {
      await destinations.add(tx, 'a.test', 7);
      await destinations.add(tx, 'b.test', 7);
      await destinations.add(tx, 'b.test', 9);
      for (const nid of [30, 10, 20])
        await destinations.enqueue(tx, nid, ['a.test', 'b.test', 'unknown.test']);
    });
    const pending = await destinations.pendingOf(db, 'a.test', 10);
    assert.deepEqual(
      pending.map(({ eventNid }) => eventNid),
      [30, 10, 20],
    );
    assert.deepEqual(await destinations.withPending(db, '', 10), ['a.test', 'b.test']);
    assert.deepEqual(await destinations.withPending(db, 'a.test', 10), ['b.test']);
    const begun = { txnId: 't', upto: pending[1]?.seq ?? 0, ts: 5 };
    const answered = { ts: 6, clockSkew: undefined, delivered: 2, refused: 0 };
    await db.write('test', (tx) => destinations.beginTransaction(tx, 'a.test', begun));
    assert.deepEqual((await destinations.of(db, 'a.test'))?.transaction, begun);
    const held = await destinations.pendingUpto(db, 'a.test', { upto: begun.upto, limit: 50 });
    assert.deepEqual(
      held.map(({ eventNid }) => eventNid),
      [30, 10],
    );
    await db.write('test', (tx) => destinations.endTransaction(tx, 'a.test', { upto: begun.upto, answered }));
    assert.equal((await destinations.of(db, 'a.test'))?.transaction, undefined);
    const left = await destinations.pendingOf(db, 'a.test', 10);
    assert.deepEqual(
      left.map(({ eventNid }) => eventNid),
      [20],
    );
    assert.equal((await destinations.pendingOf(db, 'b.test', 10)).length, 3);
    assert.equal((await destinations.of(db, 'b.test'))?.receiptsPosition, 7);
  });

  test(`${name}: an outage and the position of receipts are kept; the position does not go back`, async () => {
    await using at = await open();
    const outage = { failures: 3, failingSince: 1, retryAt: 2 };
    await at.db.write('test', async (tx) => {
      await destinations.add(tx, 'a.test', 5);
      await destinations.setOutage(tx, 'a.test', outage);
      await destinations.setOutage(tx, 'unknown.test', outage);
      await destinations.setReceiptsPosition(tx, 'a.test', 9);
      await destinations.setReceiptsPosition(tx, 'a.test', 8);
    });
    assert.deepEqual(await destinations.of(at.db, 'a.test'), {
      outage,
      transaction: undefined,
      receiptsPosition: 9,
      behindAfter: undefined,
    });
    assert.equal(await destinations.of(at.db, 'unknown.test'), undefined);
  });

  test(`${name}: a server's keys are stored whole, in place of the older ones`, async () => {
    await using at = await open();
    const keyPair = keyPairFromSeed('a', new Uint8Array(32).fill(1));
    const document = buildServerKeyDocument({
      serverName: 'a.test',
      signingKey: { keyPair, oldKeys: [] },
      validUntilTs: 5,
    });
    const old: KeyId = 'ed25519:old';
    const keys = new Map([
      [keyPair.keyId, { publicKey: keyPair.publicKey }],
      [old, { publicKey: keyPair.publicKey, expiredTs: 3 }],
    ]);
    const stored = { serverName: 'a.test', validUntilTs: 5, keys, document, fetchedTs: 4 };
    for (const validUntilTs of [1, 5])
      await at.db.write('test', (tx) => serverKeys.set(tx, { ...stored, validUntilTs }));
    assert.deepEqual(await serverKeys.of(at.db, 'a.test'), stored);
    assert.equal(await serverKeys.of(at.db, 'b.test'), undefined);
  });
}
