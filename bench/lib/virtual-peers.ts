/**
 * Many servers in one process of their own, so that what they cost is not counted as ours. They tell each other apart
 * by the name in the request, take transactions and note when each message arrived.
 */

import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import type { LookupFunction } from 'node:net';
import type { TestAuthority } from '#test/harness/certificates.ts';

/** What the peers have seen since they were last asked. */
export interface Seen {
  readonly handshakes: number;
  readonly transactions: number;
  readonly pdus: number;
  /** Of each message to each server, in milliseconds from its `sent_at`. */
  readonly latencies: readonly number[];
  /** How many servers have got a message whose body is `last`. */
  readonly finished: number;
  readonly cpuMs: number;
}

export class VirtualPeers implements AsyncDisposable {
  readonly port: number;
  /** Accepts connections and says nothing. */
  readonly silentPort: number;
  readonly #child: ChildProcess;

  static async start(authority: TestAuthority): Promise<VirtualPeers> {
    const child = fork(new URL('virtual-peers-program.ts', import.meta.url));
    child.send({ certificate: await authority.issue(['*.peers.test']) });
    const [{ port, silentPort }] = (await once(child, 'message')) as [{ port: number; silentPort: number }];
    return new VirtualPeers(child, port, silentPort);
  }

  private constructor(child: ChildProcess, port: number, silentPort: number) {
    this.#child = child;
    this.port = port;
    this.silentPort = silentPort;
  }

  async seen(): Promise<Seen> {
    this.#child.send('seen');
    const [seen] = (await once(this.#child, 'message')) as [Seen];
    return seen;
  }

  /** Stops listening and cuts every connection, or listens again. */
  async setListening(listening: boolean): Promise<void> {
    this.#child.send(listening ? 'listen' : 'stop');
    await once(this.#child, 'message');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = once(this.#child, 'exit');
    this.#child.disconnect();
    await ended;
  }
}

/** All names but those that are nowhere lead to loopback. */
export const lookupPeers: LookupFunction = (hostname, options, callback) => {
  const isNowhere = hostname.startsWith('nowhere');
  // Not at once: callers rely on that.
  setImmediate(() => {
    if (isNowhere) {
      callback(Object.assign(new Error(`getaddrinfo ENOTFOUND ${hostname}`), { code: 'ENOTFOUND' }), '', 4);
    } else if (options.all === true) callback(null, [{ address: '127.0.0.1', family: 4 }]);
    else callback(null, '127.0.0.1', 4);
  });
};
