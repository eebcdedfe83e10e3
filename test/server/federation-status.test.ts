/** The operator's command about deliveries, as a process. */

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import * as destinations from '#storage/destinations.ts';
import { openSqlite } from '#storage/sqlite.ts';
import { temporaryFolder } from '#test/harness/databases.ts';
import { type Ended, run, serverEnvironment, startProcess } from '#test/harness/process.ts';

function status(dataDir: string, ...words: string[]): Promise<Ended> {
  return run('server/kurir.ts', ['federation', 'status', ...words], { env: serverEnvironment(dataDir) });
}

test('federation status: every server in a line, one in detail, while the server runs and while it does not', async () => {
  await using folder = await temporaryFolder();
  const first = await startProcess(serverEnvironment(folder.path));
  assert.equal((await status(folder.path)).out, 'Nothing was sent to another server yet.\n');
  await first.stop();
  const db = await openSqlite({ path: join(folder.path, 'kurir.db') });
  const ts = Date.now() - 3 * 60_000;
  await db.write('test', async (tx) => {
    for (const server of ['a.test', 'b.test', 'c.test']) await destinations.add(tx, server, 0);
    const fault = { cause: 'certificate_expired', words: 'certificate expired on 2026-01-31', ts };
    await destinations.setFault(tx, 'b.test', JSON.stringify(fault));
    await destinations.setOutage(tx, 'b.test', {
      failures: 7,
      failingSince: ts,
      retryAt: Date.now() + 60_000,
    });
    const answered = { ts, clockSkew: -240_000, delivered: 12, refused: 1 };
    await destinations.endTransaction(tx, 'c.test', { upto: 0, answered });
  });
  await db.close();
  const stopped = await status(folder.path);
  assert.deepEqual(stopped.out.trimEnd().split('\n'), [
    'a.test  up to date',
    'b.test  certificate expired on 2026-01-31, for 3 minutes',
    'c.test  its clock is off by 4 minutes (behind ours)',
  ]);
  await using _ = await startProcess(serverEnvironment(folder.path));
  assert.equal((await status(folder.path)).out, stopped.out);
  const one = await status(folder.path, 'b.test');
  assert.match(one.out, /What to do: their administrator must renew the certificate\./);
  assert.match(one.out, /Next attempt in \d+ \w+, or when it calls; 7 failed so far\./);
  assert.match((await status(folder.path, 'c.test')).out, /Delivered: 12 events; refused: 1\./);
  const unknown = await status(folder.path, 'd.test');
  assert.deepEqual(
    [unknown.code, unknown.err],
    [1, 'kurir: nothing was ever sent to d.test: see "federation status"\n'],
  );
  assert.equal((await status(folder.path, 'no name')).code, 2);
});
