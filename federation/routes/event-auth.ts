import type { FastifyInstance } from 'fastify';
import { authChain } from '#rooms/graph.ts';
import { getEventForServer } from '../access.ts';
import { authenticateOrigin } from '../auth.ts';
import type { FederationContext } from '../context.ts';
import { sendEventLists } from '../event-lists.ts';
import { eventIdParam, noSuchEvent, sharedRoom } from '../room-params.ts';

/** `GET event_auth/{roomId}/{eventId}`: https://spec.matrix.org/v1.19/server-server-api/#retrieving-event-authorisation-information */
export function eventAuthRoutes(app: FastifyInstance, ctx: FederationContext): void {
  app.get<{ Params: { roomId: string; eventId: string } }>(
    '/_matrix/federation/v1/event_auth/:roomId/:eventId',
    { preHandler: authenticateOrigin(ctx) },
    async (request, reply) => {
      const { roomId, eventId } = request.params;
      const room = await sharedRoom(ctx, request.origin, roomId);
      const stored = await getEventForServer(ctx, room, eventIdParam(eventId));
      if (stored === undefined) throw noSuchEvent();
      const chain = await authChain(ctx, [stored.event.eventId]);
      return sendEventLists(reply, {}, { auth_chain: chain.map(({ event }) => event.json) });
    },
  );
}
