/** https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidsendeventtypetxnid */

import type { FastifyInstance } from 'fastify';
import type { JsonObject } from '#keys/json.ts';
import type { NewDelayedEvent } from '#storage/delayed-events.ts';
import { givenTime } from '../appservices/masquerade.ts';
import { requireRequester } from '../auth/requester.ts';
import { bodyObject } from '../body.ts';
import type { ServerContext } from '../context.ts';
import type { Query } from '../query.ts';
import { roomIdParam } from '../room-params.ts';
import { delayOf, scheduleForClient, stickyOf } from '../sending/send-delayed.ts';
import { contentToSend, sendForClient } from '../sending/sent.ts';

interface SendParams {
  roomId: string;
  eventType: string;
  txnId: string;
}

/** Message events, once for each transaction id of a device. */
export function roomSendRoutes(app: FastifyInstance, ctx: ServerContext): void {
  app.put<{ Params: SendParams; Querystring: Query }>(
    '/_matrix/client/v3/rooms/:roomId/send/:eventType/:txnId',
    async (request) => {
      const requester = await requireRequester(ctx, request);
      const { userId, deviceId } = requester;
      ctx.limits.take('message', userId);
      ctx.presence.active({ userId, deviceId });
      const { eventType: type, txnId } = request.params;
      const roomId = roomIdParam(request.params.roomId);
      const delayMs = delayOf(request.query);
      const stickyMs = stickyOf(request.query);
      if (delayMs !== undefined) {
        const txn = JSON.stringify([deviceId, 'send', roomId, type, txnId]);
        const content = () => bodyObject(request);
        return scheduleOnce(ctx, { userId, txn, roomId, type, delayMs, stickyMs }, content);
      }
      const draft = {
        roomId,
        sender: userId,
        type,
        txn: { deviceId, txnId },
        stickyMs,
        ...givenTime(requester, request.query),
      };
      return sendForClient(ctx, { ...draft, ...contentToSend(type, bodyObject(request)) });
    },
  );
}

/** The same request again is answered as before, whatever its body is now. */
async function scheduleOnce(
  ctx: ServerContext,
  event: Omit<NewDelayedEvent, 'delayId' | 'sinceTs' | 'stateKey' | 'content'> & { readonly txn: string },
  content: () => JsonObject,
): Promise<{ delay_id: string }> {
  const known = await ctx.delayedEvents.ofTransaction(event.userId, event.txn);
  if (known !== undefined) return { delay_id: known };
  return scheduleForClient(ctx, { ...event, stateKey: undefined, content: content() });
}
