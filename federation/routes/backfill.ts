/** The past of a room: https://spec.matrix.org/v1.19/server-server-api/#backfilling-and-retrieving-missing-events */

import type { FastifyInstance } from 'fastify';
import { type EventId, isEventId } from '#keys/ids.ts';
import { integerAt, isObject, own } from '#keys/json.ts';
import { backfillEvents, missingEvents } from '#rooms/graph.ts';
import { textsFor } from '../access.ts';
import { authenticateOrigin } from '../auth.ts';
import type { FederationContext } from '../context.ts';
import { badJson, invalidParam, missingParam } from '../errors.ts';
import { sendEventLists } from '../event-lists.ts';
import { sharedRoom } from '../room-params.ts';

const MAX_BACKFILL = 100;
const MAX_MISSING = 20;
/** "Defaults to 10." */
const DEFAULT_MISSING = 10;
/** Events that one request may name. */
const MOST_NAMED = 100;

/** `GET backfill/{roomId}` and `POST get_missing_events/{roomId}`. */
export function backfillRoutes(app: FastifyInstance, ctx: FederationContext): void {
  const preHandler = authenticateOrigin(ctx);

  app.get<{ Params: { roomId: string }; Querystring: Record<string, unknown> }>(
    '/_matrix/federation/v1/backfill/:roomId',
    { preHandler },
    async (request, reply) => {
      const { origin, query } = request;
      const room = await sharedRoom(ctx, origin, request.params.roomId);
      if (query.v === undefined) throw missingParam('v');
      const from = eventIdsOf(Array.isArray(query.v) ? query.v : [query.v], 'v');
      const events = await backfillEvents(ctx, room, from, limitOf(query.limit));
      const members = { origin: ctx.serverName, origin_server_ts: ctx.clock.now() };
      return sendEventLists(reply, members, { pdus: await textsFor(ctx, room, origin, events) });
    },
  );

  app.post<{ Params: { roomId: string } }>(
    '/_matrix/federation/v1/get_missing_events/:roomId',
    { preHandler },
    async (request, reply) => {
      const { origin, body } = request;
      const room = await sharedRoom(ctx, origin, request.params.roomId);
      if (!isObject(body)) throw badJson('The body is not an object');
      const limit = integerAt(body, 'limit') ?? DEFAULT_MISSING;
      const events = await missingEvents(ctx, room, {
        latest: eventIdsOf(own(body, 'latest_events'), 'latest_events'),
        earliest: eventIdsOf(own(body, 'earliest_events'), 'earliest_events'),
        limit: Math.min(Math.max(limit, 0), MAX_MISSING),
        minDepth: integerAt(body, 'min_depth') ?? 0,
      });
      return sendEventLists(reply, {}, { events: await textsFor(ctx, room, origin, events) });
    },
  );
}

function limitOf(limit: unknown): number {
  if (typeof limit !== 'string' || !/^\d{1,9}$/.test(limit)) throw invalidParam('limit is not an integer');
  return Math.min(Number(limit), MAX_BACKFILL);
}

function eventIdsOf(list: unknown, name: string): EventId[] {
  if (!Array.isArray(list) || !list.every(isEventId)) throw badJson(`${name} is not a list of event ids`);
  return list.slice(0, MOST_NAMED);
}
