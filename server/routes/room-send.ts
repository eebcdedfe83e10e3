/** https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidsendeventtypetxnid */

import type { FastifyInstance } from 'fastify';
import { requireRequester } from '../auth/requester.ts';
import { bodyObject } from '../body.ts';
import type { ServerContext } from '../context.ts';
import { roomIdParam } from '../room-params.ts';
import { sendForClient } from '../sent.ts';

interface SendParams {
  roomId: string;
  eventType: string;
  txnId: string;
}

/** Message events, once for each transaction id of a device. */
export function roomSendRoutes(app: FastifyInstance, ctx: ServerContext): void {
  app.put<{ Params: SendParams }>(
    '/_matrix/client/v3/rooms/:roomId/send/:eventType/:txnId',
    async (request) => {
      const { userId, deviceId } = await requireRequester(ctx, request);
      ctx.limits.take('message', userId);
      ctx.presence.active({ userId, deviceId });
      const { roomId, eventType, txnId } = request.params;
      return sendForClient(ctx, {
        roomId: roomIdParam(roomId),
        sender: userId,
        type: eventType,
        content: bodyObject(request),
        txn: { deviceId, txnId },
      });
    },
  );
}
