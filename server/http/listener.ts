import type { AddressInfo } from 'node:net';
import type { FastifyInstance } from 'fastify';
import type { ListenAddress } from '../config/config-types.ts';

/** For the connections that wait to be accepted; the operating system may allow fewer. */
const BACKLOG = 8_192;
const DRAIN_MS = 6_000;
const CLOSE_IDLE_EVERY_MS = 50;

/** Listens, and answers the port, which the operating system chose where the configuration says 0. */
export async function listen(app: FastifyInstance, { host, port }: ListenAddress): Promise<number> {
  await app.listen({ host, port, backlog: BACKLOG });
  return (app.server.address() as AddressInfo).port;
}

/**
 * Stops accepting, waits until the requests in hand are answered, and cuts off those that are not after six
 * seconds.
 */
export async function drain(app: FastifyInstance): Promise<void> {
  // A connection that was busy when the server closed is kept alive by its client, unless it is closed when idle.
  const idle = setInterval(() => app.server.closeIdleConnections(), CLOSE_IDLE_EVERY_MS);
  const cut = setTimeout(() => {
    app.server.closeAllConnections();
    app.directRoutes.cut();
  }, DRAIN_MS);
  try {
    await app.close();
  } finally {
    clearInterval(idle);
    clearTimeout(cut);
  }
}
