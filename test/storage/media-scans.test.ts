import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as media from '#storage/media.ts';
import * as mediaScans from '#storage/media-scans.ts';
import { drivers } from '#test/harness/databases.ts';

const [A, B, C] = ['a', 'b', 'c'].map((digit) => digit.repeat(64)) as [string, string, string];

for (const { name, open } of drivers) {
  test(`${name}: what is said of a file is replaced by what is said later, but not what the operator says`, async () => {
    await using database = await open();
    const { db } = database;
    const set = (sha256: string, verdict: 'clean' | 'infected', version: string) =>
      db.write('test', (tx) =>
        mediaScans.set(tx, sha256, {
          ...{ verdict, version, scannedTs: 5 },
          signature: verdict === 'infected' ? 'S' : undefined,
        }),
      );
    assert.equal(await mediaScans.of(db, A), undefined);
    await set(A, 'clean', '1');
    await set(B, 'clean', '1');
    await set(A, 'infected', '2');
    assert.deepEqual(await mediaScans.of(db, A), {
      ...{ verdict: 'infected', version: '2', signature: 'S', scannedTs: 5 },
    });
    assert.deepEqual([...(await mediaScans.ofFiles(db, [A, B, C])).keys()].sort(), [A, B]);
    // Only what is infected needs to be allowed.
    for (const sha256 of [A, B]) await db.write('test', (tx) => mediaScans.allow(tx, sha256));
    for (const sha256 of [A, B]) await set(sha256, 'infected', '3');
    const found = [(await mediaScans.of(db, A))?.verdict, (await mediaScans.of(db, B))?.verdict];
    assert.deepEqual(found, ['allowed', 'infected']);
    assert.deepEqual(Object.fromEntries(await mediaScans.count(db)), { allowed: 1, infected: 1 });
    await db.write('test', (tx) => mediaScans.remove(tx, [A, C]));
    assert.equal(await mediaScans.of(db, A), undefined);
  });

  test(`${name}: files are listed once each, in the order of their hashes; all that has one goes into quarantine`, async () => {
    await using database = await open();
    const { db } = database;
    const server = 'here.test';
    const add = (mediaId: string, sha256: string) =>
      db.write('test', (tx) => {
        const content = { sha256, size: 3, contentType: 'text/plain', uploadName: undefined };
        return media.add(tx, { server, mediaId, userId: '@alice:here.test' }, content, 1);
      });
    for (const [mediaId, sha256] of [
      ['one', B],
      ['two', A],
      ['three', B],
    ] as const)
      await add(mediaId, sha256);
    assert.deepEqual(await mediaScans.filesAfter(db, '', 1), [{ sha256: A, size: 3 }]);
    assert.deepEqual(await mediaScans.filesAfter(db, A, 5), [{ sha256: B, size: 3 }]);
    await db.write('test', (tx) => media.quarantineFile(tx, B, 9));
    const quarantined = await Promise.all(
      ['one', 'two', 'three'].map(
        async (mediaId) => (await media.of(db, { server, mediaId }))?.isQuarantined,
      ),
    );
    assert.deepEqual(quarantined, [true, false, true]);
  });
}
