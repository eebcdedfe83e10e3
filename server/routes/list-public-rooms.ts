/** https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3publicrooms */

import type { FastifyInstance, FastifyRequest } from 'fastify';
import { invalidParam, notFound, unreachable } from '#federation/errors.ts';
import { joinableRooms } from '#federation/partners/preflight.ts';
import { publicRoomsQuery } from '#federation/public-rooms-query.ts';
import { publicRooms } from '#federation/remote/queries.ts';
import { isServerName, type ServerName } from '#keys/ids.ts';
import type { JsonObject } from '#keys/json.ts';
import { listPublicRooms, type PublicRooms, type PublicRoomsQuery } from '#rooms/directory/directory.ts';
import { requireRequester } from '../auth/requester.ts';
import { bodyObject } from '../body.ts';
import type { ServerContext } from '../context.ts';
import { type Query, queryLimit, queryString } from '../query.ts';

type PublicRoomsRequest = FastifyRequest<{ Querystring: Query }>;

const PATH = '/_matrix/client/v3/publicRooms';
const DEFAULT_LIMIT = 100;
const MAX_LIMIT = 500;
/** What another server is told of a client's body. */
const RELAYED = ['limit', 'since', 'filter', 'include_all_networks', 'third_party_instance_id'];

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
    const query = publicRoomsQuery(body);
    const server = otherServer(ctx, request);
    return server === undefined ? list(ctx, query) : listOf(ctx, server, onlyOf(body, RELAYED));
  });
}

async function list(ctx: ServerContext, query: PublicRoomsQuery): Promise<PublicRooms> {
  const listed = await listPublicRooms(ctx, query);
  if (listed.kind === 'invalid') throw invalidParam(listed.reason);
  return listed.body;
}

function onlyOf(body: JsonObject, keys: readonly string[]): JsonObject {
  return Object.fromEntries(
    Object.entries(body).filter(([key, value]) => keys.includes(key) && value !== null),
  );
}

/** "The server to fetch the published room directory from." Undefined for our own. */
function otherServer(ctx: ServerContext, { query }: PublicRoomsRequest): ServerName | undefined {
  const server = queryString(query, 'server');
  if (server === undefined || server === '' || server === ctx.serverName) return undefined;
  if (!isServerName(server)) throw invalidParam('server is not a server name');
  return server;
}

/** The directory of another server, as it says it. */
async function listOf(ctx: ServerContext, server: ServerName, body: JsonObject): Promise<PublicRooms> {
  const answer = await publicRooms(ctx, server, body);
  if (answer.kind === 'ok') return joinableRooms(ctx, server, answer.value);
  // It has answered, with a refusal.
  if (answer.status !== undefined && answer.status < 500)
    throw notFound('The server does not share its directory');
  throw unreachable('The server of the directory cannot be reached');
}
