/** https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1room_summaryroomidoralias */

import type { FastifyInstance } from 'fastify';
import { resolveAlias } from '#federation/directory.ts';
import { invalidParam, notFound } from '#federation/errors.ts';
import { belongsTo, isRoomAlias, isRoomId, type RoomId } from '#keys/ids.ts';
import { getRoom, isInRoom } from '#rooms/room.ts';
import { accessOf } from '#rooms/room-access.ts';
import { entryOf } from '#rooms/room-entry.ts';
import * as memberships from '#storage/memberships.ts';
import { requireRequester } from '../auth/requester.ts';
import type { ServerContext } from '../context.ts';

/** What a room is, for one who thinks of joining it. */
export function roomSummaryRoutes(app: FastifyInstance, ctx: ServerContext): void {
  app.get<{ Params: { roomIdOrAlias: string } }>(
    '/_matrix/client/v1/room_summary/:roomIdOrAlias',
    async (request) => {
      const { userId } = await requireRequester(ctx, request);
      const roomId = await roomIdOf(ctx, userId, request.params.roomIdOrAlias);
      const room = roomId === undefined ? undefined : await getRoom(ctx, roomId);
      // Of a room that this server is not in it knows nothing that is still true.
      if (room === undefined || !(await isInRoom(ctx, room))) throw notFound('Room not found');
      // Alike for a room that does not exist and for one that is none of the user's business.
      if ((await accessOf(ctx, room, { userId })) === undefined) throw notFound('Room not found');
      const member = await memberships.of(ctx.db, room.roomNid, userId);
      return { ...(await entryOf(ctx, room)), membership: member?.membership ?? 'leave' };
    },
  );
}

async function roomIdOf(ctx: ServerContext, userId: string, room: string): Promise<RoomId | undefined> {
  if (isRoomId(room)) return room;
  if (!isRoomAlias(room)) throw invalidParam('Neither a room ID nor a room alias');
  if (!belongsTo(room, ctx.serverName)) ctx.limits.take('directory', userId);
  return (await resolveAlias(ctx, room))?.roomId;
}
