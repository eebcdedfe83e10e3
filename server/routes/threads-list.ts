/** https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidthreads */

import type { FastifyInstance } from 'fastify';
import { invalidParam } from '#federation/errors.ts';
import { threadPage } from '#rooms/relations/thread.ts';
import { requireRequester } from '../auth/requester.ts';
import type { ServerContext } from '../context.ts';
import { sendJsonText } from '../json-text.ts';
import { type Query, queryLimit, queryPosition, queryString } from '../query.ts';
import { bundleReader, bundleTexts } from '../reading/bundles.ts';
import { readableRoom } from '../reading/readable-room.ts';
import { renderFor, textsOf } from '../sync/format.ts';
import { formatToken } from '../sync/token.ts';

const DEFAULT_LIMIT = 20;
const MAX_LIMIT = 100;

/** The threads of a room. */
export function threadsListRoutes(app: FastifyInstance, ctx: ServerContext): void {
  app.get<{ Params: { roomId: string }; Querystring: Query }>(
    '/_matrix/client/v1/rooms/:roomId/threads',
    async (request, reply) => {
      const requester = await requireRequester(ctx, request);
      ctx.limits.take('history', requester.userId);
      const { query } = request;
      const { room } = await readableRoom(ctx, requester.userId, request.params.roomId);
      const include = queryString(query, 'include') ?? 'all';
      if (include !== 'all' && include !== 'participated')
        throw invalidParam('include is neither all nor participated');
      const limit = queryLimit(query, { fallback: DEFAULT_LIMIT, most: MAX_LIMIT });
      if (limit === 0) throw invalidParam('limit must be greater than zero');
      const page = await threadPage(ctx, room.roomNid, bundleReader(ctx, requester), {
        ...{ from: queryPosition(query, 'from'), limit, participated: include === 'participated' },
      });
      const relations = await bundleTexts(ctx, requester, page.bundles);
      const texts = await textsOf(ctx, page.roots);
      const chunk = await renderFor(ctx, requester, texts, { withRoomId: true, relations });
      const parts = [`"chunk":[${chunk.join(',')}]`];
      if (page.end !== undefined) parts.push(`"next_batch":"${formatToken(page.end)}"`);
      return sendJsonText(reply, `{${parts.join(',')}}`);
    },
  );
}
