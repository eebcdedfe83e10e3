import type { TLSSocket } from 'node:tls';
import type { Pool } from 'undici';
import type { ServerName } from '#keys/ids.ts';
import { Lru } from '#storage/lru.ts';
import type { Dialer } from './dial.ts';
import type { Destination } from './resolve.ts';

/** More servers than this in one room would need a handshake for each message. Idle connections are closed. */
const MOST_POOLS = 1_536;
const CONNECTIONS_PER_SERVER = 8;
const IDLE_CONNECTION_MS = 30_000;

interface PooledDestination {
  readonly key: string;
  readonly pool: Pool;
}

type DialCallback = (...args: [null, TLSSocket] | [Error, null]) => void;

/** Connections to other servers that are kept for the next request, some for each server. */
export class Pools {
  readonly #dialer: Dialer;
  readonly #pools = new Lru<ServerName, PooledDestination>({
    maxEntries: MOST_POOLS,
    onEvict: (_, { pool }) => this.#retire(pool),
  });
  readonly #open = new Set<Pool>();
  readonly #disposed = new AbortController();

  constructor(dialer: Dialer) {
    this.#dialer = dialer;
  }

  /** The connections to a server: new ones where it is at another place than before. */
  async of(server: ServerName, destination: Destination): Promise<Pool> {
    const key = JSON.stringify(destination);
    const known = this.#pools.get(server);
    if (known?.key === key) return known.pool;
    // Loaded at first use: a server that talks to nobody should not hold its 20 MB.
    const undici = await import('undici');
    const meanwhile = this.#pools.get(server);
    if (meanwhile?.key === key) return meanwhile.pool;
    if (meanwhile !== undefined) this.#retire(meanwhile.pool);
    const pool = new undici.Pool('https://peer.invalid', {
      connect: (_, callback) => this.#dial(destination, callback),
      connections: CONNECTIONS_PER_SERVER,
      pipelining: 1,
      keepAliveTimeout: IDLE_CONNECTION_MS,
      keepAliveMaxTimeout: IDLE_CONNECTION_MS,
      maxHeaderSize: 16 * 1024,
    });
    this.#open.add(pool);
    this.#pools.set(server, { key, pool });
    return pool;
  }

  /** Cuts all connections, those of requests under way too. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#disposed.abort();
    await Promise.all([...this.#open].map((pool) => pool.destroy()));
  }

  /** Evicted, or its server moved: the requests that run may end. */
  #retire(pool: Pool): void {
    const forget = (): boolean => this.#open.delete(pool);
    pool.close().then(forget, forget);
  }

  /** The pool's URL means nothing: where to connect to, and whose certificate to expect, is the destination's. */
  #dial(destination: Destination, callback: DialCallback): void {
    const { host, port, tlsName, fallbacks, ca } = destination;
    const endpoints = [{ host, port }, ...fallbacks];
    this.#dialer
      .dial({ endpoints, tlsName, signal: this.#disposed.signal, ...(ca !== undefined && { ca }) })
      .then(
        (socket) => callback(null, socket),
        (error: unknown) => callback(error instanceof Error ? error : new Error(String(error)), null),
      );
  }
}
