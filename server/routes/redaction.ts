/** https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidredacteventidtxnid */

import type { FastifyInstance } from 'fastify';
import { userSuspended } from '#federation/errors.ts';
import type { UserId } from '#keys/ids.ts';
import { requireRequester } from '../auth/requester.ts';
import { bodyObject, optionalString } from '../body.ts';
import type { ServerContext } from '../context.ts';
import { visibleEvent } from '../reading/visible-event.ts';
import { eventIdParam, roomIdParam } from '../room-params.ts';
import { sendForClient } from '../sending/sent.ts';

interface RedactParams {
  roomId: string;
  eventId: string;
  txnId: string;
}

/** Redaction of an event. */
export function redactionRoutes(app: FastifyInstance, ctx: ServerContext): void {
  app.put<{ Params: RedactParams }>(
    '/_matrix/client/v3/rooms/:roomId/redact/:eventId/:txnId',
    async (request) => {
      const { userId, deviceId, isSuspended } = await requireRequester(ctx, request);
      ctx.limits.take('message', userId);
      const { roomId, eventId, txnId } = request.params;
      if (isSuspended) await refuseOthers(ctx, userId, request.params);
      const reason = optionalString(bodyObject(request), 'reason');
      return sendForClient(ctx, {
        roomId: roomIdParam(roomId),
        sender: userId,
        type: 'm.room.redaction',
        content: reason === undefined ? {} : { reason },
        redacts: eventIdParam(eventId),
        txn: { deviceId, txnId },
      });
    },
  );
}

/** Who is suspended may redact "their own events". */
async function refuseOthers(ctx: ServerContext, userId: UserId, params: RedactParams): Promise<void> {
  const { event } = await visibleEvent(ctx, userId, params);
  if (event.sender !== userId) throw userSuspended();
}
