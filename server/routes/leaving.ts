/** https://spec.matrix.org/v1.19/client-server-api/#leaving-rooms */

import type { FastifyInstance } from 'fastify';
import { forbidden, notFound, unknown } from '#federation/errors.ts';
import { getRoom } from '#rooms/room.ts';
import * as memberships from '#storage/memberships.ts';
import { requireRequester } from '../auth/requester.ts';
import { bodyObject, optionalString } from '../body.ts';
import type { ServerContext } from '../context.ts';
import { refuseToDecline } from '../notices.ts';
import { roomIdParam } from '../room-params.ts';
import { leaveRoom } from '../rooms/membership.ts';

/** Leaving a room, or declining an invitation to it; and forgetting what was left. */
export function leavingRoutes(app: FastifyInstance, ctx: ServerContext): void {
  app.post<{ Params: { roomId: string } }>('/_matrix/client/v3/rooms/:roomId/leave', async (request) => {
    const { userId } = await requireRequester(ctx, request);
    ctx.limits.take('moderation', userId);
    const reason = optionalString(bodyObject(request), 'reason');
    const roomId = roomIdParam(request.params.roomId);
    const room = await getRoom(ctx, roomId);
    const member = room && (await memberships.of(ctx.db, room.roomNid, userId));
    if (member === undefined) throw forbidden('You are not in this room');
    // Left already: asked again, since the first answer may have been lost.
    if (member.membership === 'leave') return {};
    await refuseToDecline(ctx, userId, roomId);
    await leaveRoom(ctx, userId, { roomId, reason });
    return {};
  });

  app.post<{ Params: { roomId: string } }>('/_matrix/client/v3/rooms/:roomId/forget', async (request) => {
    const { userId } = await requireRequester(ctx, request);
    ctx.limits.take('moderation', userId);
    const roomId = roomIdParam(request.params.roomId);
    const room = await getRoom(ctx, roomId);
    const member = room && (await memberships.of(ctx.db, room.roomNid, userId));
    if (room === undefined || member === undefined) throw notFound('You were never in this room');
    if (member.membership !== 'leave' && member.membership !== 'ban') {
      throw unknown(400, `User ${userId} is in room ${roomId}`);
    }
    await ctx.db.write('rooms.forget', async (tx) => {
      await memberships.forget(tx, room.roomNid, userId);
      // So that what is known of the user's rooms is read again.
      ctx.streams.allocate(tx, [`user:${userId}`]);
    });
    return {};
  });
}
