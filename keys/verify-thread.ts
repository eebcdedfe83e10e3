/**
 * A thread that checks many signatures at a time, with one message there and one back. On Node's thread pool each check
 * is a job with a promise of its own, which costs the main thread a quarter of what the check costs.
 */

import { Worker } from 'node:worker_threads';

export interface ThreadCheck {
  /** The public key, 32 bytes in Base64. */
  readonly key: string;
  /** 64 bytes. */
  readonly signature: Uint8Array;
  /** A string counts as UTF-8. */
  readonly message: string | Uint8Array;
}

export interface PackedChecks {
  readonly id: number;
  /** Checks one behind the other: a key, a signature, the length of the message in 4 bytes, the message. */
  readonly packed: Uint8Array<ArrayBuffer>;
}

/** 1 for each check that holds. */
export interface Verdicts {
  readonly id: number;
  readonly verdicts: Uint8Array;
}

export const KEY_BYTES = 32;
export const SIGNATURE_BYTES = 64;
const LENGTH_BYTES = 4;
/** An idle thread costs some 10 MB, and to start one half a second's checks of it. */
const IDLE_MS = 2_000;
/** What the thread makes is as short-lived as a check. */
const LIMITS = { maxYoungGenerationSizeMb: 2, maxOldGenerationSizeMb: 32 };

/** Started by the first checks, stopped when idle, started again after a crash. */
export class VerifyThread {
  readonly #waiting = new Map<number, PromiseWithResolvers<boolean[]>>();
  #worker: Worker | undefined;
  #idle: NodeJS.Timeout | undefined;
  #lastId = 0;

  /** The verdict of each check, in their order. */
  verify(checks: readonly ThreadCheck[]): Promise<boolean[]> {
    clearTimeout(this.#idle);
    this.#worker ??= this.#start();
    this.#lastId += 1;
    const request: PackedChecks = { id: this.#lastId, packed: pack(checks) };
    const waiting = Promise.withResolvers<boolean[]>();
    this.#waiting.set(request.id, waiting);
    this.#worker.ref();
    this.#worker.postMessage(request, [request.packed.buffer]);
    return waiting.promise;
  }

  #start(): Worker {
    const worker = new Worker(new URL('./verify-thread-worker.ts', import.meta.url), {
      resourceLimits: LIMITS,
    });
    worker.on('message', (verdicts: Verdicts) => this.#settle(verdicts));
    worker.on('error', (cause) => {
      if (this.#worker === worker) this.#worker = undefined;
      const error = new Error('the thread that checks signatures failed', { cause });
      for (const waiting of this.#waiting.values()) waiting.reject(error);
      this.#waiting.clear();
    });
    return worker;
  }

  #settle({ id, verdicts }: Verdicts): void {
    this.#waiting.get(id)?.resolve(Array.from(verdicts, (verdict) => verdict === 1));
    this.#waiting.delete(id);
    if (this.#waiting.size === 0) this.#rest();
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
}

/** Each check as its key, its signature, the length of its message, and that. Alone in its memory, which is handed over. */
function pack(checks: readonly ThreadCheck[]): Uint8Array<ArrayBuffer> {
  const lengths = checks.map(({ message }) => Buffer.byteLength(message));
  const head = KEY_BYTES + SIGNATURE_BYTES + LENGTH_BYTES;
  const packed = Buffer.from(new ArrayBuffer(lengths.reduce((sum, length) => sum + head + length, 0)));
  let at = 0;
  for (const [index, { key, signature, message }] of checks.entries()) {
    const length = lengths[index] ?? 0;
    packed.write(key, at, KEY_BYTES, 'base64');
    packed.set(signature, at + KEY_BYTES);
    packed.writeUInt32LE(length, at + KEY_BYTES + SIGNATURE_BYTES);
    if (typeof message === 'string') packed.write(message, at + head);
    else packed.set(message, at + head);
    at += head + length;
  }
  return packed;
}
