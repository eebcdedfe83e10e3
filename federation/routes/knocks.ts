/** Letting users of other servers knock: https://spec.matrix.org/v1.19/server-server-api/#knocking-rooms */

import type { FastifyInstance } from 'fastify';
import { authenticateOrigin } from '../auth.ts';
import { forbidden, incompatibleRoomVersion, missingParam } from '../errors.ts';
import { pduOf, takeIntoRoom, verifiedMembership } from '../handshakes/handed-in.ts';
import { type HandshakesContext, takeHandshake } from '../handshakes/limit.ts';
import { shownStateOf } from '../handshakes/shown-state.ts';
import { memberTemplate, ownUserParam } from '../member-template.ts';
import { residentRoom } from '../room-params.ts';

/** `GET make_knock/{roomId}/{userId}` and `PUT send_knock/{roomId}/{eventId}`. */
export function knocksRoutes(app: FastifyInstance, ctx: HandshakesContext): void {
  const preHandler = authenticateOrigin(ctx);

  app.get<{ Params: { roomId: string; userId: string }; Querystring: Record<string, unknown> }>(
    '/_matrix/federation/v1/make_knock/:roomId/:userId',
    { preHandler },
    async ({ origin, params, query }) => {
      const userId = ownUserParam(params.userId, origin);
      const room = await residentRoom(ctx, origin, params.roomId);
      const { version, knocking } = room.rules;
      if (query.ver === undefined) throw missingParam('ver');
      const known: readonly unknown[] = Array.isArray(query.ver) ? query.ver : [query.ver];
      if (!known.includes(version)) throw incompatibleRoomVersion(version);
      if (!knocking) throw forbidden(`Nobody knocks on rooms of version ${version}`);
      return memberTemplate(ctx, room, userId, { membership: 'knock' });
    },
  );

  app.put<{ Params: { roomId: string; eventId: string } }>(
    '/_matrix/federation/v1/send_knock/:roomId/:eventId',
    { preHandler },
    async ({ origin, params, rawBody }) => {
      takeHandshake(ctx, origin, params.roomId);
      const room = await residentRoom(ctx, origin, params.roomId);
      const { rules, roomId } = room;
      if (!rules.knocking) throw forbidden(`Nobody knocks on rooms of version ${rules.version}`);
      const expected = { rules, roomId, eventId: params.eventId, origin, membership: 'knock' } as const;
      const knock = await verifiedMembership(ctx, pduOf(rawBody.toString(), rules), expected);
      await takeIntoRoom(ctx, room, knock);
      return { knock_room_state: await shownStateOf(ctx, room) };
    },
  );
}
