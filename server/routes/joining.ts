/** https://spec.matrix.org/v1.19/client-server-api/#joining-rooms */

import type { FastifyInstance, FastifyRequest } from 'fastify';
import { badJson } from '#federation/errors.ts';
import { isUserId } from '#keys/ids.ts';
import { type JsonObject, own } from '#keys/json.ts';
import { refuseGuest } from '../auth/guests.ts';
import { requireRequester } from '../auth/requester.ts';
import { bodyObject, optionalObject, optionalString } from '../body.ts';
import type { ServerContext } from '../context.ts';
import type { Query } from '../query.ts';
import { roomIdParam, viaOf } from '../room-params.ts';
import { joinRoom, type WantedRoom } from '../rooms/membership.ts';

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
  const requester = await requireRequester(ctx, request);
  const { userId } = requester;
  ctx.limits.take('join', userId);
  await refuseGuest(ctx, requester, room);
  const body = bodyObject(request);
  const content = contentOf(body);
  const thirdPartySigned = thirdPartySignedIn(body);
  return {
    room_id: await joinRoom(ctx, userId, { room, via: viaOf(request.query), content, thirdPartySigned }),
  };
}

/** The reason, and keys of the client's own, which clients expect to find in the member event. */
function contentOf(body: JsonObject): JsonObject {
  const { third_party_signed: _, membership: _membership, reason: _reason, ...own } = body;
  const reason = optionalString(body, 'reason');
  return { ...own, ...(reason !== undefined && { reason }) };
}

/** "A signature of an `m.third_party_invite` token to prove that this user owns a third-party identity". */
function thirdPartySignedIn(body: JsonObject): WantedRoom['thirdPartySigned'] {
  const signed = optionalObject(body, 'third_party_signed');
  if (signed === undefined) return undefined;
  const sender = own(signed, 'sender');
  if (!isUserId(sender)) throw badJson('third_party_signed has no sender');
  return { sender, signed };
}
