/** https://spec.matrix.org/v1.19/client-server-api/#banning-users-in-a-room */

import type { FastifyInstance } from 'fastify';
import { requireRequester } from '../auth/requester.ts';
import type { ServerContext } from '../context.ts';
import { moderate } from '../rooms/moderation.ts';

/** Banning, and the lifting of a ban. */
export function banningRoutes(app: FastifyInstance, ctx: ServerContext): void {
  app.post<{ Params: { roomId: string } }>('/_matrix/client/v3/rooms/:roomId/ban', async (request) => {
    const { userId } = await requireRequester(ctx, request);
    return moderate(ctx, userId, { request, membership: 'ban' });
  });

  app.post<{ Params: { roomId: string } }>('/_matrix/client/v3/rooms/:roomId/unban', async (request) => {
    const { userId } = await requireRequester(ctx, request);
    return moderate(ctx, userId, { request, membership: 'unban' });
  });
}
