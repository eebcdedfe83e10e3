/** https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidread_markers */

import type { FastifyInstance } from 'fastify';
import type { EventId } from '#keys/ids.ts';
import type { JsonObject } from '#keys/json.ts';
import { requireRequester } from '../auth/requester.ts';
import { bodyObject, optionalString } from '../body.ts';
import type { ServerContext } from '../context.ts';
import { requireInRoom, setFullyRead, setReceipt } from '../reading/read-markers.ts';
import { eventIdParam, joinedRoom } from '../room-params.ts';

const MARKERS = ['m.fully_read', 'm.read', 'm.read.private'] as const;

/** The fully-read marker and unthreaded receipts, in one request. */
export function readMarkersRoutes(app: FastifyInstance, ctx: ServerContext): void {
  app.post<{ Params: { roomId: string } }>(
    '/_matrix/client/v3/rooms/:roomId/read_markers',
    async (request) => {
      const { userId, deviceId } = await requireRequester(ctx, request);
      ctx.limits.take('ephemeral', userId);
      ctx.presence.active({ userId, deviceId });
      const body = bodyObject(request);
      const room = await joinedRoom(ctx, userId, request.params.roomId);
      const markers = MARKERS.flatMap((type) => {
        const eventId = markerOf(body, type);
        return eventId === undefined ? [] : [{ type, eventId }];
      });
      for (const { eventId } of markers) await requireInRoom(ctx, room, eventId);
      for (const { type, eventId } of markers) {
        if (type === 'm.fully_read') await setFullyRead(ctx, room, userId, eventId);
        else await setReceipt(ctx, room, userId, { type, eventId, threadId: '' });
      }
      return {};
    },
  );
}

function markerOf(body: JsonObject, key: string): EventId | undefined {
  const value = optionalString(body, key);
  return value === undefined ? undefined : eventIdParam(value);
}
