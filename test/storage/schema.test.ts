import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sql } from '#storage/sql.ts';
import { temporarySqlite } from '#test/harness/databases.ts';

const INDEXES = sql<[string], { name: string }>(
  'test.schema.indexes',
  `SELECT name FROM sqlite_schema WHERE type = 'index' AND tbl_name = ? ORDER BY name`,
);

test('the table of events, which every event is written to, has at most three secondary indexes', async () => {
  await using opened = await temporarySqlite();
  const indexes = (await opened.db.all(INDEXES, 'events')).map(({ name }) => name);
  assert.deepEqual(indexes, ['events_by_position', 'events_by_stream', 'sqlite_autoindex_events_1']);
});
