import type { FastifyInstance } from 'fastify';
import * as devices from '#storage/devices.ts';
import { requiredDevice } from '../appservices/masquerade.ts';
import { signOut } from '../auth/accounts.ts';
import { requireRequester } from '../auth/requester.ts';
import type { ServerContext } from '../context.ts';

/** https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3logout */
export function logoutRoutes(app: FastifyInstance, ctx: ServerContext): void {
  app.post('/_matrix/client/v3/logout', async (request) => {
    const requester = await requireRequester(ctx, request);
    await signOut(ctx, requester.userId, [requiredDevice(requester)]);
    return {};
  });

  app.post('/_matrix/client/v3/logout/all', async (request) => {
    const { userId } = await requireRequester(ctx, request);
    await signOut(ctx, userId, await devices.signedIn(ctx.db, userId));
    return {};
  });
}
