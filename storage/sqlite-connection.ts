import { existsSync, mkdirSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import Sqlite from 'better-sqlite3';
import type { SqlValue, Statement } from './database.ts';
import { translate } from './sql.ts';

export type Connection = Sqlite.Database;
type Text = Pick<Statement<never, unknown>, 'name' | 'text'>;
type Prepared = Sqlite.Statement<[readonly SqlValue[]], unknown>;

/** `DatabaseLocked`: another process (or another handle of this one) serves the same folder. */
export class DatabaseLocked extends Error {
  override readonly name = 'DatabaseLocked';
}

const MIB = 1024 * 1024;

/** Pragmas and the value each must read back as. Order matters: WAL first. */
const COMMON: readonly (readonly [name: string, set: string, expected: string | number])[] = [
  ['journal_mode', 'WAL', 'wal'],
  // The bundled build falls back to NORMAL when it opens a database that is in WAL mode already, and NORMAL
  // may lose acknowledged commits when the power fails.
  ['synchronous', 'FULL', 2],
  ['foreign_keys', 'ON', 1],
  ['busy_timeout', '5000', 5000],
  ['temp_store', 'MEMORY', 2],
  ['trusted_schema', 'OFF', 0],
  ['cell_size_check', 'ON', 1],
];

/** The handle that writes. Checkpoints run inside its commits, and when the server is idle. */
export function openWriter(path: string): Connection {
  // Not before the folder's lock is held: closing a descriptor of the file would drop another handle's locks.
  if (!existsSync(path)) writeFileSync(path, '', { flag: 'a', mode: 0o600 });
  return open(path, {}, [
    ...COMMON,
    ['cache_size', '-16384', -16384],
    // Fewer pages cost throughput, more pages cost longer stalls when the log is copied back.
    ['wal_autocheckpoint', '4000', 4000],
    ['journal_size_limit', String(64 * MIB), 64 * MIB],
    ['analysis_limit', '400', 400],
  ]);
}

/**
 * A handle that can only read, and never sees a transaction that is still open. The file is not mapped into memory: each
 * commit of the other handle would end the mapping, of mapped pages the cells would be checked each time one is looked
 * at, and a disk that fails would end the process, instead of a statement.
 */
export function openReader(path: string): Connection {
  return open(path, { fileMustExist: true }, [
    ...COMMON,
    ['cache_size', '-8192', -8192],
    ['query_only', 'ON', 1],
  ]);
}

function open(path: string, options: Sqlite.Options, pragmas: typeof COMMON): Connection {
  const connection = new Sqlite(path, options);
  try {
    for (const [name, set, expected] of pragmas) {
      connection.pragma(`${name} = ${set}`);
      const actual = connection.pragma(name, { simple: true });
      if (actual !== expected) throw new Error(`SQLite refuses ${name} = ${set}: it is ${String(actual)}`);
    }
    return connection;
  } catch (error) {
    connection.close();
    throw error;
  }
}

/**
 * Takes the lock of the database's folder, for as long as the connection it answers is open. The lock is the
 * operating system's own on the file `kurir.lock`: it ends with the process, however that ends.
 *
 * @throws DatabaseLocked at once if somebody else holds it
 */
export function lockFolder(path: string): Connection {
  const folder = dirname(path);
  makeFolder(folder);
  const lock = new Sqlite(join(folder, 'kurir.lock'), { timeout: 0 });
  try {
    lock.pragma('locking_mode = EXCLUSIVE');
    lock.exec('BEGIN EXCLUSIVE');
    return lock;
  } catch (cause) {
    lock.close();
    if (!isSqliteError(cause, 'SQLITE_BUSY')) throw cause;
    throw new DatabaseLocked(`${folder} is in use by another Kurir process`, { cause });
  }
}

/** As `mkdirSync` with `recursive`, which goes round for ever below a folder in which nobody can make any. */
function makeFolder(folder: string): void {
  if (isFolder(folder)) return;
  if (dirname(folder) !== folder) makeFolder(dirname(folder));
  try {
    mkdirSync(folder, { mode: 0o700 });
  } catch (error) {
    // Another process may have made it meanwhile.
    if (!isFolder(folder)) throw error;
  }
}

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
}

/** Whether `error` is SQLite's, with this code or one of its extensions (`SQLITE_IOERR_FSYNC`). */
export function isSqliteError(error: unknown, code: string): boolean {
  return error instanceof Sqlite.SqliteError && (error.code === code || error.code.startsWith(`${code}_`));
}

/** The prepared statements of one connection: preparing costs ten times as much as running. */
export class PreparedStatements {
  readonly #connection: Connection;
  readonly #prepared = new Map<Text, Prepared>();

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  of(statement: Text): Prepared {
    return this.#prepared.get(statement) ?? this.#prepare(statement);
  }

  #prepare(statement: Text): Prepared {
    const prepared = this.#connection.prepare<[readonly SqlValue[]], unknown>(
      translate(statement.text, 'sqlite'),
    );
    if (statement.name !== '') this.#prepared.set(statement, prepared);
    return prepared;
  }
}

/**
 * The read transaction of the connection that reads. Taking and giving back the lock of a transaction costs
 * more than a read by key, so reads share one from commit to commit: nobody else changes the database, and
 * the writer ends it whenever it does. Not ended, it would keep the log from being copied back.
 */
export class ReadSnapshot {
  readonly #connection: Connection;
  readonly #begin: Sqlite.Statement;
  readonly #end: Sqlite.Statement;
  #held = false;

  constructor(connection: Connection) {
    this.#connection = connection;
    this.#begin = connection.prepare('BEGIN');
    this.#end = connection.prepare('COMMIT');
  }

  hold(): void {
    if (this.#held) return;
    this.#begin.run();
    this.#held = true;
  }

  release(): void {
    if (!this.#held) return;
    this.#held = false;
    // A read that failed may have ended it already.
    if (this.#connection.open && this.#connection.inTransaction) this.#end.run();
  }
}
