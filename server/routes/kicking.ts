/** https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidkick */

import type { FastifyInstance } from 'fastify';
import { requireRequester } from '../auth/requester.ts';
import type { ServerContext } from '../context.ts';
import { moderate } from '../rooms/moderation.ts';

/** Removal of a user from a room. */
export function kickingRoutes(app: FastifyInstance, ctx: ServerContext): void {
  app.post<{ Params: { roomId: string } }>('/_matrix/client/v3/rooms/:roomId/kick', async (request) => {
    const requester = await requireRequester(ctx, request);
    return moderate(ctx, requester.userId, { request, membership: 'kick' });
  });
}
