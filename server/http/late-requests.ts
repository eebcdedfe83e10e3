/**
 * Who is too slow with a request. The limits count from when a connection was accepted, and are looked at before what came
 * by it is read: after seconds in which the loop was busy, such as when thousands come back at once, they are over for
 * requests that have lain here all the time. What lies here is read in the turn that follows, and whose it is, is not late.
 */

import type http from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';

export class LateRequests {
  /** Those who are late, unless their request is read in this turn. */
  readonly #late = new Set<Duplex>();

  /** Is told of the requests of a server. */
  watch(server: http.Server): void {
    server.on('request', ({ socket }) => this.#late.delete(socket));
  }

  /** Calls `refuse` where in this turn, too, no request has come by a connection that has taken too long for one. */
  refuse(socket: Duplex, refuse: () => void): void {
    this.#late.add(socket);
    setImmediate(() => {
      if (this.#late.delete(socket)) refuse();
    });
  }
}

/** Calls `end` where in this turn, too, nothing comes by a connection by which nothing has come for long. */
export function endUnlessRead(socket: Socket, end: () => void): void {
  const { bytesRead } = socket;
  setImmediate(() => {
    if (socket.bytesRead === bytesRead) end();
  });
}
