/** Queries of other servers: https://spec.matrix.org/v1.19/server-server-api/#querying-for-information */

import type { FastifyInstance } from 'fastify';
import { belongsTo, isRoomAlias, isUserId } from '#keys/ids.ts';
import { type JsonObject, own } from '#keys/json.ts';
import * as profiles from '#storage/profiles.ts';
import { authenticateOrigin } from '../auth.ts';
import type { FederationContext } from '../context.ts';
import { resolveLocalAlias } from '../directory.ts';
import { invalidParam, missingParam, notFound } from '../errors.ts';
import { ownUser } from '../own-user.ts';

interface Query {
  Querystring: Record<string, unknown>;
}

/** `GET query/profile` and `GET query/directory`. */
export function queryRoutes(app: FastifyInstance, ctx: FederationContext): void {
  const preHandler = authenticateOrigin(ctx);

  app.get<Query>('/_matrix/federation/v1/query/profile', { preHandler }, async ({ query }) => {
    const { user_id: userId, field } = query;
    if (userId === undefined) throw missingParam('user_id');
    if (!isUserId(userId)) throw invalidParam('Not a user id');
    // "MUST be a user local to the receiving homeserver."
    const user = belongsTo(userId, ctx.serverName) ? await ownUser(ctx, userId) : undefined;
    if (user === undefined || user.deactivatedTs !== undefined) throw notFound('There is no such user');
    const profile: JsonObject = await profiles.of(ctx.db, userId);
    return typeof field === 'string' ? fieldOf(profile, field) : profile;
  });

  app.get<Query>('/_matrix/federation/v1/query/directory', { preHandler }, async ({ query }) => {
    const { room_alias: alias } = query;
    if (alias === undefined) throw missingParam('room_alias');
    if (!isRoomAlias(alias)) throw invalidParam('Not a room alias');
    const resolved = belongsTo(alias, ctx.serverName) ? await resolveLocalAlias(ctx, alias) : undefined;
    if (resolved === undefined) throw notFound('Room alias not found');
    return { room_id: resolved.roomId, servers: resolved.servers };
  });
}

/** "If specified, the server MUST only return the given field in the response." */
function fieldOf(profile: JsonObject, field: string): JsonObject {
  const value = own(profile, field);
  return value === undefined ? {} : { [field]: value };
}
