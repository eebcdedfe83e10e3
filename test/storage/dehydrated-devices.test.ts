import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { UserId } from '#keys/ids.ts';
import * as dehydratedDevices from '#storage/dehydrated-devices.ts';
import * as devices from '#storage/devices.ts';
import * as e2eeKeys from '#storage/e2ee-keys.ts';
import { drivers } from '#test/harness/databases.ts';

const ALICE: UserId = '@alice:here.test';

for (const { name, open } of drivers) {
  test(`${name}: a user has one dehydrated device, on which nobody is signed in`, async () => {
    await using at = await open();
    const { db } = at;
    await db.write('test', async (tx) => {
      for (const deviceId of ['A', 'DRY']) {
        await devices.create(tx, { userId: ALICE, deviceId, displayName: undefined, now: 1 });
      }
      await dehydratedDevices.set(tx, ALICE, { deviceId: 'OLD', deviceData: {} });
      await dehydratedDevices.set(tx, ALICE, { deviceId: 'DRY', deviceData: { a: 1 } });
      await dehydratedDevices.remove(tx, ALICE, 'OLD');
    });
    assert.deepEqual(await dehydratedDevices.of(db, ALICE), { deviceId: 'DRY', deviceData: { a: 1 } });
    assert.deepEqual(await devices.signedIn(db, ALICE), ['A']);
    await db.write('test', (tx) => dehydratedDevices.remove(tx, ALICE, 'DRY'));
    assert.equal(await dehydratedDevices.of(db, ALICE), undefined);
    assert.deepEqual(await devices.signedIn(db, ALICE), ['A', 'DRY']);
  });

  test(`${name}: a fallback key that was given out stays used when it is uploaded again, until another one is`, async () => {
    await using at = await open();
    const { db } = at;
    const device = { userId: ALICE, deviceId: 'A' };
    const upload = (keyId: string) =>
      db.write('test', (tx) =>
        e2eeKeys.setFallbackKeys(tx, device, [{ algorithm: 'x', keyId, key: { k: keyId } }]),
      );
    await upload('1');
    assert.deepEqual(await e2eeKeys.unusedFallbackTypes(db, ALICE, 'A'), ['x']);
    const claim = () => db.write('test', (tx) => e2eeKeys.claim(tx, device, 'x'));
    assert.deepEqual(await claim(), { keyId: '1', key: { k: '1' } });
    await upload('1');
    assert.deepEqual(await e2eeKeys.unusedFallbackTypes(db, ALICE, 'A'), []);
    await upload('2');
    assert.deepEqual(await e2eeKeys.unusedFallbackTypes(db, ALICE, 'A'), ['x']);
    assert.deepEqual(await claim(), { keyId: '2', key: { k: '2' } });
    assert.equal(await e2eeKeys.hasFallbackKeys(db, device, 1), true);
    assert.equal(await e2eeKeys.hasFallbackKeys(db, device, 2), false);
  });
}
