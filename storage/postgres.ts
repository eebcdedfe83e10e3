/**
 * The PostgreSQL driver. Each write has a connection of its own and reads what is committed; callers take the
 * row lock first (`{forUpdate}`) or compare and set. Needs the package `pg`.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import {
  callHooks,
  type Database,
  type DatabaseLog,
  DatabaseUnavailable,
  type SqlValue,
  type Statement,
  type Tx,
  WriteQueueFull,
  WriteRuleBroken,
} from './database.ts';
import { translate } from './sql.ts';

export interface PostgresOptions {
  readonly connectionString: string;
  readonly log?: DatabaseLog;
  /** Finds broken write rules at once, by failing the write. For tests. */
  readonly strictWatchdog?: boolean;
}

const CONNECTIONS = 8;
const MAX_WAITING = 10_000;
const MAX_RUNS = 10;
const SERIALIZATION_FAILURE = '40001';
const DEADLOCK_DETECTED = '40P01';
const INT8 = 20;
const NUMERIC = 1700;

/** @throws Error if the database does not compare text by its bytes, as SQLite does */
export async function openPostgres(options: PostgresOptions): Promise<Database> {
  const { default: driver } = await import('pg');
  const types: pg.CustomTypesConfig = {
    getTypeParser: (oid, format) =>
      oid === INT8 || oid === NUMERIC ? parseNumber : driver.types.getTypeParser(oid, format),
  };
  const pool = (settings: string) =>
    new driver.Pool({
      connectionString: options.connectionString,
      max: CONNECTIONS,
      types,
      options: settings,
    });
  const database = new PostgresDatabase(
    pool('-c default_transaction_read_only=on'),
    pool('-c synchronous_commit=on -c idle_in_transaction_session_timeout=20000'),
    options,
  );
  try {
    await database.checkCollation();
    return database;
  } catch (error) {
    await database.close();
    throw error;
  }
}

/** Numbers that JavaScript cannot hold are a bug, not a rounding. */
function parseNumber(text: string): number {
  const number = Number(text);
  if (Number.isInteger(number) && !Number.isSafeInteger(number)) {
    throw new RangeError(`the database holds the integer ${text}, beyond 2^53`);
  }
  return number;
}

/** Two pools: one that may only read, and one for writes. */
export class PostgresDatabase implements Database {
  readonly dialect = 'postgres';
  readonly #readers: pg.Pool;
  readonly #writers: pg.Pool;
  readonly #options: PostgresOptions;
  readonly #writes = new Set<Promise<unknown>>();
  #closed: Promise<void> | undefined;

  constructor(readers: pg.Pool, writers: pg.Pool, options: PostgresOptions) {
    this.#readers = readers;
    this.#writers = writers;
    this.#options = options;
    for (const pool of [readers, writers]) {
      pool.on('error', (err) => options.log?.warn({ err }, 'an idle database connection was lost'));
    }
  }

