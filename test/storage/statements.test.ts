/** Every SQL text of the server is understood by both databases. */

import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { before, test } from 'node:test';
import { namedStatements, translate } from '#storage/sql.ts';
import { temporaryPostgres, temporarySqlite } from '#test/harness/databases.ts';

const storage = new URL('../../storage/', import.meta.url);

before(async () => {
  const files = (await readdir(storage)).filter(
    (name) => name.endsWith('.ts') && !name.endsWith('-worker.ts'),
  );
  await Promise.all(files.map((name) => import(new URL(name, storage).href)));
});

test('every named statement prepares on SQLite', async () => {
  await using opened = await temporarySqlite();
  const failures: string[] = [];
  for (const { name, text } of namedStatements()) {
    const parameters = translate(text, 'sqlite').split('?').length - 1;
    const explained = { name: '', text: `EXPLAIN ${translate(text, 'sqlite')}` };
    const nulls = Array.from({ length: parameters }, () => null);
    await opened.db
      .write('test', (tx) => tx.all<null[], unknown>(explained, ...nulls))
      .catch((error: Error) => failures.push(`${name}: ${error.message}`));
  }
  assert.ok(namedStatements().length > 5);
  assert.deepEqual(failures, []);
});

test('every named statement prepares on PostgreSQL', async () => {
  await using opened = await temporaryPostgres();
  const failures: string[] = [];
  for (const { name, text } of namedStatements()) {
    const prepare = { name: '', text: `PREPARE checked AS ${translate(text, 'postgres')}` };
    await opened.db
      .write('test', async (tx) => {
        await tx.run(prepare);
        await tx.run({ name: '', text: 'DEALLOCATE checked' });
      })
      .catch((error: Error) => failures.push(`${name}: ${error.message}`));
  }
  assert.deepEqual(failures, []);
});

test('SQLite is asked of no value that it would plan a statement by', () => {
  const byValue = namedStatements().filter(({ text }) =>
    /(=|\b(IS|LIMIT))\s*\?/.test(translate(text, 'sqlite')),
  );
  assert.deepEqual(
    byValue.map(({ name }) => name),
    [],
  );
});
