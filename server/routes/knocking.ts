/** https://spec.matrix.org/v1.19/client-server-api/#knocking-on-rooms */

import type { FastifyInstance } from 'fastify';
import { requireRequester } from '../auth/requester.ts';
import { bodyObject, optionalString } from '../body.ts';
import type { ServerContext } from '../context.ts';
import type { Query } from '../query.ts';
import { viaOf } from '../room-params.ts';
import { knockOnRoom } from '../rooms/membership.ts';

/** Asks to be let in, by the id of a room or by an alias. */
export function knockingRoutes(app: FastifyInstance, ctx: ServerContext): void {
  app.post<{ Params: { roomIdOrAlias: string }; Querystring: Query }>(
    '/_matrix/client/v3/knock/:roomIdOrAlias',
    async (request) => {
      const { userId } = await requireRequester(ctx, request);
      ctx.limits.take('join', userId);
      const reason = optionalString(bodyObject(request), 'reason');
      const content = reason === undefined ? {} : { reason };
      const { roomIdOrAlias: room } = request.params;
      return { room_id: await knockOnRoom(ctx, userId, { room, via: viaOf(request.query), content }) };
    },
  );
}
