/** https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3publicrooms */

import type { FastifyInstance, FastifyRequest } from 'fastify';
import { badJson, invalidParam, notFound, unreachable } from '#federation/errors.ts';
import { publicRooms } from '#federation/remote/queries.ts';
import { isServerName, type ServerName } from '#keys/ids.ts';
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

/** The rooms that this server publishes, and those that others do. */
export function listPublicRoomsRoutes(app: FastifyInstance, ctx: ServerContext): void {
  app.get(PATH, async (request: PublicRoomsRequest) => {
    const limit = queryLimit(request.query, { fallback: DEFAULT_LIMIT, most: MAX_LIMIT });
    const since = queryString(request.query, 'since');
    const server = otherServer(ctx, request);
    if (server === undefined) {
      ctx.limits.take('directory', request.ip);
      return list(ctx, { limit, since });
    }
    // Other servers are asked for our users only.
    const { userId } = await requireRequester(ctx, request);
    ctx.limits.take('directory', userId);
    return listOf(ctx, server, { limit, ...(since !== undefined && { since }) });
  });

  app.post(PATH, async (request: PublicRoomsRequest) => {
    const { userId } = await requireRequester(ctx, request);
    ctx.limits.take('directory', userId);
    const body = bodyObject(request);
    const filter = optionalObject(body, 'filter');
    const limit = optionalInteger(body, 'limit');
    const since = optionalString(body, 'since');
    const server = otherServer(ctx, request);
    if (server !== undefined) {
      return listOf(ctx, server, {
        ...(limit !== undefined && { limit }),
        ...(since !== undefined && { since }),
        ...(filter !== undefined && { filter }),
      });
    }
    return list(ctx, { limit, since, ...(filter !== undefined && { filter: filterOf(filter) }) });
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

/** "The server to fetch the published room directory from." Undefined for our own. */
function otherServer(ctx: ServerContext, { query }: PublicRoomsRequest): ServerName | undefined {
  const server = queryString(query, 'server');
  if (server === undefined || server === '' || server === ctx.serverName) return undefined;
  if (!isServerName(server)) throw invalidParam('server is not a server name');
  return server;
}

/** The directory of another server, as it says it. */
async function listOf(ctx: ServerContext, server: ServerName, body: JsonObject): Promise<JsonObject> {
  const answer = await publicRooms(ctx, server, body);
  if (answer.kind === 'ok') return answer.value;
  // It has answered, with a refusal.
  if (answer.status !== undefined && answer.status < 500)
    throw notFound('The server does not share its directory');
  throw unreachable('The server of the directory cannot be reached');
}
