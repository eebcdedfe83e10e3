import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { type TestContext, test } from 'node:test';
import { type Database, DatabaseFull, isDatabaseFault, WriteQueueFull } from '#storage/database.ts';
import { sql } from '#storage/sql.ts';
import { openSqlite, openSqliteReadOnly } from '#storage/sqlite.ts';
import { DatabaseLocked } from '#storage/sqlite-connection.ts';
import { temporaryFolder, temporarySqlite } from '#test/harness/databases.ts';

const createNotes = { name: '', text: 'CREATE TABLE notes (id {id}, body {text} NOT NULL) {strict}' };
const insert = sql<[body: string]>('test.insert', 'INSERT INTO notes (body) VALUES (?)');
const count = sql<[], { n: number }>('test.count', 'SELECT COUNT(*) AS n FROM notes');

async function pragma(db: Database, where: 'writer' | 'reader', name: string): Promise<unknown> {
  const statement = { name: '', text: `SELECT * FROM pragma_${name}` };
  const rows = where === 'reader' ? await db.all(statement) : await db.write('p', (tx) => tx.all(statement));
  return Object.values(rows[0] ?? {})[0];
}

function child(t: TestContext, path: string): { process: ChildProcess; lines: AsyncIterator<string> } {
  const started = spawn(process.execPath, [new URL('./sqlite-child.ts', import.meta.url).pathname, path], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.after(() => started.kill('SIGKILL'));
  return { process: started, lines: createInterface(started.stdout)[Symbol.asyncIterator]() };
}

test('every open waits for the disk at each commit: synchronous is FULL the first time and the second', async () => {
  await using folder = await temporaryFolder();
  const path = join(folder.path, 'kurir.db');
  for (const open of ['first', 'second', 'third']) {
    await using db = await openSqlite({ path });
    assert.equal(await pragma(db, 'writer', 'synchronous'), 2, open);
    assert.equal(await pragma(db, 'reader', 'synchronous'), 2, open);
    assert.equal(await pragma(db, 'writer', 'journal_mode'), 'wal', open);
    assert.equal(await pragma(db, 'writer', 'foreign_keys'), 1, open);
    assert.equal(await pragma(db, 'reader', 'query_only'), 1, open);
  }
});

test('the database file is readable by its owner only', async () => {
  await using opened = await temporarySqlite();
  assert.equal((await stat(opened.path)).mode & 0o077, 0);
});

test('F15: a second open of the folder is refused, in the same process and in another', async (t) => {
  await using opened = await temporarySqlite({ empty: true });
  await assert.rejects(openSqlite({ path: opened.path }), DatabaseLocked);
  const second = child(t, opened.path);
  const { value } = await second.lines.next();
  assert.match(value, /^refused DatabaseLocked: \S+ is in use by another Kurir process$/);
  // The attempts did not break the lock, nor the database.
  await assert.rejects(openSqlite({ path: opened.path }), DatabaseLocked);
  await opened.db.write('test', (tx) => tx.run(createNotes));
});

test('the lock of a killed process does not block the next', async (t) => {
  await using folder = await temporaryFolder();
  const path = join(folder.path, 'kurir.db');
  const holder = child(t, path);
  assert.equal((await holder.lines.next()).value, 'open');
  await assert.rejects(openSqlite({ path }), DatabaseLocked);
  holder.process.kill('SIGKILL');
  await once(holder.process, 'exit');
  await using db = await openSqlite({ path });
  await db.write('test', (tx) => tx.run(createNotes));
});

test('a read-only open changes nothing, takes no lock and sees what is committed', async () => {
  await using opened = await temporarySqlite({ empty: true });
  await opened.db.write('test', async (tx) => {
    await tx.run(createNotes);
    await tx.run(insert, 'a');
  });
  await using checked = await openSqliteReadOnly(opened.path);
  assert.deepEqual(await checked.get(count), { n: 1 });
  assert.deepEqual(await checked.scan(count), [{ n: 1 }]);
  await assert.rejects(
    checked.write('test', (tx) => tx.run(insert, 'b')),
    /read only/,
  );
});

test('a database opened read-only must exist', async () => {
  await using folder = await temporaryFolder();
  await assert.rejects(openSqliteReadOnly(join(folder.path, 'none.db')));
});

test('a long read runs beside the loop, sees committed rows only, and reports its error', async () => {
  await using opened = await temporarySqlite({ empty: true });
  const { db } = opened;
  await db.write('test', (tx) => tx.run(createNotes));
  let turns = 0;
  const ticking = setInterval(() => {
    turns += 1;
  }, 1);
  const numbers = {
    name: '',
    text: 'WITH RECURSIVE c (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 2000000) SELECT MAX(i) AS m FROM c',
  };
  assert.deepEqual(await db.scan(numbers), [{ m: 2_000_000 }]);
  clearInterval(ticking);
  assert.ok(turns > 5, `the loop turned ${turns} times`);
  await assert.rejects(db.scan({ name: '', text: 'SELECT * FROM absent' }), {
    code: 'SQLITE_ERROR',
    message: /no such table/,
  });
  await assert.rejects(db.scan({ name: '', text: "INSERT INTO notes (body) VALUES ('x') RETURNING id" }));
  assert.deepEqual(await db.scan(count), [{ n: 0 }]);
});

test('close ends long reads that still run', async () => {
  const opened = await temporarySqlite({ empty: true });
  const endless = {
    name: '',
    text: 'WITH RECURSIVE c (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c) SELECT COUNT(*) AS n FROM c',
  };
  const scan = assert.rejects(opened.db.scan(endless), /closed/);
  await opened[Symbol.asyncDispose]();
  await scan;
});

test('the writes of one turn share a commit: none is visible before the hooks of the first run', async () => {
  await using opened = await temporarySqlite({ empty: true });
  const { db } = opened;
  await db.write('test', (tx) => tx.run(createNotes));
  const seen: Promise<{ n: number } | undefined>[] = [];
  await Promise.all(
    Array.from({ length: 64 }, () =>
      db.write('test', async (tx) => {
        await tx.run(insert, 'x');
        tx.afterCommit(() => seen.push(db.get(count)));
      }),
    ),
  );
  assert.deepEqual(await seen[0], { n: 64 });
});

test('writes beyond the limit of the queue are refused at once, and those accepted are done', async () => {
  await using opened = await temporarySqlite({ empty: true });
  const { db } = opened;
  await db.write('test', (tx) => tx.run(createNotes));
  const writes = Array.from({ length: 10_001 }, () => db.write('test', (tx) => tx.run(insert, 'x')));
  const refused = writes.pop();
  assert.ok(refused);
  await assert.rejects(refused, WriteQueueFull);
  await Promise.all(writes);
  assert.deepEqual(await db.get(count), { n: 10_000 });
});

test('a full disk refuses the write that does not fit, and the database goes on', async () => {
  await using opened = await temporarySqlite({ empty: true });
  const { db } = opened;
  await db.write('test', (tx) => tx.run(createNotes));
  await db.write('test', (tx) => tx.all({ name: '', text: 'PRAGMA max_page_count = 30' }));
  const rolledBack: string[] = [];
  const write = (body: string) =>
    db.write('test', async (tx) => {
      tx.afterRollback(() => rolledBack.push(body.slice(0, 1)));
      await tx.run(insert, body);
    });
  const results = await Promise.allSettled([write('a'), write('b'.repeat(1_000_000)), write('c')]);
  assert.deepEqual(
    results.map((result) => result.status),
    ['fulfilled', 'rejected', 'fulfilled'],
  );
  assert.ok(results[1]?.status === 'rejected' && results[1].reason instanceof DatabaseFull);
  assert.ok(isDatabaseFault(results[1].reason));
  assert.deepEqual(await db.get(count), { n: 2 });
  assert.ok(rolledBack.includes('b'));
  await write('d');
  assert.deepEqual(await db.get(count), { n: 3 });
});

test('a commit that fails to reach the disk is the end: everything is refused and the owner is told', async () => {
  await using folder = await temporaryFolder();
  const file = new URL('./sqlite-child.ts', import.meta.url).pathname;
  const path = join(folder.path, 'kurir.db');
  // A limit on the size of files makes the kernel refuse to write, as a failing disk does.
  const script = `trap '' XFSZ; ulimit -f 4096; exec "$0" "$1" "$2" fill`;
  const limited = spawn('sh', ['-c', script, process.execPath, file, path], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const lines: string[] = [];
  for await (const line of createInterface(limited.stdout)) lines.push(line);
  assert.match(lines[1] ?? '', /^fatal SQLITE_IOERR/);
  const [open, , ...rest] = lines;
  assert.equal(open, 'open');
  assert.deepEqual(rest, [
    'write DatabaseUnavailable',
    'next DatabaseUnavailable',
    'read DatabaseUnavailable',
    'closed',
  ]);
});

test('outside of tests a body that outlives its turn is reported by name, and still commits', async () => {
  const warnings: object[] = [];
  const log = { warn: (fields: object) => warnings.push(fields), error: () => undefined };
  await using opened = await temporarySqlite({ empty: true, strictWatchdog: false, log });
  const { db } = opened;
  await db.write('test', (tx) => tx.run(createNotes));
  const slow = (name: string) =>
    db.write(name, async (tx) => {
      await tx.run(insert, 'slow');
      await new Promise((resolve) => setTimeout(resolve, 5));
      await tx.run(insert, 'slower');
    });
  const other = db.write('test', (tx) => tx.run(insert, 'other'));
  await Promise.all([slow('test.first'), other, slow('test.second')]);
  assert.deepEqual(warnings, [{ write: 'test.first' }, { write: 'test.second' }]);
  assert.deepEqual(await db.get(count), { n: 5 });
});
