/** The wire to a server, for a test to cut: a relay of bytes on a port of its own. */

import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

export class Wire implements AsyncDisposable {
  readonly port: number;
  readonly #server: Server;
  readonly #pairs = new Map<Socket, Socket>();
  #state: 'whole' | 'cut' | 'silent' = 'whole';
  #target = 0;

  /** On a free port; where it leads to `leadTo` says. */
  static async lay(): Promise<Wire> {
    const server = createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new Wire(server);
  }

  private constructor(server: Server) {
    this.#server = server;
    this.port = (server.address() as AddressInfo).port;
    server.on('connection', (socket) => this.#carry(socket));
  }

  leadTo(port: number): void {
    this.#target = port;
  }

  /** How many connections are open on this side. */
  get open(): number {
    return this.#pairs.size;
  }

  /** Ends all connections, and ends new ones at once. */
  cut(): void {
    this.#state = 'cut';
    for (const socket of this.#pairs.keys()) socket.destroy();
  }

  /** Carries nothing more, and says nothing of it: connections stay open, new ones are accepted. */
  hush(): void {
    this.#state = 'silent';
    for (const [near, far] of this.#pairs) {
      near.unpipe(far);
      far.unpipe(near);
    }
  }

  /** Carries new connections again; those that were silent stay so. */
  mend(): void {
    this.#state = 'whole';
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.cut();
    this.#server.close();
    await once(this.#server, 'close');
  }

  #carry(near: Socket): void {
    near.on('error', () => undefined);
    if (this.#state === 'cut') {
      near.destroy();
      return;
    }
    const far = connect(this.#target, '127.0.0.1').on('error', () => near.destroy());
    this.#pairs.set(near, far);
    near.on('close', () => {
      this.#pairs.delete(near);
      far.destroy();
    });
    if (this.#state === 'silent') return;
    far.on('close', () => near.end());
    near.pipe(far).pipe(near);
  }
}
