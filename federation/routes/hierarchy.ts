/** A space, for other servers: https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1hierarchyroomid */

import type { FastifyInstance } from 'fastify';
import type { RoomId, ServerName } from '#keys/ids.ts';
import type { JsonObject } from '#keys/json.ts';
import { localEntry, localRoom, type SpaceChild } from '#rooms/directory/hierarchy.ts';
import { authenticateOrigin } from '../auth.ts';
import type { FederationContext } from '../context.ts';
import { notFound } from '../errors.ts';
import { roomIdParam } from '../room-params.ts';

/** Of one space, the first ones: the server asks for the others one by one. */
const MOST_CHILDREN = 100;

/** `GET hierarchy/{roomId}`: the room, and the children that the server could come to read; one level only. */
export function hierarchyRoutes(app: FastifyInstance, ctx: FederationContext): void {
  const preHandler = authenticateOrigin(ctx);

  app.get<{ Params: { roomId: string }; Querystring: Record<string, unknown> }>(
    '/_matrix/federation/v1/hierarchy/:roomId',
    { preHandler },
    async ({ origin, params, query }) => {
      const found = await localRoom(ctx, roomIdParam(params.roomId), { server: origin });
      // Alike for a room that does not exist and for one that the server is not to know of.
      if (found.kind !== 'visible') throw notFound('Room does not exist');
      const { entry, children } = found.room;
      const considered = children.filter(({ suggested }) => suggested || query.suggested_only !== 'true');
      return {
        room: { ...entry, children_state: considered.map(({ event }) => event) },
        ...(await childrenFor(ctx, origin, considered.slice(0, MOST_CHILDREN))),
      };
    },
  );
}

async function childrenFor(
  ctx: FederationContext,
  origin: ServerName,
  children: readonly SpaceChild[],
): Promise<{ children: JsonObject[]; inaccessible_children: RoomId[] }> {
  const accessible: JsonObject[] = [];
  const inaccessible: RoomId[] = [];
  for (const { roomId } of children) {
    // One after the other: a single answer must not crowd out all others.
    const found = await localEntry(ctx, roomId, { server: origin });
    if (found.kind === 'visible') accessible.push(found.room.entry);
    if (found.kind === 'inaccessible') inaccessible.push(roomId);
  }
  return { children: accessible, inaccessible_children: inaccessible };
}
