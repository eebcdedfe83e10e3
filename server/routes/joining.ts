/** https://spec.matrix.org/v1.19/client-server-api/#joining-rooms */

import type { FastifyInstance, FastifyRequest } from 'fastify';
import { invalidParam } from '#federation/errors.ts';
import { isServerName } from '#keys/ids.ts';
import { requireRequester } from '../auth/requester.ts';
import { bodyObject, optionalString } from '../body.ts';
import type { ServerContext } from '../context.ts';
import { joinRoom } from '../membership.ts';
import { type Query, queryList } from '../query.ts';
import { roomIdParam } from '../room-params.ts';

const MOST_SERVERS = 20;

/** Joins, by the id of a room or by an alias. */
export function joiningRoutes(app: FastifyInstance, ctx: ServerContext): void {
  app.post<{ Params: { roomId: string }; Querystring: Query }>(
    '/_matrix/client/v3/rooms/:roomId/join',
    async (request) => join(ctx, request, roomIdParam(request.params.roomId)),
  );

  app.post<{ Params: { roomIdOrAlias: string }; Querystring: Query }>(
    '/_matrix/client/v3/join/:roomIdOrAlias',
    async (request) => join(ctx, request, request.params.roomIdOrAlias),
  );
}

async function join(
  ctx: ServerContext,
  request: FastifyRequest<{ Querystring: Query }>,
  room: string,
): Promise<{ room_id: string }> {
  const { userId } = await requireRequester(ctx, request);
  ctx.limits.take('join', userId);
  const reason = optionalString(bodyObject(request), 'reason');
  const content = reason === undefined ? {} : { reason };
  // "via" took the place of "server_name"; older clients send that.
  const via = new Set([...queryList(request.query, 'via'), ...queryList(request.query, 'server_name')]);
  const servers = [...via].slice(0, MOST_SERVERS);
  if (!servers.every(isServerName)) throw invalidParam('via is not a server name');
  return { room_id: await joinRoom(ctx, userId, { room, via: servers, content }) };
}
