/** https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidrelationseventid */

import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { invalidParam } from '#federation/errors.ts';
import { RECURSION_DEPTH, relatedPage } from '#rooms/relations/related-events.ts';
import type { PageRange } from '#rooms/timeline.ts';
import { requireRequester } from '../auth/requester.ts';
import type { ServerContext } from '../context.ts';
import { sendJsonText } from '../json-text.ts';
import { type Query, queryLimit, queryPosition, queryString } from '../query.ts';
import { bundledTextsFor } from '../reading/bundles.ts';
import { ignoredBy } from '../reading/ignored-users.ts';
import { visibleEvent } from '../reading/visible-event.ts';
import { formatToken } from '../sync/token.ts';

interface RelationsRequest {
  Params: { roomId: string; eventId: string; relType?: string; eventType?: string };
  Querystring: Query;
}

const PATH = '/_matrix/client/v1/rooms/:roomId/relations/:eventId';
const DEFAULT_LIMIT = 20;
const MAX_LIMIT = 500;
/** Before and after every event, and still positions that a token can say. */
const [BEGINNING, END] = [-999_999_999_999_999, 999_999_999_999_999];

/** The events that relate to one. */
export function relationsRoutes(app: FastifyInstance, ctx: ServerContext): void {
  for (const path of [PATH, `${PATH}/:relType`, `${PATH}/:relType/:eventType`]) {
    app.get<RelationsRequest>(path, (request, reply) => answer(ctx, request, reply));
  }
}

async function answer(ctx: ServerContext, request: FastifyRequest<RelationsRequest>, reply: FastifyReply) {
  const requester = await requireRequester(ctx, request);
  const { userId } = requester;
  ctx.limits.take('history', userId);
  const { params, query } = request;
  const parent = await visibleEvent(ctx, userId, params);
  const range = rangeOf(query);
  const recurse = recurseOf(query);
  const of = {
    roomNid: parent.roomNid,
    parentId: parent.event.eventId,
    relType: params.relType,
    eventType: params.eventType,
  };
  const ignored = await ignoredBy(ctx.db, userId);
  const page = await relatedPage(ctx, { ...of, recurse: recurse === true, userId, ignored }, range);
  const chunk = await bundledTextsFor(ctx, requester, page.events, { withRoomId: true });
  const parts = [`"chunk":[${chunk.join(',')}]`];
  if (page.end !== undefined) parts.push(`"next_batch":"${formatToken(page.end)}"`);
  // "The absence of this token means this is the start of the result set".
  if (queryString(query, 'from')) parts.push(`"prev_batch":"${formatToken(range.from)}"`);
  if (recurse !== undefined) parts.push(`"recursion_depth":${recurse ? RECURSION_DEPTH : 1}`);
  return sendJsonText(reply, `{${parts.join(',')}}`);
}

/** "Optional (default `b`)": from the newest back. */
function rangeOf(query: Query): PageRange {
  const direction = queryString(query, 'dir') ?? 'b';
  if (direction !== 'b' && direction !== 'f') throw invalidParam('dir is neither b nor f');
  const from = queryPosition(query, 'from') ?? (direction === 'b' ? END : BEGINNING);
  const limit = Math.max(1, queryLimit(query, { fallback: DEFAULT_LIMIT, most: MAX_LIMIT }));
  return { from, to: queryPosition(query, 'to'), direction, limit };
}

/** Undefined where the client does not say. */
function recurseOf(query: Query): boolean | undefined {
  const value = queryString(query, 'recurse');
  if (value === undefined) return undefined;
  if (value !== 'true' && value !== 'false') throw invalidParam('recurse is neither true nor false');
  return value === 'true';
}
