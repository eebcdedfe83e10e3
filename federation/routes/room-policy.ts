import type { FastifyInstance } from 'fastify';
import { authenticateOrigin } from '../auth.ts';
import type { FederationContext } from '../context.ts';
import { notPolicyServer } from '../errors.ts';

/**
 * `POST /_matrix/policy/v1/sign`: this server judges no events for others.
 * https://spec.matrix.org/v1.19/server-server-api/#post_matrixpolicyv1sign
 */
export function roomPolicyRoutes(app: FastifyInstance, ctx: FederationContext): void {
  const preHandler = authenticateOrigin(ctx);
  app.post('/_matrix/policy/v1/sign', { preHandler }, async () => {
    throw notPolicyServer();
  });
}
