import type { ServerName } from '#keys/ids.ts';
import { Lru } from '#storage/lru.ts';
import { Connections } from './connections.ts';
import type { Dialer } from './dial.ts';
import type { Destination } from './resolve.ts';

/** More servers than this in one room would need a handshake for each message. Idle connections are closed. */
const MOST_SERVERS = 1_536;

interface Pooled {
  readonly destination: string;
  readonly connections: Connections;
}

/** Connections to other servers that are kept for the next request, some for each server. */
export class Pools {
  readonly #dialer: Dialer;
  readonly #pools = new Lru<ServerName, Pooled>({
    maxEntries: MOST_SERVERS,
    onEvict: (_, { connections }) => connections.retire(),
  });

  constructor(dialer: Dialer) {
    this.#dialer = dialer;
  }

  /** The connections to a server: new ones where it is at another place than before. */
  of(server: ServerName, destination: Destination): Connections {
    const key = JSON.stringify(destination);
    const known = this.#pools.get(server);
    if (known?.destination === key) return known.connections;
    known?.connections.retire();
    const { host, port, tlsName, fallbacks, ca } = destination;
    const place = { endpoints: [{ host, port }, ...fallbacks], tlsName, ...(ca !== undefined && { ca }) };
    const connections = new Connections((signal) =>
      this.#dialer.dial({ ...place, ...(signal !== undefined && { signal }) }),
    );
    this.#pools.set(server, { destination: key, connections });
    return connections;
  }

  /** Cuts all connections. Requests under way are ended by their signals. */
  [Symbol.dispose](): void {
    for (const { connections } of this.#pools.values()) connections[Symbol.dispose]();
  }
}
