/**
 * A server in small, which kills itself between a commit and its publication. Tells its parent each position
 * that it has acknowledged (`ack`) or announced (`mem`). With `drain` it only lets its consumer catch up.
 */

import { cursors } from '#storage/cursors.ts';
import type { Database, Tx } from '#storage/database.ts';
import { migrate } from '#storage/migrate.ts';
import { sql } from '#storage/sql.ts';
import { openSqlite } from '#storage/sqlite.ts';
import { Streams } from '#storage/streams.ts';

const insert = sql<[position: number]>('crash.insert', 'INSERT INTO crash_events (position) VALUES (?)');
const consume = sql<[position: number]>('crash.consume', 'INSERT INTO crash_consumed (position) VALUES (?)');
const after = sql<[since: number, upto: number], { position: number }>(
  'crash.after',
  'SELECT position FROM crash_events WHERE position > ? AND position <= ? ORDER BY position LIMIT 5',
);
const tables = [
  'CREATE TABLE IF NOT EXISTS crash_events (position {int} NOT NULL PRIMARY KEY) {strict}',
  'CREATE TABLE IF NOT EXISTS crash_consumed (position {int} NOT NULL PRIMARY KEY) {strict}',
];

const [path = '', mode] = process.argv.slice(2);
const tell = (line: string) => process.stdout.write(`${line}\n`);
const db = await openSqlite({ path, strictWatchdog: true });
await migrate(db);
await db.write('crash.tables', async (tx) => {
  for (const text of tables) await tx.run({ name: '', text });
});
const streams = await Streams.open(db);

if (mode === 'drain') {
  await follow(db);
  await db.close();
} else {
  let commits = 0;
  const fatalCommit = 20 + Math.floor(Math.random() * 60);
  const event = async (tx: Tx) => {
    tx.afterCommit(() => {
      commits += 1;
      if (commits === fatalCommit) process.kill(process.pid, 'SIGKILL');
    });
    const position = streams.allocate(tx, ['events']);
    await tx.run(insert, position);
    return position;
  };
  for (;;) {
    tell(`mem ${streams.announce(['typing'])}`);
    const writes = Array.from({ length: 3 }, () =>
      db.write('crash.event', event).then((position) => tell(`ack ${position}`)),
    );
    await Promise.all(writes);
    await follow(db);
  }
}

/** A consumer: its work and its cursor move together. */
async function follow(reader: Database): Promise<void> {
  for (;;) {
    const rows = await reader.all(after, await cursors.get(reader, 'follower'), streams.upto());
    const last = rows.at(-1);
    if (!last) return;
    await reader.write('crash.follow', async (tx) => {
      for (const { position } of rows) await tx.run(consume, position);
      await cursors.set(tx, 'follower', last.position);
    });
  }
}
