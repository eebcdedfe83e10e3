/** The operator's commands about rooms, as an operator runs them. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { openSqlite } from '#storage/sqlite.ts';
import { register } from '#test/harness/client.ts';
import { temporaryFolder } from '#test/harness/databases.ts';
import { type Ended, run, serverEnvironment, startProcess } from '#test/harness/process.ts';

async function kurir(dataDir: string, words: string): Promise<Ended> {
  return await run('server/kurir.ts', words.split(' '), { env: serverEnvironment(dataDir) });
}

test('room check reads a room, or all, while the server runs; says what is wrong, and exits with 1 then', async () => {
  await using folder = await temporaryFolder();
  await using server = await startProcess({ ...serverEnvironment(folder.path), KURIR_REGISTRATION: 'open' });
  const alice = await register(server, 'alice');
  const roomId = await alice.createRoom({ name: 'A room' });
  await alice.createRoom({ name: 'Another room' });
  await alice.send(roomId, 'hello');
  const one = await kurir(folder.path, `room check ${roomId}`);
  assert.equal(one.err, '');
  assert.match(one.out, /^!\S+ is sound: \d+ events checked\.\n$/);
  const all = await kurir(folder.path, 'room check --all --whole');
  assert.match(all.out, /^All rooms are sound: \d+ events checked\.\n$/);
  assert.deepEqual([one.code, one.err, all.code, all.err], [0, '', 0, '']);

  await server.stop();
  const db = await openSqlite({ path: join(folder.path, 'kurir.db') });
  const text = `UPDATE events SET json = replace(json, 'hello', 'harm') WHERE json LIKE '%"hello"%'`;
  await db.write('test.damage', (tx) => tx.run({ name: '', text }));
  await db.close();
  const damaged = await kurir(folder.path, 'room check --all');
  assert.equal(damaged.code, 1);
  assert.equal(damaged.out, '');
  const lines = damaged.err.split('\n');
  assert.equal(lines[0], 'kurir: 1 finding:');
  assert.match(lines[1] ?? '', /^!\S+: \$\S+ is damaged: its content has another hash$/);
  assert.ok(lines[1]?.startsWith(roomId));
});

test('room check says what it cannot do, and why', async () => {
  await using folder = await temporaryFolder();
  await using server = await startProcess(serverEnvironment(folder.path));
  await server.stop();
  const cases: [words: string, code: number, says: RegExp][] = [
    ['room check', 2, /the room, or --all, is missing/],
    ['room check hello', 1, /"hello" is neither a room id/],
    ['room check !a:b !c:d', 2, /"!c:d" is too much/],
    ['room check !a:b --all', 2, /"!a:b" is too much/],
    ['room check !a:b', 1, /this server does not know the room !a:b/],
  ];
  for (const [words, code, says] of cases) {
    const ended = await kurir(folder.path, words);
    assert.equal(ended.code, code, words);
    assert.match(ended.err, says);
  }
});
