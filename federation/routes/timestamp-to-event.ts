/** https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1timestamp_to_eventroomid */

import type { FastifyInstance } from 'fastify';
import { eventAtTime } from '#rooms/event-at-time.ts';
import { authenticateOrigin } from '../auth.ts';
import type { FederationContext } from '../context.ts';
import { invalidParam, missingParam, notFound } from '../errors.ts';
import { sharedRoom } from '../room-params.ts';

const INTEGER = /^\d{1,15}$/;

/** `GET timestamp_to_event/{roomId}`: of the events that the server may see. */
export function timestampToEventRoutes(app: FastifyInstance, ctx: FederationContext): void {
  const preHandler = authenticateOrigin(ctx);

  app.get<{ Params: { roomId: string }; Querystring: Record<string, unknown> }>(
    '/_matrix/federation/v1/timestamp_to_event/:roomId',
    { preHandler },
    async ({ origin, params, query }) => {
      const room = await sharedRoom(ctx, origin, params.roomId);
      const { ts: time, dir: direction } = query;
      if (time === undefined) throw missingParam('ts');
      if (direction === undefined) throw missingParam('dir');
      if (typeof time !== 'string' || !INTEGER.test(time)) {
        throw invalidParam('ts must be a time in milliseconds since 1970');
      }
      if (direction !== 'b' && direction !== 'f') throw invalidParam('dir is neither b nor f');
      const ts = Number(time);
      const found = await eventAtTime(ctx, room.roomNid, { viewer: { server: origin }, ts, direction });
      if (found === undefined) throw notFound(`No event from ${ts} in direction ${direction}`);
      return { event_id: found.event.eventId, origin_server_ts: found.event.originServerTs };
    },
  );
}
