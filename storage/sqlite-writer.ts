import { AsyncLocalStorage } from 'node:async_hooks';
import type Sqlite from 'better-sqlite3';
import {
  callHooks,
  DatabaseFull,
  type DatabaseLog,
  DatabaseUnavailable,
  type SqlValue,
  type Statement,
  type Tx,
  WriteQueueFull,
  WriteRuleBroken,
} from './database.ts';
import {
  type Connection,
  isSqliteError,
  PreparedStatements,
  type ReadSnapshot,
} from './sqlite-connection.ts';

const BATCH = 64;
const MAX_WAITING = 10_000;
const BODY_LIMIT_MS = 10_000;
const IDLE_MS = 2_000;
const FULL_TOLD_EVERY_MS = 60_000;

export interface WriterOptions {
  readonly log?: DatabaseLog | undefined;
  /** A body that outlives its loop turn fails, and a write inside a write is found. For tests: it costs. */
  readonly strict?: boolean | undefined;
  /** Called once when a commit failed in a way that leaves the file's state unknown. */
  readonly onFatal?: ((error: unknown) => void) | undefined;
  /** Ended before each transaction and after each commit, so that readers see what is committed. */
  readonly snapshot: ReadSnapshot;
}

interface Job {
  readonly name: string;
  /** Runs the body; answers what resolves its caller's promise. */
  readonly run: (tx: Tx) => Promise<() => void>;
  readonly reject: (error: unknown) => void;
}

/** One run of a job's body inside a transaction. */
interface Attempt {
  readonly job: Job;
  readonly tx: SqliteTx;
  /** Undefined while the body runs, and if it failed. */
  resolve: (() => void) | undefined;
  error: unknown;
}

/**
 * The one queue of writes, and their group commit:
 *
 * 1. `write` queues a job; the batch starts at the end of the loop turn, so that the turn's writes share it.
 * 2. `BEGIN IMMEDIATE`; each job runs its body in a savepoint, undone if it fails; one `COMMIT` for all.
 * 3. The commit is on disk: hooks run in order, promises settle, the loop gets a turn, the next batch starts.
 *
 * Bodies await nothing but statements, which run at once: a whole batch ends within one turn of the loop.
 */
export class SqliteWriter {
  readonly #connection: Connection;
  readonly #statements: PreparedStatements;
  readonly #options: WriterOptions;
  readonly #inside: AsyncLocalStorage<SqliteTx> | undefined;
  readonly #idle: NodeJS.Timeout;
  #queue: Job[] = [];
  #drained: PromiseWithResolvers<void> | undefined;
  #unavailable: DatabaseUnavailable | undefined;
  #broken = false;
  #fullTold = Number.NEGATIVE_INFINITY;
  #watch: NodeJS.Immediate | undefined;
  #running: { readonly job: Job; readonly abandon: (error: Error) => void } | undefined;
  readonly #control: Record<
    'begin' | 'commit' | 'rollback' | 'savepoint' | 'release' | 'rollbackTo',
    Sqlite.Statement
  >;

