/** https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidtimestamp_to_event */

import type { FastifyInstance } from 'fastify';
import { invalidParam, notFound } from '#federation/errors.ts';
import { fetchHistoryAt } from '#federation/history/at-time.ts';
import type { UserId } from '#keys/ids.ts';
import { eventAtTime, gapAt, type TimeQuery } from '#rooms/event-at-time.ts';
import { isInRoom } from '#rooms/room.ts';
import type { StoredEvent } from '#rooms/stored-event.ts';
import { requireRequester } from '../auth/requester.ts';
import type { ServerContext } from '../context.ts';
import { type Query, requiredQuery } from '../query.ts';
import { type ReadableRoom, readableRoom } from '../reading/readable-room.ts';

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
      const readable = await readableRoom(ctx, userId, request.params.roomId);
      const found = await eventAt(ctx, readable, { viewer: { userId }, ts, direction });
      if (found === undefined) throw notFound(`No event from ${ts} in direction ${direction}`);
      return { event_id: found.event.eventId, origin_server_ts: found.event.originServerTs };
    },
  );
}

/** Where history is missing at that time, other servers are asked for it first. */
async function eventAt(
  ctx: ServerContext,
  { room, left }: ReadableRoom,
  query: TimeQuery & { readonly viewer: { readonly userId: UserId } },
): Promise<StoredEvent | undefined> {
  const { viewer, ts, direction } = query;
  const found = await eventAtTime(ctx, room.roomNid, query);
  // Who has left sees nothing that comes in now, and only members are told of a room.
  const gap = left === undefined && (await isInRoom(ctx, room)) && (await gapAt(ctx, room.roomNid, ts));
  if (!gap) return found;
  ctx.limits.take('directory', viewer.userId);
  const nearestTs = found?.event.originServerTs;
  const isFetched = await fetchHistoryAt(ctx, room, { ts, direction, nearestTs, gap });
  return isFetched ? eventAtTime(ctx, room.roomNid, query) : found;
}
