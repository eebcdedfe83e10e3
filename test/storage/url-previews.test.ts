import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as urlPreviews from '#storage/url-previews.ts';
import { drivers } from '#test/harness/databases.ts';

for (const { name, open } of drivers) {
  test(`${name}: of previews the newest are kept, one for each address, until they are too old`, async () => {
    await using database = await open();
    const { db } = database;
    const put = (address: string, createdTs: number, picture?: { mediaId: string; about: string }) =>
      db.write('test', (tx) => urlPreviews.put(tx, address, { preview: '{}', picture, createdTs }, 3));
    const kept = async () => {
      const addresses = ['a', 'b', 'c', 'd', 'e'];
      const found = await Promise.all(addresses.map((address) => urlPreviews.of(db, address)));
      return addresses.filter((_, index) => found[index] !== undefined).join('');
    };
    for (const [index, address] of ['a', 'b', 'c'].entries()) await put(address, index);
    await put('a', 5, { mediaId: 'm', about: '{"x":1}' });
    assert.deepEqual(await urlPreviews.of(db, 'a'), {
      preview: '{}',
      picture: { mediaId: 'm', about: '{"x":1}' },
      createdTs: 5,
    });
    await put('d', 6);
    assert.equal(await kept(), 'acd');
    await put('a', 7);
    assert.equal((await urlPreviews.of(db, 'a'))?.picture, undefined);
    const remove = (before: number, limit: number) =>
      db.write('test', (tx) => urlPreviews.removeBefore(tx, before, limit));
    assert.deepEqual([await remove(7, 1), await remove(7, 5), await remove(7, 5)], [1, 1, 0]);
    assert.equal(await kept(), 'a');
  });
}
