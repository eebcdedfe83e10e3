import type { FastifyInstance } from 'fastify';
import type { FederationContext } from '../context.ts';
import { notFound } from '../errors.ts';

/**
 * `GET /.well-known/matrix/server`: where this server name is served. With an explicit port, which some servers
 * need. https://spec.matrix.org/v1.19/server-server-api/#getwell-knownmatrixserver
 */
export function wellknownRoutes(app: FastifyInstance, ctx: Pick<FederationContext, 'federation'>): void {
  app.get('/.well-known/matrix/server', async (_, reply) => {
    const { publicAddress } = ctx.federation;
    if (publicAddress === undefined) throw notFound('This server name is not delegated');
    reply.header('access-control-allow-origin', '*');
    return { 'm.server': publicAddress };
  });
}
