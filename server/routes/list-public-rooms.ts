/** https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3publicrooms */

import type { FastifyInstance, FastifyRequest } from 'fastify';
import { badJson, invalidParam, notFound } from '#federation/errors.ts';
import { type JsonObject, own } from '#keys/json.ts';
import {
  listPublicRooms,
  type PublicRooms,
  type PublicRoomsFilter,
  type PublicRoomsQuery,
} from '#rooms/directory.ts';
import { requireRequester } from '../auth/requester.ts';
import { bodyObject, optionalInteger, optionalObject, optionalString } from '../body.ts';
import type { ServerContext } from '../context.ts';
import { type Query, queryLimit, queryString } from '../query.ts';

type PublicRoomsRequest = FastifyRequest<{ Querystring: Query }>;

const PATH = '/_matrix/client/v3/publicRooms';
const DEFAULT_LIMIT = 100;
const MAX_LIMIT = 500;

/** The rooms that this server publishes. */
export function listPublicRoomsRoutes(app: FastifyInstance, ctx: ServerContext): void {
  app.get(PATH, async (request: PublicRoomsRequest) => {
    ctx.limits.take('directory', request.ip);
    requireOwnServer(ctx, request);
    const limit = queryLimit(request.query, { fallback: DEFAULT_LIMIT, most: MAX_LIMIT });
    return list(ctx, { limit, since: queryString(request.query, 'since') });
  });

  app.post(PATH, async (request: PublicRoomsRequest) => {
    const { userId } = await requireRequester(ctx, request);
    ctx.limits.take('directory', userId);
    requireOwnServer(ctx, request);
    const body = bodyObject(request);
    const filter = optionalObject(body, 'filter');
    return list(ctx, {
      limit: optionalInteger(body, 'limit'),
      since: optionalString(body, 'since'),
      ...(filter !== undefined && { filter: filterOf(filter) }),
    });
  });
}

async function list(ctx: ServerContext, query: PublicRoomsQuery): Promise<PublicRooms> {
  const listed = await listPublicRooms(ctx, query);
  if (listed.kind === 'invalid') throw invalidParam(listed.reason);
  return listed.body;
}

function filterOf(filter: JsonObject): PublicRoomsFilter {
  const roomTypes = own(filter, 'room_types');
  if (roomTypes !== undefined && !isRoomTypes(roomTypes)) throw badJson('room_types must be a list');
  return { genericSearchTerm: optionalString(filter, 'generic_search_term'), roomTypes };
}

function isRoomTypes(value: unknown): value is readonly (string | null)[] {
  return Array.isArray(value) && value.every((item) => item === null || typeof item === 'string');
}

/** "The server to fetch the published room directory from." */
function requireOwnServer(ctx: ServerContext, { query }: PublicRoomsRequest): void {
  const server = queryString(query, 'server');
  if (server !== undefined && server !== ctx.serverName)
    throw notFound('The directory of this server is not known');
}
