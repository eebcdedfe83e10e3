/**
 * Brings a database to the schema of this code: the files `migrations/NNNN-name.sql`, in order, each in one
 * transaction together with the row that records it, so that a killed server goes on where it stopped.
 *
 * A file is a list of statements that end in `;` at the end of a line, with the words of `sql.ts`. A statement
 * whose first line is `-- sqlite only` or `-- postgres only` is left out on the other database. A file that
 * was released is never edited: a new one is added.
 */

import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import type { Database } from './database.ts';
import { type Dialect, sql } from './sql.ts';

export interface MigrateOptions {
  /** Where the files are, ending in a slash. The server's own by default. */
  readonly folder?: URL;
  readonly log?: { info(fields: object, message: string): void };
}

/** The database cannot be served by this code. The message is one line for the operator. */
export class SchemaMismatch extends Error {
  override readonly name = 'SchemaMismatch';
}

interface Migration {
  readonly number: number;
  readonly name: string;
  readonly checksum: string;
  readonly text: string;
}

type AppliedRow = { number: number; name: string; checksum: string };

const applied = sql<[], AppliedRow>(
  'migrate.applied',
  'SELECT number, name, checksum FROM schema_migrations ORDER BY number',
);
const record = sql<[number: number, name: string, checksum: string, appliedTs: number]>(
  'migrate.record',
  'INSERT INTO schema_migrations (number, name, checksum, applied_ts) VALUES (?, ?, ?, ?)',
);
const createTable = `
  CREATE TABLE IF NOT EXISTS schema_migrations (
    number {int} NOT NULL PRIMARY KEY, name {text} NOT NULL, checksum {text} NOT NULL, applied_ts {int} NOT NULL
  ) {strict}`;

/** @throws SchemaMismatch if the database is newer than this code, or an applied file has changed since */
export async function migrate(db: Database, options: MigrateOptions = {}): Promise<void> {
  const migrations = await readMigrations(options.folder ?? new URL('./migrations/', import.meta.url));
  await db.write('migrate.begin', (tx) => tx.run({ name: '', text: createTable }));
  const done = await db.all(applied);
  refuseMismatch(migrations, done);
  const doneNumbers = new Set(done.map((row) => row.number));
  const left = migrations.filter(({ number }) => !doneNumbers.has(number));
  // One transaction for each file: what is done stays done if a later one fails. A new database has nothing to keep.
  const portions = done.length === 0 ? [left] : left.map((migration) => [migration]);
  for (const portion of portions) {
    await apply(db, portion);
    for (const { name } of portion) options.log?.info({ migration: name }, 'database migrated');
  }
}

async function readMigrations(folder: URL): Promise<Migration[]> {
  const names = (await readdir(folder)).filter((name) => /^\d{4}-[a-z0-9-]+\.sql$/.test(name)).sort();
  const migrations = await Promise.all(names.map((name) => readMigration(folder, name)));
  for (const [index, { name, number }] of migrations.entries()) {
    if (migrations[index - 1]?.number === number)
      throw new Error(`two migrations have the number of ${name}`);
  }
  return migrations;
}

async function readMigration(folder: URL, name: string): Promise<Migration> {
  const text = (await readFile(new URL(name, folder), 'utf8')).replaceAll('\r\n', '\n');
  const checksum = createHash('sha256').update(text).digest('hex');
  return { number: Number(name.slice(0, 4)), name, checksum, text };
}

function refuseMismatch(migrations: readonly Migration[], done: readonly AppliedRow[]): void {
  const byNumber = new Map(migrations.map((migration) => [migration.number, migration]));
  for (const row of done) {
    const migration = byNumber.get(row.number);
    if (!migration) {
      throw new SchemaMismatch(`the database is newer than this version of Kurir: it has ${row.name}`);
    }
    if (migration.checksum !== row.checksum) {
      throw new SchemaMismatch(`the migration ${row.name} has changed since it was applied to this database`);
    }
  }
}

async function apply(db: Database, migrations: readonly Migration[]): Promise<void> {
  await db.write('migrate.apply', async (tx) => {
    for (const { number, name, checksum, text } of migrations) {
      // In order: later statements build on earlier ones.
      for (const statement of statementsOf(text, db.dialect)) await tx.run({ name: '', text: statement });
      await tx.run(record, number, name, checksum, Date.now());
    }
  });
}

/** The statements of a file, without those that are only for the other database. */
export function statementsOf(file: string, dialect: Dialect): string[] {
  const other = dialect === 'sqlite' ? 'postgres' : 'sqlite';
  return file
    .split(/;[ \t]*(?:\n|$)/)
    .filter((piece) => !piece.trim().startsWith(`-- ${other} only`))
    .map((piece) => piece.replaceAll(/^\s*--.*$/gm, '').trim())
    .filter((piece) => piece !== '');
}
