import type { FastifyInstance } from 'fastify';
import { notFound } from '#federation/errors.ts';
import type { ServerContext } from '../context.ts';

/** `GET /.well-known/matrix/client`: https://spec.matrix.org/v1.19/client-server-api/#well-known-uri */
export function wellknownClientRoutes(app: FastifyInstance, ctx: Pick<ServerContext, 'config'>): void {
  const { publicBaseurl } = ctx.config;
  app.get('/.well-known/matrix/client', async () => {
    if (publicBaseurl === undefined) throw notFound('public_baseurl is not configured');
    return { 'm.homeserver': { base_url: publicBaseurl } };
  });
}
