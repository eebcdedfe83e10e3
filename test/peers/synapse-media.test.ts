/** Kurir and a real Synapse: files of one are downloaded by users of the other. */

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, test } from 'node:test';
import { download, picture, thumbnail, upload } from '#test/harness/media.ts';
import { startNeighbours } from './synapse-neighbours.ts';

const resources = new AsyncDisposableStack();
after(() => resources.disposeAsync());
const { pairs } = resources.use(await startNeighbours());

for (const { home, host, guest } of pairs) {
  test(`a file of ${home} comes to the other side byte by byte, with its type and name`, async () => {
    const bytes = randomBytes(2_000_000);
    const uri = await upload(host, bytes, { type: 'application/pdf', name: 'Tunnel plan ä.pdf' });
    // The first is fetched, the second comes out of the cache.
    for (const _ of ['fetched', 'kept']) {
      const got = await download(guest, uri);
      assert.equal(got.status, 200, got.errcode);
      assert.ok(got.bytes.equals(bytes));
      assert.equal(got.headers.get('content-type'), 'application/pdf');
      assert.match(got.headers.get('content-disposition') ?? '', /^attachment;.*Tunnel%20plan%20%C3%A4\.pdf/);
    }
  });

  test(`a picture of ${home} has a thumbnail on the other side`, async () => {
    const uri = await upload(host, await picture(640, 480), { type: 'image/png', name: 'plan.png' });
    const got = await thumbnail(guest, uri, { width: 96, height: 96, method: 'crop' });
    assert.equal(got.status, 200, got.errcode);
    assert.match(got.headers.get('content-type') ?? '', /^image\//);
    assert.ok(got.bytes.length > 0);
  });

  test(`a file that ${home} does not have is not found on the other side`, async () => {
    const uri = await upload(host, 'there');
    const got = await download(guest, `${uri}x`);
    assert.equal(got.status, 404);
    assert.equal(got.errcode, 'M_NOT_FOUND');
  });
}
