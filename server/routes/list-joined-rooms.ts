/** https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3joined_rooms */

import type { FastifyInstance } from 'fastify';
import * as memberships from '#storage/memberships.ts';
import { requireRequester } from '../auth/requester.ts';
import type { ServerContext } from '../context.ts';

/** The rooms that the user is joined to. */
export function listJoinedRoomsRoutes(app: FastifyInstance, ctx: ServerContext): void {
  app.get('/_matrix/client/v3/joined_rooms', async (request) => {
    const { userId } = await requireRequester(ctx, request);
    const rows = await memberships.ofUser(ctx.db, userId);
    return { joined_rooms: rows.filter((row) => row.membership === 'join').map((row) => row.roomId) };
  });
}