  constructor(connection: Connection, options: WriterOptions) {
    this.#connection = connection;
    this.#statements = new PreparedStatements(connection);
    this.#control = {
      begin: connection.prepare('BEGIN IMMEDIATE'),
      commit: connection.prepare('COMMIT'),
      rollback: connection.prepare('ROLLBACK'),
      savepoint: connection.prepare('SAVEPOINT job'),
      release: connection.prepare('RELEASE job'),
      rollbackTo: connection.prepare('ROLLBACK TO job'),
    };
    this.#options = options;
    this.#inside = options.strict ? new AsyncLocalStorage() : undefined;
    this.#idle = setTimeout(() => this.#checkpoint(), IDLE_MS).unref();
  }

  /** Why nothing can be written or read any more. */
  get unavailable(): DatabaseUnavailable | undefined {
    return this.#unavailable;
  }

  write<T>(name: string, body: (tx: Tx) => Promise<T>): Promise<T> {
    if (this.#unavailable) return Promise.reject(this.#unavailable);
    if (this.#queue.length >= MAX_WAITING) return Promise.reject(new WriteQueueFull(this.#queue.length));
    if (this.#inside?.getStore()?.open) {
      return Promise.reject(new WriteRuleBroken(`the write ${name} was begun inside another write`));
    }
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const run = async (tx: Tx) => {
      const value = await body(tx);
      return () => resolve(value);
    };
    this.#queue.push({ name, run, reject });
    if (!this.#drained) {
      this.#drained = Promise.withResolvers();
      setImmediate(() => this.#next());
    }
    return promise;
  }

  /** Refuses new writes from now on, and waits for those accepted. */
  async drain(): Promise<void> {
    this.#unavailable ??= new DatabaseUnavailable('the database is closed');
    await this.#drained?.promise;
  }

  /** Moves the log into the database file and closes the connection. Call `drain` before. */
  close(): void {
    clearTimeout(this.#idle);
    if (!this.#broken) {
      this.#tidy('optimize');
      this.#tidy('wal_checkpoint(TRUNCATE)');
    }
    this.#connection.close();
  }

  #next(): void {
    if (this.#queue.length === 0) {
      this.#drained?.resolve();
      this.#drained = undefined;
      return;
    }
    const batch = this.#queue.length <= BATCH ? this.#queue : this.#queue.slice(0, BATCH);
    this.#queue = this.#queue.length <= BATCH ? [] : this.#queue.slice(BATCH);
    void this.#commit(batch).finally(() => {
      clearImmediate(this.#watch);
      this.#watch = undefined;
      this.#idle.refresh();
      setImmediate(() => this.#next());
    });
  }

  /** Runs a batch in one transaction and settles every job of it. Never rejects. */
  async #commit(batch: readonly Job[]): Promise<void> {
    const attempts: Attempt[] = [];
    let committing = false;
    try {
      if (this.#broken) throw this.#unavailable;
      this.#options.snapshot.release();
      this.#control.begin.run();
      for (const job of batch) {
        const attempt: Attempt = {
          job,
          tx: new SqliteTx(this.#statements),
          resolve: undefined,
          error: undefined,
        };
        attempts.push(attempt);
        await this.#attempt(attempt, batch.length === 1);
      }
      committing = true;
      this.#control.commit.run();
    } catch (error) {
      if (committing && isUnsafe(error)) this.#break(error);
      await this.#undo(batch, attempts, error);
      return;
    }
    this.#options.snapshot.release();
    for (const { tx, job, resolve, error } of attempts) {
      callHooks(resolve ? tx.commitHooks : tx.rollbackHooks, job.name);
      if (resolve) resolve();
      else job.reject(this.#asRefusal(error));
    }
  }

  /** Runs one job; undoes it alone if it fails. Throws if that was not possible: the transaction is lost. */
  async #attempt(attempt: Attempt, alone: boolean): Promise<void> {
    if (!alone) this.#control.savepoint.run();
    await this.#runBody(attempt);
    const { tx } = attempt;
    tx.open = false;
    if (tx.failure) {
      attempt.resolve = undefined;
      attempt.error = tx.failure.error;
    }
    // A full disk may undo the whole transaction, not only the statement.
    if (!attempt.resolve && (alone || !this.#connection.inTransaction)) throw attempt.error;
    if (alone) return;
    if (!attempt.resolve) this.#control.rollbackTo.run();
    this.#control.release.run();
  }

  #runBody(attempt: Attempt): Promise<void> {
    const { job, tx } = attempt;
    return new Promise((ended) => {
      const end = (resolve: (() => void) | undefined, error?: unknown) => {
        if (!tx.open) return;
        tx.open = false;
        attempt.resolve = resolve;
        attempt.error = error;
        this.#running = undefined;
        ended();
      };
      // One for a batch, unless the loop turned meanwhile: a whole batch ends within its turn.
      this.#watch ??= setImmediate(() => this.#overdue());
      this.#running = { job, abandon: (error) => end(undefined, error) };
      const run = this.#inside ? this.#inside.run(tx, job.run, tx) : job.run(tx);
      run.then(end, (error) => end(undefined, error));
    });
  }

  /** The transaction is lost: jobs that failed by themselves are refused, their neighbours run again, alone. */
  async #undo(batch: readonly Job[], attempts: readonly Attempt[], error: unknown): Promise<void> {
    this.#rollback();
    for (const { tx, job } of attempts) callHooks(tx.rollbackHooks, job.name);
    const begun = attempts.length > 0 && batch.length > 1;
    for (const [index, job] of batch.entries()) {
      const attempt = attempts[index];
      if (attempt && !attempt.tx.open && !attempt.resolve) job.reject(this.#asRefusal(attempt.error));
      else if (begun && !this.#broken) await this.#commit([job]);
      else job.reject(this.#broken ? this.#unavailable : this.#asRefusal(error));
    }
  }

  /** Of a full disk is told now and then: each write that it refuses would be a line, for which there is no space either. */
  #asRefusal(error: unknown): unknown {
    if (!isSqliteError(error, 'SQLITE_FULL')) return error;
    const now = performance.now();
    if (now >= this.#fullTold + FULL_TOLD_EVERY_MS) {
      this.#fullTold = now;
      this.#options.log?.error({ err: error }, 'the disk of the database is full: nothing is written');
    }
    return new DatabaseFull('there is no space left for the database', { cause: error });
  }

  #rollback(): void {
    if (!this.#connection.inTransaction) return;
    try {
      this.#control.rollback.run();
    } catch (error) {
      this.#break(error);
    }
  }

  /** A failed sync leaves the file's state unknown, and a second sync would report success: stop for good. */
  #break(cause: unknown): void {
    this.#broken = true;
    this.#unavailable = new DatabaseUnavailable('the database failed to commit', { cause });
    this.#options.log?.error({ err: cause }, 'the database failed to commit and takes no more work');
    const { onFatal } = this.#options;
    if (onFatal) callHooks([() => onFatal(cause)], 'onFatal');
  }

  /** The loop turned while a batch was open: the running body awaited something else than its statements. */
  #overdue(): void {
    this.#watch = undefined;
    const running = this.#running;
    if (!running) return;
    const broken = new WriteRuleBroken(`the write ${running.job.name} awaited something else than its tx`);
    if (this.#options.strict) {
      running.abandon(broken);
      return;
    }
    this.#options.log?.warn({ write: running.job.name }, 'a write awaited something else than its tx');
    setTimeout(() => running.abandon(broken), BODY_LIMIT_MS).unref();
  }

  /** Moves the log into the database file. Does not wait for readers: the next idle moment will do. */
  #checkpoint(): void {
    if (this.#drained) return;
    this.#options.snapshot.release();
    this.#connection.pragma('busy_timeout = 0');
    this.#tidy('wal_checkpoint(TRUNCATE)');
    this.#connection.pragma('busy_timeout = 5000');
  }

  /** What may fail without harm: on a full disk the log stays as it is, and nothing is lost. */
  #tidy(pragma: string): void {
    try {
      this.#connection.pragma(pragma);
    } catch (err) {
      this.#options.log?.warn({ err, pragma }, 'the database could not be tidied');
    }
  }
}

function isUnsafe(error: unknown): boolean {
  return ['SQLITE_IOERR', 'SQLITE_CORRUPT', 'SQLITE_NOTADB'].some((code) => isSqliteError(error, code));
}

const noHooks: (() => void)[] = [];

class SqliteTx implements Tx {
  readonly #statements: PreparedStatements;
  open = true;
  failure: { readonly error: unknown } | undefined;
  commitHooks = noHooks;
  rollbackHooks = noHooks;

  constructor(statements: PreparedStatements) {
    this.#statements = statements;
  }

  async get<P extends readonly SqlValue[], R>(
    statement: Statement<P, R>,
    ...params: P
  ): Promise<R | undefined> {
    this.#check(statement.name);
    try {
      return this.#statements.of(statement).get(params) as R | undefined;
    } catch (error) {
      throw this.#fail(error);
    }
  }

  async all<P extends readonly SqlValue[], R>(statement: Statement<P, R>, ...params: P): Promise<R[]> {
    this.#check(statement.name);
    try {
      return this.#statements.of(statement).all(params) as R[];
    } catch (error) {
      throw this.#fail(error);
    }
  }

  async run<P extends readonly SqlValue[], R>(statement: Statement<P, R>, ...params: P): Promise<number> {
    this.#check(statement.name);
    try {
      return this.#statements.of(statement).run(params).changes;
    } catch (error) {
      throw this.#fail(error);
    }
  }

  afterCommit(hook: () => void): void {
    this.#check('afterCommit');
    if (this.commitHooks === noHooks) this.commitHooks = [hook];
    else this.commitHooks.push(hook);
  }

  afterRollback(hook: () => void): void {
    this.#check('afterRollback');
    if (this.rollbackHooks === noHooks) this.rollbackHooks = [hook];
    else this.rollbackHooks.push(hook);
  }

  #check(what: string): void {
    if (!this.open) throw new WriteRuleBroken(`${what} was called after its write had ended`);
  }

  #fail(error: unknown): unknown {
    this.failure ??= { error };
    return error;
  }
}
