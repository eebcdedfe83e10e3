/** https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidinitialsync */

import type { FastifyInstance } from 'fastify';
import { requireRequester } from '../auth/requester.ts';
import type { ServerContext } from '../context.ts';
import { sendJsonText } from '../json-text.ts';
import { type Query, queryLimit } from '../query.ts';
import { readableRoom } from '../reading/readable-room.ts';
import { roomInfoText } from '../reading/room-info.ts';

const DEFAULT_LIMIT = 20;
const MAX_LIMIT = 100;

/** A room that one looks into, or is in. */
export function roomInitialSyncRoutes(app: FastifyInstance, ctx: ServerContext): void {
  app.get<{ Params: { roomId: string }; Querystring: Query }>(
    '/_matrix/client/v3/rooms/:roomId/initialSync',
    async (request, reply) => {
      const requester = await requireRequester(ctx, request);
      const limit = queryLimit(request.query, { fallback: DEFAULT_LIMIT, most: MAX_LIMIT });
      const upto = ctx.streams.upto();
      const readable = await readableRoom(ctx, requester.userId, request.params.roomId);
      const text = await roomInfoText(ctx, requester, readable, { upto, limit });
      return sendJsonText(reply, text);
    },
  );
}
