/** The connections of a server for HTTP: which of them wait for an answer, and where the next request begins. */

import type { Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

interface Known {
  /** So many requests have come that are not answered yet. */
  open: number;
  /** So many bytes had come when none was open. */
  readUpto: number;
}

export class Connections {
  readonly #known = new Map<Socket, Known>();

  /** `event`: by which the server tells of connections on which HTTP is spoken. */
  watch(server: Server, event: 'connection' | 'secureConnection'): void {
    server.on(event, (socket: Socket) => this.#begin(socket));
    server.on('request', ({ socket }, response) => this.#count(socket, response));
  }

  /** True while a request of it is not answered. */
  isAnswering(socket: Socket): boolean {
    return (this.#known.get(socket)?.open ?? 0) > 0;
  }

  /** True where one request is open and so many bytes are all that came since the ones before were answered. */
  hasSentOnly(socket: Socket, bytes: number): boolean {
    const known = this.#known.get(socket);
    return known?.open === 1 && socket.bytesRead - known.readUpto === bytes;
  }

  /** Nothing is open any more. */
  settle(socket: Socket): void {
    const known = this.#known.get(socket);
    if (known === undefined) return;
    known.open = 0;
    known.readUpto = socket.bytesRead;
  }

  /** One that has rested comes again. */
  #begin(socket: Socket): void {
    if (this.#known.has(socket)) return;
    this.#known.set(socket, { open: 0, readUpto: 0 });
    socket.once('close', () => this.#known.delete(socket));
  }

  #count(socket: Socket, response: ServerResponse): void {
    const known = this.#known.get(socket);
    if (known === undefined) return;
    known.open += 1;
    // Which a response always says, if only because its connection has ended.
    response.on('close', () => {
      known.open -= 1;
      if (known.open === 0) known.readUpto = socket.bytesRead;
    });
  }
}
