/** The directory, for other servers: https://spec.matrix.org/v1.19/server-server-api/#published-room-directory */

import type { FastifyInstance } from 'fastify';
import { isObject, type JsonObject } from '#keys/json.ts';
import {
  listPublicRooms,
  MAX_PUBLIC_ROOMS,
  type PublicRooms,
  type PublicRoomsQuery,
} from '#rooms/directory/directory.ts';
import { authenticateOrigin } from '../auth.ts';
import type { FederationContext } from '../context.ts';
import { badJson, invalidParam } from '../errors.ts';
import { publicRoomsQuery } from '../public-rooms-query.ts';

const PATH = '/_matrix/federation/v1/publicRooms';

/** `GET publicRooms` and `POST publicRooms`. */
export function publicRoomsRoutes(app: FastifyInstance, ctx: FederationContext): void {
  const preHandler = authenticateOrigin(ctx);

  app.get<{ Querystring: Record<string, unknown> }>(PATH, { preHandler }, async ({ query }) =>
    list(ctx, publicRoomsQuery(bodyOf(query))),
  );

  app.post(PATH, { preHandler }, async ({ body }) => {
    if (!isObject(body)) throw badJson('The body is not an object');
    return list(ctx, publicRoomsQuery(body));
  });
}

async function list(ctx: FederationContext, query: PublicRoomsQuery): Promise<PublicRooms> {
  // "Defaults to 0 (no limit)": as many as a page holds.
  const limit = query.limit === undefined || query.limit === 0 ? MAX_PUBLIC_ROOMS : query.limit;
  const listed = await listPublicRooms(ctx, { ...query, limit, federatedOnly: true });
  if (listed.kind === 'invalid') throw invalidParam(listed.reason);
  return listed.body;
}

/** The parameters of the query as the body of a POST has them. */
function bodyOf(query: Record<string, unknown>): JsonObject {
  const { limit, since, include_all_networks: all, third_party_instance_id: network } = query;
  if (limit !== undefined && !(typeof limit === 'string' && /^\d{1,9}$/.test(limit))) {
    throw invalidParam('limit is not an integer');
  }
  return {
    ...(limit !== undefined && { limit: Number(limit) }),
    ...(typeof since === 'string' && since !== '' && { since }),
    ...(all !== undefined && { include_all_networks: all === 'true' }),
    ...(typeof network === 'string' && network !== '' && { third_party_instance_id: network }),
  };
}
