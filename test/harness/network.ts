/**
 * A network whose links can be cut. Each server stands behind a gate: a proxy on the port that is in its name, which
 * ends the TLS of whoever calls and hands the requests on. Who calls is in the `Authorization` of each request, so
 * that a server can be cut off from one and not from another. Requests over a link that is cut, and those that are
 * under way when it is, end with their connection.
 */

import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { Agent, createServer, request, type Server } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { parseXMatrix } from '#federation/x-matrix.ts';
import type { TestAuthority } from './certificates.ts';

/** Where a server is reached. */
export interface Gate {
  /** The server's name. */
  readonly name: string;
  /** The port of loopback on which the server itself listens. */
  readonly serverPort: number;
}

interface Flight {
  readonly from: string;
  readonly to: string;
  readonly socket: Socket;
}

export class Network implements AsyncDisposable {
  readonly #authority: TestAuthority;
  readonly #gates: Server[] = [];
  readonly #flights = new Set<Flight>();
  readonly #agent: Agent;
  /** `FROM TO`, for each direction of its own. */
  readonly #cut = new Set<string>();

  /** The authority signs for the gates, and for the servers behind them. */
  constructor(authority: TestAuthority) {
    this.#authority = authority;
    this.#agent = new Agent({ keepAlive: true, ca: authority.cert });
  }

  /** Opens a gate to a server that listens, or will listen, on a port of loopback. */
  async open(serverPort: number): Promise<Gate> {
    const server = createServer(await this.#authority.issue(['localhost', '127.0.0.1']));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    this.#gates.push(server);
    const { port } = server.address() as AddressInfo;
    const gate = { name: `localhost:${port}`, serverPort };
    server.on('request', (incoming, outgoing) => this.#pass(gate, incoming, outgoing));
    server.on('tlsClientError', () => undefined);
    return gate;
  }

  /** Cuts the links between servers of different parts, in both directions. */
  split(parts: readonly (readonly string[])[]): void {
    for (const part of parts) {
      for (const other of parts) {
        if (other !== part) for (const from of part) for (const to of other) this.cut(from, to);
      }
    }
  }

  /** Cuts the link by which one server calls another; the other way it is as it was. */
  cut(from: string, to: string): void {
    this.#cut.add(`${from} ${to}`);
    for (const flight of this.#flights) {
      if (flight.from === from && flight.to === to) flight.socket.destroy();
    }
  }

  /** All reach all. */
  heal(): void {
    this.#cut.clear();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#agent.destroy();
    for (const gate of this.#gates) {
      gate.close();
      gate.closeAllConnections();
    }
  }

  /** Hands a request on, and the answer back. What says not who it is from (for keys) passes. */
  #pass(gate: Gate, incoming: IncomingMessage, outgoing: ServerResponse): void {
    const { method, url, headers, socket } = incoming;
    const from = parseXMatrix(headers.authorization ?? '')?.origin ?? '';
    if (this.#cut.has(`${from} ${gate.name}`)) {
      socket.destroy();
      return;
    }
    const flight = { from, to: gate.name, socket };
    this.#flights.add(flight);
    outgoing.on('close', () => this.#flights.delete(flight));
    const onward = request({
      host: '127.0.0.1',
      port: gate.serverPort,
      method,
      path: url,
      headers,
      agent: this.#agent,
    });
    onward.on('response', (answer) => {
      outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(outgoing);
    });
    // The server is stopped, or ended the connection: so does the gate.
    onward.on('error', () => socket.destroy());
    outgoing.on('close', () => onward.destroy());
    incoming.pipe(onward);
  }
}