  async checkCollation(): Promise<void> {
    const { rows } = await this.#readers.query<{ datcollate: string; encoding: string }>(
      `SELECT datcollate, pg_encoding_to_char(encoding) AS encoding
       FROM pg_database WHERE datname = current_database()`,
    );
    const [row] = rows;
    if (row?.encoding === 'UTF8' && /^C(\.UTF-?8)?$/i.test(row.datcollate)) return;
    throw new Error(`the database must have the encoding UTF8 and the collation C, not ${row?.datcollate}`);
  }

  async get<P extends readonly SqlValue[], R>(
    statement: Statement<P, R>,
    ...params: P
  ): Promise<R | undefined> {
    const { rows } = await this.#readers.query(queryOf(statement, params));
    return rows[0] as R | undefined;
  }

  async all<P extends readonly SqlValue[], R>(statement: Statement<P, R>, ...params: P): Promise<R[]> {
    const { rows } = await this.#readers.query(queryOf(statement, params));
    return rows as R[];
  }

  scan<P extends readonly SqlValue[], R>(statement: Statement<P, R>, ...params: P): Promise<R[]> {
    return this.all(statement, ...params);
  }

  async write<T>(name: string, body: (tx: Tx) => Promise<T>): Promise<T> {
    if (this.#closed) throw new DatabaseUnavailable('the database is closed');
    if (this.#writes.size >= MAX_WAITING) throw new WriteQueueFull(this.#writes.size);
    const written = this.#write(name, body);
    this.#writes.add(written);
    try {
      return await written;
    } finally {
      this.#writes.delete(written);
    }
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    await Promise.allSettled(this.#writes);
    await Promise.all([this.#readers.end(), this.#writers.end()]);
  }

  async #write<T>(name: string, body: (tx: Tx) => Promise<T>): Promise<T> {
    for (let run = 1; ; run += 1) {
      const client = await this.#writers.connect();
      const tx = new PostgresTx(client, name, this.#options.strictWatchdog === true);
      let failure: unknown;
      try {
        const value = await transact(client, tx, body);
        client.release();
        callHooks(tx.commitHooks, name);
        return value;
      } catch (error) {
        failure = error;
      }
      await release(client);
      callHooks(tx.rollbackHooks, name);
      if (run === MAX_RUNS || !isRetryable(failure)) throw failure;
      // One after the other by design; with jitter, so that two that collided do not collide again.
      await sleep(Math.random() * 2 ** run);
    }
  }
}

async function transact<T>(client: pg.PoolClient, tx: PostgresTx, body: (tx: Tx) => Promise<T>): Promise<T> {
  await client.query('BEGIN ISOLATION LEVEL READ COMMITTED');
  const value = await tx.runBody(body);
  await client.query('COMMIT');
  return value;
}

/** Gives the connection back after a failure, or ends it if its transaction cannot be undone. */
async function release(client: pg.PoolClient): Promise<void> {
  try {
    await client.query('ROLLBACK');
    client.release();
  } catch (error) {
    client.release(error instanceof Error ? error : true);
  }
}

function isRetryable(error: unknown): boolean {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  return code === SERIALIZATION_FAILURE || code === DEADLOCK_DETECTED;
}

const texts = new Map<Pick<Statement<never, unknown>, 'name' | 'text'>, string>();

function queryOf(
  statement: Pick<Statement<never, unknown>, 'name' | 'text'>,
  params: readonly SqlValue[],
): pg.QueryConfig<SqlValue[]> {
  if (statement.name === '') return { text: translate(statement.text, 'postgres'), values: [...params] };
  let text = texts.get(statement);
  if (text === undefined) {
    text = translate(statement.text, 'postgres');
    texts.set(statement, text);
  }
  return { name: statement.name, text, values: [...params] };
}

class PostgresTx implements Tx {
  readonly #client: pg.PoolClient;
  readonly #name: string;
  readonly #strict: boolean;
  /** Statements run one after the other, also when the body does not await them. */
  #last: Promise<unknown> = Promise.resolve();
  #running = 0;
  #open = true;
  #failure: { readonly error: unknown } | undefined;
  #abandon: (error: Error) => void = () => undefined;
  readonly commitHooks: (() => void)[] = [];
  readonly rollbackHooks: (() => void)[] = [];

  constructor(client: pg.PoolClient, name: string, strict: boolean) {
    this.#client = client;
    this.#name = name;
    this.#strict = strict;
  }

  /** Runs the body, then waits for the statements that it did not await. */
  async runBody<T>(body: (tx: Tx) => Promise<T>): Promise<T> {
    const abandoned = new Promise<never>((_, reject) => {
      this.#abandon = reject;
    });
    try {
      this.#watch();
      const value = await Promise.race([body(this), abandoned]);
      this.#open = false;
      await this.#last;
      if (this.#failure) throw this.#failure.error;
      return value;
    } finally {
      this.#open = false;
    }
  }

  async get<P extends readonly SqlValue[], R>(
    statement: Statement<P, R>,
    ...params: P
  ): Promise<R | undefined> {
    const { rows } = await this.#query(statement, params);
    return rows[0] as R | undefined;
  }

  async all<P extends readonly SqlValue[], R>(statement: Statement<P, R>, ...params: P): Promise<R[]> {
    const { rows } = await this.#query(statement, params);
    return rows as R[];
  }

  async run<P extends readonly SqlValue[], R>(statement: Statement<P, R>, ...params: P): Promise<number> {
    const { rowCount } = await this.#query(statement, params);
    return rowCount ?? 0;
  }

  afterCommit(hook: () => void): void {
    this.#check('afterCommit');
    this.commitHooks.push(hook);
  }

  afterRollback(hook: () => void): void {
    this.#check('afterRollback');
    this.rollbackHooks.push(hook);
  }

  #query(
    statement: Pick<Statement<never, unknown>, 'name' | 'text'>,
    params: readonly SqlValue[],
  ): Promise<pg.QueryResult> {
    this.#check(statement.name);
    this.#running += 1;
    const result = this.#last.then(() => {
      if (this.#failure) throw this.#failure.error;
      return this.#client.query(queryOf(statement, params));
    });
    this.#last = result.then(
      () => this.#ended(),
      (error) => {
        this.#failure ??= { error };
        this.#ended();
      },
    );
    return result;
  }

  #ended(): void {
    this.#running -= 1;
    this.#watch();
  }

  /** A body that awaits only its statements has one running, or has ended, when the loop turns. */
  #watch(): void {
    if (!this.#strict || this.#running > 0) return;
    setImmediate(() => {
      if (!this.#open || this.#running > 0) return;
      this.#abandon(new WriteRuleBroken(`the write ${this.#name} awaited something else than its tx`));
    });
  }

  #check(what: string): void {
    if (!this.#open) throw new WriteRuleBroken(`${what} was called after its write had ended`);
  }
}
