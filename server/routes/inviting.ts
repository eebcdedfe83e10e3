/**
 * https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidinvite
 * https://spec.matrix.org/v1.19/client-server-api/#thirdparty_post_matrixclientv3roomsroomidinvite
 */

import type { FastifyInstance } from 'fastify';
import { own } from '#keys/json.ts';
import { requireRequester } from '../auth/requester.ts';
import { bodyObject, optionalString, requiredString } from '../body.ts';
import type { ServerContext } from '../context.ts';
import { inviteAddress, invitedAddress } from '../identity/invite-address.ts';
import { joinedRoom, userIdParam } from '../room-params.ts';
import { inviteOther } from '../rooms/membership.ts';

/** Invitations by user id, and by address. */
export function invitingRoutes(app: FastifyInstance, ctx: ServerContext): void {
  app.post<{ Params: { roomId: string } }>('/_matrix/client/v3/rooms/:roomId/invite', async (request) => {
    const { userId: sender } = await requireRequester(ctx, request);
    const body = bodyObject(request);
    const reason = optionalString(body, 'reason');
    const content = reason === undefined ? {} : { reason };
    if (own(body, 'user_id') === undefined && own(body, 'medium') !== undefined) {
      const invited = invitedAddress(ctx, body);
      ctx.limits.take('invite', sender);
      ctx.limits.take('identity', sender);
      const room = await joinedRoom(ctx, sender, request.params.roomId);
      await inviteAddress(ctx, sender, { room, invited, content });
      return {};
    }
    const target = userIdParam(requiredString(body, 'user_id'));
    ctx.limits.take('invite', sender);
    const { roomId } = await joinedRoom(ctx, sender, request.params.roomId);
    await inviteOther(ctx, sender, { roomId, target, content });
    return {};
  });
}
