/**
 * The storage contract: one asynchronous interface, two drivers (`sqlite.ts`, and `postgres.ts` for tests),
 * one SQL text.
 *
 * Rules that every caller may rely on, asserted on both drivers by `test/storage/contract.test.ts`:
 * 1. A `write` body sees its own writes; nobody else does before the commit.
 * 2. `write` resolves only after its commit is on disk.
 * 3. A body that throws leaves nothing behind, and does not disturb the writes that share its commit.
 * 4. In a body, await only `tx`. After the body ends every method of its `tx` throws.
 * 5. A body may run more than once: no side effect except through `tx` and its hooks.
 * 6. No `write` inside a `write`.
 * 7. A statement that fails in a body fails the body, even if the body catches the error or does not await it.
 */

export type SqlValue = string | number | Uint8Array | null;

/** A named SQL statement: made by `sql()`, once per table file, never from user input. */
export interface Statement<Params extends readonly SqlValue[], Row> {
  /** Empty for a statement that is run once and not kept prepared (migrations). */
  readonly name: string;
  /** SQL with `?` placeholders and the dialect words of `sql.ts`. */
  readonly text: string;
  /** Present only in the type: what the statement takes and gives. */
  readonly types?: { params: Params; row: Row };
}

export interface Reader {
  /** The first row, or undefined. */
  get<P extends readonly SqlValue[], R>(statement: Statement<P, R>, ...params: P): Promise<R | undefined>;
  /** All rows, in the statement's own ORDER BY. Bounded by the statement's LIMIT. */
  all<P extends readonly SqlValue[], R>(statement: Statement<P, R>, ...params: P): Promise<R[]>;
}

export interface Tx extends Reader {
  /** Runs a statement that changes rows; answers how many. */
  run<P extends readonly SqlValue[], R>(statement: Statement<P, R>, ...params: P): Promise<number>;
  /** Called after the commit is on disk, before `write` resolves, in the order of the commits. */
  afterCommit(hook: () => void): void;
  /** Called when this body's work was undone. */
  afterRollback(hook: () => void): void;
}

export interface Database extends Reader {
  readonly dialect: 'sqlite' | 'postgres';
  /** Runs `body` in a transaction of its own; `name` labels logs and metrics, e.g. `rooms.persist`. */
  write<T>(name: string, body: (tx: Tx) => Promise<T>): Promise<T>;
  /** Like `all`, for long reads: away from the main thread where the driver can. */
  scan<P extends readonly SqlValue[], R>(statement: Statement<P, R>, ...params: P): Promise<R[]>;
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** Where a database reports what no caller's promise can carry. */
export interface DatabaseLog {
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** There is no space left for a write, of which nothing was kept. Once there is space the database takes writes again. */
export class DatabaseFull extends Error {
  override readonly name = 'DatabaseFull';
}

/** `write` refused because too many writes wait already: the server is overloaded. */
export class WriteQueueFull extends Error {
  override readonly name = 'WriteQueueFull';

  constructor(waiting: number) {
    super(`${waiting} writes are waiting for the database already`);
  }
}

/** The database was closed, or failed in a way that only a restart mends (the cause). */
export class DatabaseUnavailable extends Error {
  override readonly name = 'DatabaseUnavailable';
}

/** What a write is refused with for the state of the database. */
const STATES = [DatabaseFull, WriteQueueFull, DatabaseUnavailable];
/** Of SQLite, of Node and of PostgreSQL: what was given cannot be stored. */
const OF_VALUES = /^(?:SQLITE_(?:CONSTRAINT|ERROR|MISMATCH|RANGE|TOOBIG)|ERR_|2[23][0-9A-Z]{3}$)/;

/**
 * Whether a write failed for the state of the database (a full disk, too many writes), so that the same write may succeed
 * later. Otherwise what it was given is to blame, or its body.
 */
export function isDatabaseFault(error: unknown): boolean {
  if (STATES.some((state) => error instanceof state)) return true;
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  return typeof code === 'string' && !OF_VALUES.test(code);
}

/** A `write` body broke one of the rules above. */
export class WriteRuleBroken extends Error {
  override readonly name = 'WriteRuleBroken';
}

/**
 * Runs the hooks of a write that is settled. One that throws is a bug, and goes where uncaught errors go: the
 * write stands as it is, and its caller must not learn otherwise.
 */
export function callHooks(hooks: readonly (() => void)[], write: string): void {
  for (const hook of hooks) {
    try {
      hook();
    } catch (cause) {
      setImmediate(() => {
        throw new Error(`a hook of the write ${write} failed`, { cause });
      });
    }
  }
}
