import assert from 'node:assert/strict';
import { readdir, rm, writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';
import type { Database } from '#storage/database.ts';
import { migrate, SchemaMismatch, statementsOf } from '#storage/migrate.ts';
import { drivers, temporaryFolder } from '#test/harness/databases.ts';

const applied = {
  name: '',
  text: 'SELECT number, name, applied_ts FROM schema_migrations ORDER BY number',
};

async function folderOf(files: Record<string, string>): Promise<AsyncDisposable & { url: URL }> {
  const folder = await temporaryFolder();
  const url = new URL(`${pathToFileURL(folder.path)}/`);
  for (const [name, text] of Object.entries(files)) await writeFile(new URL(name, url), text);
  return { url, [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose]() };
}

async function numbersOf(db: Database): Promise<number[]> {
  const rows: { number: number }[] = await db.all<[], { number: number }>(applied);
  return rows.map((row) => row.number);
}

const first =
  '-- Things.\nCREATE TABLE things (id {id}, name {text} NOT NULL, n {int}, b {bytes}) {strict};\n';
const second = "INSERT INTO things (name) VALUES ('a');\nINSERT INTO things (name) VALUES ('b');\n";

for (const driver of drivers) {
  test(`on ${driver.name}: every migration of the server applies, once`, async () => {
    await using opened = await driver.open({ empty: true });
    await migrate(opened.db);
    const files = await readdir(new URL('../../storage/migrations/', import.meta.url));
    assert.equal((await numbersOf(opened.db)).length, files.length);
    const before = await opened.db.all(applied);
    await migrate(opened.db);
    assert.deepEqual(await opened.db.all(applied), before);
  });

  test(`on ${driver.name}: of a new database all migrations are one, which leaves nothing if it fails`, async () => {
    await using opened = await driver.open({ empty: true });
    const broken = `${second}INSERT INTO absent (name) VALUES ('c');\n`;
    await using folder = await folderOf({ '0001-things.sql': first, '0002-rows.sql': broken });
    await assert.rejects(migrate(opened.db, { folder: folder.url }), /absent/);
    assert.deepEqual(await numbersOf(opened.db), []);
  });

  test(`on ${driver.name}: a migration that fails leaves nothing of itself, and the next start goes on`, async () => {
    await using opened = await driver.open({ empty: true });
    const { db } = opened;
    const broken = `${second}INSERT INTO absent (name) VALUES ('c');\n`;
    await using folder = await folderOf({ '0001-things.sql': first, '0002-rows.sql': broken });
    await using released = await folderOf({ '0001-things.sql': first });
    await migrate(db, { folder: released.url });
    await assert.rejects(migrate(db, { folder: folder.url }), /absent/);
    assert.deepEqual(await numbersOf(db), [1]);
    assert.deepEqual(await db.all({ name: '', text: 'SELECT name FROM things' }), []);
    await writeFile(new URL('0002-rows.sql', folder.url), second);
    await migrate(db, { folder: folder.url });
    assert.deepEqual(await numbersOf(db), [1, 2]);
    assert.deepEqual(await db.all({ name: '', text: 'SELECT name FROM things ORDER BY id' }), [
      { name: 'a' },
      { name: 'b' },
    ]);
  });

  test(`on ${driver.name}: a changed migration and a newer database are refused in one line`, async () => {
    await using opened = await driver.open({ empty: true });
    const { db } = opened;
    await using folder = await folderOf({ '0001-things.sql': first, '0002-rows.sql': second });
    await migrate(db, { folder: folder.url });
    await writeFile(new URL('0001-things.sql', folder.url), `${first}\n`);
    const changed = await migrate(db, { folder: folder.url }).catch((error: unknown) => error);
    assert.ok(changed instanceof SchemaMismatch);
    assert.match(changed.message, /^.*0001-things\.sql has changed.*$/);
    await writeFile(new URL('0001-things.sql', folder.url), first);
    await rm(new URL('0002-rows.sql', folder.url));
    const newer = await migrate(db, { folder: folder.url }).catch((error: unknown) => error);
    assert.ok(newer instanceof SchemaMismatch);
    assert.match(newer.message, /^the database is newer than this version of Kurir: it has 0002-rows\.sql$/);
  });
}

test('two migrations with one number are a mistake', async () => {
  const [driver] = drivers;
  assert.ok(driver);
  await using opened = await driver.open({ empty: true });
  await using folder = await folderOf({ '0001-a.sql': first, '0001-b.sql': second });
  await assert.rejects(migrate(opened.db, { folder: folder.url }), /0001-b\.sql/);
});

test('a file is split at the ends of its statements, without comments and what is for the other database', () => {
  const file = `-- About a.
CREATE TABLE a (
  x {int}, -- not a; statement
  y {text}
);

-- sqlite only
CREATE VIRTUAL TABLE b USING fts5 (x);
-- postgres only
CREATE TABLE b (x TSVECTOR);
-- The end.
`;
  assert.deepEqual(
    statementsOf(file, 'sqlite').map((text) => text.split('(')[0]),
    ['CREATE TABLE a ', 'CREATE VIRTUAL TABLE b USING fts5 '],
  );
  assert.deepEqual(
    statementsOf(file, 'postgres').map((text) => text.split('(')[0]),
    ['CREATE TABLE a ', 'CREATE TABLE b '],
  );
});
