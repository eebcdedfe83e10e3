/** Letting users of other servers go: https://spec.matrix.org/v1.19/server-server-api/#leaving-rooms-rejecting-invites */

import type { FastifyInstance } from 'fastify';
import { authenticateOrigin } from '../auth.ts';
import { pduOf, takeIntoRoom, verifiedMembership } from '../handshakes/handed-in.ts';
import { type HandshakesContext, takeHandshake } from '../handshakes/limit.ts';
import { memberTemplate, ownUserParam } from '../member-template.ts';
import { residentRoom } from '../room-params.ts';

/** `GET make_leave/{roomId}/{userId}`, and `PUT send_leave/{roomId}/{eventId}` of v2 and of v1. */
export function leavingRoutes(app: FastifyInstance, ctx: HandshakesContext): void {
  const preHandler = authenticateOrigin(ctx);

  app.get<{ Params: { roomId: string; userId: string } }>(
    '/_matrix/federation/v1/make_leave/:roomId/:userId',
    { preHandler },
    async ({ origin, params }) => {
      const userId = ownUserParam(params.userId, origin);
      const room = await residentRoom(ctx, origin, params.roomId);
      return memberTemplate(ctx, room, userId, { membership: 'leave' });
    },
  );

  for (const version of ['v1', 'v2']) {
    app.put<{ Params: { roomId: string; eventId: string } }>(
      `/_matrix/federation/${version}/send_leave/:roomId/:eventId`,
      { preHandler },
      async (request) => {
        const { origin, params } = request;
        takeHandshake(ctx, origin, params.roomId);
        const { rules, roomId, ...room } = await residentRoom(ctx, origin, params.roomId);
        const expected = { rules, roomId, eventId: params.eventId, origin, membership: 'leave' } as const;
        const pdu = pduOf(request.rawBody.toString(), rules);
        const leave = await verifiedMembership(ctx, pdu, expected);
        await takeIntoRoom(ctx, { rules, roomId, ...room }, leave);
        return version === 'v1' ? [200, {}] : {};
      },
    );
  }
}
