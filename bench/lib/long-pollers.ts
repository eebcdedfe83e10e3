/** Clients that wait in long polls, and one that sends, in one process of their own: its CPU is not the server's. */

import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';

export type ToProgram =
  | {
      readonly kind: 'start';
      readonly url: string;
      /** One client each. */
      readonly tokens: readonly string[];
      /** JSON: the filter of /sync, or with `sliding` the body of requests of sliding sync. */
      readonly filter: string;
      readonly sliding?: boolean;
    }
  | { readonly kind: 'send'; readonly roomId: string; readonly token: string; readonly seconds: number };

/** What the program answers to each. */
export interface Answered {
  readonly start: Readonly<Record<string, never>>;
  readonly send: Deliveries;
}

export interface Deliveries {
  readonly sends: number;
  /** Answers of /sync that had the event. */
  readonly deliveries: number;
  /** Answers that had nothing, or what was told before. */
  readonly wrong: number;
  readonly elapsedMs: number;
  /** Of each delivery, from the sending of the event to the answer, in milliseconds. */
  readonly latencies: readonly number[];
  /** CPU of the clients. */
  readonly cpuMs: number;
}

export class LongPollers implements AsyncDisposable {
  readonly #child: ChildProcess;

  /** Returns when all have synced once and have sent the request that will wait. */
  static async start(start: Omit<ToProgram & { kind: 'start' }, 'kind'>): Promise<LongPollers> {
    const child = fork(new URL('long-pollers-program.ts', import.meta.url));
    await ask<'start'>(child, { kind: 'start', ...start });
    return new LongPollers(child);
  }

  private constructor(child: ChildProcess) {
    this.#child = child;
  }

  /** Sends to a room where all of them are, each event when all have the one before. */
  send(send: Omit<ToProgram & { kind: 'send' }, 'kind'>): Promise<Deliveries> {
    return ask<'send'>(this.#child, { kind: 'send', ...send });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = once(this.#child, 'exit');
    this.#child.disconnect();
    await ended;
  }
}

async function ask<K extends keyof Answered>(child: ChildProcess, message: ToProgram): Promise<Answered[K]> {
  const ended = new AbortController();
  const end = () => ended.abort(new Error('the clients have ended'));
  child.once('exit', end);
  child.send(message);
  try {
    const [answer] = await once(child, 'message', { signal: ended.signal });
    return answer as Answered[K];
  } finally {
    child.off('exit', end);
  }
}
