import type { FastifyInstance } from 'fastify';
import * as serverIdentity from '#storage/server-identity.ts';
import type { ServerContext } from '../context.ts';

/** `GET /health`: 200 and `OK` while the server can answer, for load balancers and containers. */
export function healthRoutes(app: FastifyInstance, ctx: Pick<ServerContext, 'db'>): void {
  app.get('/health', async (_, reply) => {
    // Fails, and so answers 503, once the database is closed or has failed.
    await serverIdentity.read(ctx.db);
    return reply.type('text/plain; charset=utf-8').send('OK');
  });
}
