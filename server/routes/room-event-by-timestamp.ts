/** https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidtimestamp_to_event */

import type { FastifyInstance } from 'fastify';
import { invalidParam, notFound } from '#federation/errors.ts';
import { eventAtTime } from '#rooms/event-at-time.ts';
import { requireRequester } from '../auth/requester.ts';
import type { ServerContext } from '../context.ts';
import { type Query, requiredQuery } from '../query.ts';
import { readableRoom } from '../readable-room.ts';

const INTEGER = /^\d{1,15}$/;

/** The event nearest to a time. */
export function roomEventByTimestampRoutes(app: FastifyInstance, ctx: ServerContext): void {
  app.get<{ Params: { roomId: string }; Querystring: Query }>(
    '/_matrix/client/v1/rooms/:roomId/timestamp_to_event',
    async (request) => {
      const { userId } = await requireRequester(ctx, request);
      const time = requiredQuery(request.query, 'ts');
      if (!INTEGER.test(time)) throw invalidParam('ts must be a time in milliseconds since 1970');
      const ts = Number(time);
      const direction = requiredQuery(request.query, 'dir');
      if (direction !== 'b' && direction !== 'f') throw invalidParam('dir is neither b nor f');
      const { room } = await readableRoom(ctx, userId, request.params.roomId);
      const found = await eventAtTime(ctx, room.roomNid, { userId, ts, direction });
      if (found === undefined) throw notFound(`No event from ${ts} in direction ${direction}`);
      return { event_id: found.event.eventId, origin_server_ts: found.event.originServerTs };
    },
  );
}
