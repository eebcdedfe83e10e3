/** https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3search */

import type { FastifyInstance } from 'fastify';
import { forbidden } from '#federation/errors.ts';
import { requireRequester } from '../auth/requester.ts';
import { bodyObject } from '../body.ts';
import type { ServerContext } from '../context.ts';
import { sendJsonText } from '../json-text.ts';
import { type Query, queryString } from '../query.ts';
import { answerText } from '../search/answer.ts';
import { findEvents } from '../search/find.ts';
import { searchRequest } from '../search/request.ts';

/** Looks for words in the rooms that a user is, or was, in. */
export function searchRoutes(app: FastifyInstance, ctx: ServerContext): void {
  app.post<{ Querystring: Query }>('/_matrix/client/v3/search', async (request, reply) => {
    const requester = await requireRequester(ctx, request);
    if (ctx.search === undefined) throw forbidden('This server does not search in messages');
    ctx.limits.take('directory', requester.userId);
    const search = searchRequest(bodyObject(request), queryString(request.query, 'next_batch'));
    const found = search && (await findEvents(ctx, requester.userId, search));
    const category = search && found && `"room_events":${await answerText(ctx, requester, search, found)}`;
    return sendJsonText(reply, `{"search_categories":{${category ?? ''}}}`);
  });
}
