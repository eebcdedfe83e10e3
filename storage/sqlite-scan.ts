import { Worker } from 'node:worker_threads';
import { DatabaseUnavailable, type SqlValue } from './database.ts';

/** A long read, as the thread is asked for it. */
export interface ScanRequest {
  readonly id: number;
  readonly text: string;
  readonly params: readonly SqlValue[];
}

export type ScanReply =
  | { readonly id: number; readonly rows: readonly unknown[] }
  | { readonly id: number; readonly message: string; readonly code: string | undefined };

const MAX_WAITING = 1_000;
/** An idle thread costs about 10 MB; starting one costs less than the reads that it is for. */
const IDLE_MS = 2_000;

/** The thread of long reads: started by the first one, stopped when idle and by `close`, restarted after a crash. */
export class ScanThread {
  readonly #path: string;
  readonly #waiting = new Map<number, PromiseWithResolvers<readonly unknown[]>>();
  #worker: Worker | undefined;
  #idle: NodeJS.Timeout | undefined;
  #lastId = 0;
  #closed = false;

  constructor(path: string) {
    this.#path = path;
  }

  /** All rows of one statement. Rejects with SQLite's own message and code. */
  run(text: string, params: readonly SqlValue[]): Promise<readonly unknown[]> {
    if (this.#closed) return Promise.reject(new DatabaseUnavailable('the database is closed'));
    if (this.#waiting.size >= MAX_WAITING) {
      return Promise.reject(new DatabaseUnavailable('too many long reads are waiting'));
    }
    clearTimeout(this.#idle);
    this.#worker ??= this.#start();
    this.#lastId += 1;
    const request: ScanRequest = { id: this.#lastId, text, params };
    const waiting = Promise.withResolvers<readonly unknown[]>();
    this.#waiting.set(request.id, waiting);
    this.#worker.ref();
    this.#worker.postMessage(request);
    return waiting.promise;
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#idle);
    await this.#worker?.terminate();
    this.#failAll(new DatabaseUnavailable('the database is closed'));
  }

  #start(): Worker {
    const worker = new Worker(new URL('./sqlite-scan-worker.ts', import.meta.url), {
      workerData: { path: this.#path },
    });
    worker.on('message', (reply: ScanReply) => this.#settle(reply));
    worker.on('error', (cause) => {
      if (this.#worker === worker) this.#worker = undefined;
      this.#failAll(new Error('the thread of long reads failed', { cause }));
    });
    return worker;
  }

  #settle(reply: ScanReply): void {
    const waiting = this.#waiting.get(reply.id);
    this.#waiting.delete(reply.id);
    if (this.#waiting.size === 0) this.#rest();
    if ('rows' in reply) waiting?.resolve(reply.rows);
    else waiting?.reject(Object.assign(new Error(reply.message), { code: reply.code }));
  }

  /** Nothing is asked for: the process may end, and the thread soon does. */
  #rest(): void {
    this.#worker?.unref();
    this.#idle = setTimeout(() => {
      const worker = this.#worker;
      this.#worker = undefined;
      worker?.terminate().catch((error: unknown) => {
        process.emitWarning(error instanceof Error ? error : String(error));
      });
    }, IDLE_MS).unref();
  }

  #failAll(error: Error): void {
    for (const waiting of this.#waiting.values()) waiting.reject(error);
    this.#waiting.clear();
  }
}
