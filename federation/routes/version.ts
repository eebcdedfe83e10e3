import type { FastifyInstance } from 'fastify';
import type { FederationContext } from '../context.ts';

/** `GET /_matrix/federation/v1/version`: https://spec.matrix.org/v1.19/server-server-api/#server-implementation */
export function versionRoutes(app: FastifyInstance, ctx: Pick<FederationContext, 'federation'>): void {
  app.get('/_matrix/federation/v1/version', async () => ({
    server: { name: 'Kurir', version: ctx.federation.version },
  }));
}
