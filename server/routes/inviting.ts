/** https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidinvite */

import type { FastifyInstance } from 'fastify';
import { notFound, threepidDenied } from '#federation/errors.ts';
import { ownUser } from '#federation/own-user.ts';
import { belongsTo } from '#keys/ids.ts';
import { own } from '#keys/json.ts';
import { requireRequester } from '../auth/requester.ts';
import { bodyObject, optionalString, requiredString } from '../body.ts';
import type { ServerContext } from '../context.ts';
import { inviteUser } from '../membership.ts';
import { joinedRoom, userIdParam } from '../room-params.ts';

/** Invitations by user id. */
export function invitingRoutes(app: FastifyInstance, ctx: ServerContext): void {
  app.post<{ Params: { roomId: string } }>('/_matrix/client/v3/rooms/:roomId/invite', async (request) => {
    const { userId: sender } = await requireRequester(ctx, request);
    const body = bodyObject(request);
    if (own(body, 'user_id') === undefined && own(body, 'medium') !== undefined) {
      throw threepidDenied('This server invites by user ID only');
    }
    const target = userIdParam(requiredString(body, 'user_id'));
    ctx.limits.take('invite', sender);
    ctx.limits.take('invite_user', target, sender);
    const reason = optionalString(body, 'reason');
    const { roomId } = await joinedRoom(ctx, sender, request.params.roomId);
    if (belongsTo(target, ctx.serverName) && (await ownUser(ctx, target)) === undefined) {
      throw notFound('There is no such user');
    }
    await inviteUser(ctx, sender, { roomId, target, content: reason === undefined ? {} : { reason } });
    return {};
  });
}
