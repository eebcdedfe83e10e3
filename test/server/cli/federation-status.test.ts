/** The operator's command about deliveries, as a process. */

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import * as contradictedKeys from '#storage/contradicted-keys.ts';
import * as destinations from '#storage/destinations.ts';
import * as eduOutbox from '#storage/edu-outbox.ts';
import * as serverKeys from '#storage/server-keys.ts';
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
  const keyOf = (key: string) => new Map([['ed25519:a' as const, key]]);
  await db.write('test', async (tx) => {
    const keys = new Map([['ed25519:a' as const, { publicKey: 'AAAA' }]]);
    await serverKeys.set(tx, { serverName: 'e.test', validUntilTs: ts, keys, document: {} });
    await contradictedKeys.set(tx, { server: 'e.test', keys: keyOf('BBBB'), notedTs: ts });
  });
  await db.close();
  const stopped = await status(folder.path);
  assert.deepEqual(stopped.out.trimEnd().split('\n'), [
    'a.test  up to date',
    'b.test  certificate expired on 2026-01-31, for 3 minutes',
    'c.test  its clock is off by 4 minutes (behind ours)',
    'e.test  its signing key ed25519:a changed and kept its id, for 3 minutes: nothing of it is verified until that is cleared up',
  ]);
  await using _ = await startProcess(serverEnvironment(folder.path));
  assert.equal((await status(folder.path)).out, stopped.out);
  const one = await status(folder.path, 'b.test');
  assert.match(one.out, /What to do: their administrator must renew the certificate\./);
  assert.match(one.out, /Next attempt in \d+ \w+, or when it calls; 7 failed so far\./);
  assert.match((await status(folder.path, 'c.test')).out, /Delivered: 12 events; refused: 1\./);
  assert.match((await status(folder.path, 'e.test')).out, /What to do: ask their administrator whether/);
  const unknown = await status(folder.path, 'd.test');
  assert.deepEqual(
    [unknown.code, unknown.err],
    [1, 'kurir: nothing was ever sent to d.test: see "federation status"\n'],
  );
  assert.equal((await status(folder.path, 'no name')).code, 2);
});

test('federation resend: by the running server, or on its database for when it starts', async () => {
  await using folder = await temporaryFolder();
  await (await startProcess(serverEnvironment(folder.path))).stop();
  const setAside = async (name: string) => {
    await using db = await openSqlite({ path: join(folder.path, 'kurir.db') });
    await db.write('test', async (tx) => {
      await destinations.add(tx, 'a.test', 0);
      await eduOutbox.enqueue(tx, ['a.test'], { json: name, replaceKey: undefined, queuedTs: 1 });
      await eduOutbox.takeOff(tx, await eduOutbox.pendingOf(tx, 'a.test', 1));
      await eduOutbox.setAside(tx, 'a.test');
    });
  };
  const resend = (...words: string[]) =>
    run('server/kurir.ts', ['federation', 'resend', ...words], { env: serverEnvironment(folder.path) });
  await setAside('{}');
  assert.equal(
    (await resend('a.test')).out,
    '0 events and 1 other messages are sent to a.test again when the server starts.\n',
  );
  await setAside('{}');
  await using _ = await startProcess(serverEnvironment(folder.path));
  assert.match((await resend('a.test')).out, /are sent to a\.test again now\.|^Nothing is set aside/);
  const unknown = await resend('d.test');
  assert.deepEqual(
    [unknown.code, unknown.err],
    [1, 'kurir: nothing was ever sent to d.test: see "federation status"\n'],
  );
  assert.equal((await resend()).code, 2);
});
