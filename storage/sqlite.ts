import {
  type Database,
  type DatabaseLog,
  DatabaseUnavailable,
  type SqlValue,
  type Statement,
  type Tx,
} from './database.ts';
import { translate } from './sql.ts';
import {
  type Connection,
  lockFolder,
  openReader,
  openWriter,
  PreparedStatements,
  ReadSnapshot,
} from './sqlite-connection.ts';
import { ScanThread } from './sqlite-scan.ts';
import { SqliteWriter } from './sqlite-writer.ts';

export interface SqliteOptions {
  /** The database file. Its folder is made if need be, and locked: one process serves it. */
  readonly path: string;
  readonly log?: DatabaseLog;
  /** Finds broken write rules at once, by failing the write. For tests. */
  readonly strictWatchdog?: boolean;
  /** Called when a commit failed in a way that only a restart mends. Everything is refused from then on. */
  readonly onFatal?: (error: unknown) => void;
  /** Commits always wait for the disk: there is nothing to choose. */
  readonly fsync?: never;
}

const SLOW_MS = 20;

/**
 * Opens the server's database, and holds the lock of its folder until it is closed or the process ends.
 *
 * @throws DatabaseLocked if another process serves the folder
 */
export async function openSqlite(options: SqliteOptions): Promise<Database> {
  const { path, log, strictWatchdog, onFatal } = options;
  const lock = lockFolder(path);
  const opened: Connection[] = [lock];
  try {
    const connection = openWriter(path);
    opened.unshift(connection);
    const reader = openReader(path);
    opened.unshift(reader);
    const snapshot = new ReadSnapshot(reader);
    const writer = new SqliteWriter(connection, { log, strict: strictWatchdog, onFatal, snapshot });
    return new SqliteDatabase({ path, reader, writer, snapshot, lock, log });
  } catch (error) {
    for (const connection of opened) connection.close();
    throw error;
  }
}

/** Opens a database for offline checks. Takes no lock, changes nothing: every `write` is refused. */
export async function openSqliteReadOnly(path: string): Promise<Database> {
  return new SqliteDatabase({ path, reader: openReader(path) });
}

interface Parts {
  readonly path: string;
  readonly reader: Connection;
  /** Absent from a database that is only read. */
  readonly writer?: SqliteWriter;
  /** Absent where another process may write: its commits must be seen. */
  readonly snapshot?: ReadSnapshot;
  readonly lock?: Connection;
  readonly log?: DatabaseLog | undefined;
}

/** One writing connection with its queue, one reading connection, and a thread for long reads. */
export class SqliteDatabase implements Database {
  readonly dialect = 'sqlite';
  readonly #parts: Parts;
  readonly #statements: PreparedStatements;
  readonly #scans: ScanThread;
  #closed: Promise<void> | undefined;

  constructor(parts: Parts) {
    this.#parts = parts;
    this.#statements = new PreparedStatements(parts.reader);
    this.#scans = new ScanThread(parts.path);
  }

  async get<P extends readonly SqlValue[], R>(
    statement: Statement<P, R>,
    ...params: P
  ): Promise<R | undefined> {
    this.#prepareToRead();
    const start = performance.now();
    const row = this.#statements.of(statement).get(params) as R | undefined;
    if (performance.now() - start > SLOW_MS) this.#slow(statement.name, start);
    return row;
  }

  async all<P extends readonly SqlValue[], R>(statement: Statement<P, R>, ...params: P): Promise<R[]> {
    this.#prepareToRead();
    const start = performance.now();
    const rows = this.#statements.of(statement).all(params) as R[];
    if (performance.now() - start > SLOW_MS) this.#slow(statement.name, start);
    return rows;
  }

  async scan<P extends readonly SqlValue[], R>(statement: Statement<P, R>, ...params: P): Promise<R[]> {
    this.#refuseIfUnavailable();
    return (await this.#scans.run(translate(statement.text, 'sqlite'), params)) as R[];
  }

  write<T>(name: string, body: (tx: Tx) => Promise<T>): Promise<T> {
    const { writer } = this.#parts;
    if (writer) return writer.write(name, body);
    return Promise.reject(new DatabaseUnavailable('the database was opened to be read only'));
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    const { writer, reader, lock } = this.#parts;
    try {
      await writer?.drain();
      await this.#scans.close();
      reader.close();
      writer?.close();
    } finally {
      lock?.close();
    }
  }

  #prepareToRead(): void {
    this.#refuseIfUnavailable();
    this.#parts.snapshot?.hold();
  }

  #refuseIfUnavailable(): void {
    const unavailable = this.#parts.writer?.unavailable;
    if (unavailable) throw unavailable;
  }

  #slow(statement: string, start: number): void {
    const ms = Math.round(performance.now() - start);
    this.#parts.log?.warn({ statement, ms }, 'a slow statement held the loop');
  }
}
