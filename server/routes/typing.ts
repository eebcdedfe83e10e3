/** https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidtypinguserid */

import type { FastifyInstance } from 'fastify';
import { badJson, forbidden } from '#federation/errors.ts';
import { requireRequester } from '../auth/requester.ts';
import { bodyObject, optionalBoolean, optionalInteger } from '../body.ts';
import type { ServerContext } from '../context.ts';
import { joinedRoom } from '../room-params.ts';

const DEFAULT_TIMEOUT_MS = 30_000;

/** That the user types, or has stopped. */
export function typingRoutes(app: FastifyInstance, ctx: ServerContext): void {
  app.put<{ Params: { roomId: string; userId: string } }>(
    '/_matrix/client/v3/rooms/:roomId/typing/:userId',
    async (request) => {
      const { userId, deviceId } = await requireRequester(ctx, request);
      if (request.params.userId !== userId) throw forbidden('You can only say that you type yourself');
      ctx.limits.take('ephemeral', userId);
      const body = bodyObject(request);
      const typing = optionalBoolean(body, 'typing');
      if (typing === undefined) throw badJson('typing must be a boolean');
      const { roomId } = await joinedRoom(ctx, userId, request.params.roomId);
      ctx.presence.active({ userId, deviceId });
      ctx.typing.set({ roomId, userId, typing }, optionalInteger(body, 'timeout') ?? DEFAULT_TIMEOUT_MS);
      return {};
    },
  );
}
