import type { FastifyInstance } from 'fastify';
import { requireRequester } from '../auth/requester.ts';
import type { ServerContext } from '../context.ts';

/** https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3accountwhoami */
export function whoamiRoutes(app: FastifyInstance, ctx: ServerContext): void {
  app.get('/_matrix/client/v3/account/whoami', async (request) => {
    const { userId, deviceId, isGuest, hasDevice = true } = await requireRequester(ctx, request);
    return { user_id: userId, ...(hasDevice && { device_id: deviceId }), is_guest: isGuest };
  });
}
