/** https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidmessages */

import type { FastifyInstance, FastifyRequest } from 'fastify';
import { invalidParam } from '#federation/errors.ts';
import { requireRequester } from '../auth/requester.ts';
import type { ServerContext } from '../context.ts';
import { sendJsonText } from '../json-text.ts';
import { type Query, queryLimit, queryPosition, queryString, requiredQuery } from '../query.ts';
import { bundledTextsFor } from '../reading/bundles.ts';
import { type HistoryFilter, readPage } from '../reading/message-page.ts';
import { readableRoom } from '../reading/readable-room.ts';
import { relationFilterOf } from '../reading/relation-filter.ts';
import { NO_FILTER, parseEventFilter } from '../sync/filter.ts';
import { textsFor } from '../sync/format.ts';
import { formatToken } from '../sync/token.ts';

const DEFAULT_LIMIT = 10;
const MAX_LIMIT = 1_000;
/** Before the oldest history there can be, and still a position that a token can say. */
const BEGINNING = -999_999_999_999_999;

/** Pages of a room's history. */
export function messagePaginationRoutes(app: FastifyInstance, ctx: ServerContext): void {
  app.get<{ Params: { roomId: string }; Querystring: Query }>(
    '/_matrix/client/v3/rooms/:roomId/messages',
    async (request, reply) => {
      const requester = await requireRequester(ctx, request);
      ctx.limits.take('history', requester.userId);
      const readable = await readableRoom(ctx, requester.userId, request.params.roomId);
      const { query } = request;
      const direction = requiredQuery(query, 'dir');
      if (direction !== 'b' && direction !== 'f') throw invalidParam('dir is neither b nor f');
      const last = readable.left?.position ?? ctx.streams.upto();
      // "If it is not provided, [...] from the first or last (per the value of the dir parameter) visible event".
      const from = queryPosition(query, 'from') ?? (direction === 'b' ? last : BEGINNING);
      const { filter, limit } = limitsOf(request);
      const read = await readPage(ctx, { room: readable.room, userId: requester.userId }, filter, {
        ...{ from, to: queryPosition(query, 'to'), direction, limit },
      });
      const chunk = await bundledTextsFor(ctx, requester, read.events, { withRoomId: true });
      const state = await textsFor(ctx, requester, read.members, { withRoomId: true });
      const parts = [`"start":"${formatToken(from)}"`, `"chunk":[${chunk.join(',')}]`];
      if (state.length > 0) parts.push(`"state":[${state.join(',')}]`);
      if (read.end !== undefined) parts.push(`"end":"${formatToken(read.end)}"`);
      return sendJsonText(reply, `{${parts.join(',')}}`);
    },
  );
}

function limitsOf({ query }: FastifyRequest<{ Querystring: Query }>): {
  filter: HistoryFilter;
  limit: number;
} {
  const text = queryString(query, 'filter');
  const filter = text === undefined || text === '' ? NO_FILTER.timeline : parseEventFilter(text);
  if (filter === undefined) throw invalidParam('filter is not a valid RoomEventFilter');
  const limit = queryLimit(query, { fallback: filter.limit ?? DEFAULT_LIMIT, most: MAX_LIMIT });
  const relates = text === undefined || text === '' ? undefined : relationFilterOf(text);
  return { filter: { ...filter, relates }, limit: Math.max(1, limit) };
}
