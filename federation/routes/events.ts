/** Events and states by id: https://spec.matrix.org/v1.19/server-server-api/#retrieving-events */

import type { FastifyInstance } from 'fastify';
import type { EventId } from '#keys/ids.ts';
import { authChain } from '#rooms/graph.ts';
import { loadEvent } from '#rooms/load.ts';
import { getRoomByNid, type Room } from '#rooms/room.ts';
import { stateAt } from '#rooms/state.ts';
import { isPlaced, type StoredEvent } from '#rooms/stored-event.ts';
import { getEventForServer, isVisibleTo, roomSharedWith, textsFor } from '../access.ts';
import { authenticateOrigin } from '../auth.ts';
import type { FederationContext } from '../context.ts';
import { missingParam } from '../errors.ts';
import { sendEventLists } from '../event-lists.ts';
import { eventIdParam, noSuchEvent, sharedRoom } from '../room-params.ts';

interface StateRequest {
  Params: { roomId: string };
  Querystring: Record<string, unknown>;
}

/** `GET event/{eventId}`, `GET state/{roomId}` and `GET state_ids/{roomId}`. */
export function eventsRoutes(app: FastifyInstance, ctx: FederationContext): void {
  const preHandler = authenticateOrigin(ctx);

  app.get<{ Params: { eventId: string } }>(
    '/_matrix/federation/v1/event/:eventId',
    { preHandler },
    async (request, reply) => {
      const { origin } = request;
      const { room, stored } = await eventAnywhere(ctx, origin, eventIdParam(request.params.eventId));
      const members = { origin: ctx.serverName, origin_server_ts: ctx.clock.now() };
      return sendEventLists(reply, members, { pdus: await textsFor(ctx, room, origin, [stored]) });
    },
  );

  app.get<StateRequest>('/_matrix/federation/v1/state/:roomId', { preHandler }, async (request, reply) => {
    const stored = await eventWithState(ctx, request);
    const state = await stateAt(ctx, stored, 'before');
    const chain = await authChain(ctx, state.map(eventIdOf));
    return sendEventLists(reply, {}, { pdus: state.map(textOf), auth_chain: chain.map(textOf) });
  });

  app.get<StateRequest>('/_matrix/federation/v1/state_ids/:roomId', { preHandler }, async (request) => {
    const stored = await eventWithState(ctx, request);
    const state = await stateAt(ctx, stored, 'before');
    const chain = await authChain(ctx, state.map(eventIdOf));
    return { pdu_ids: state.map(eventIdOf), auth_chain_ids: chain.map(eventIdOf) };
  });
}

/** An event of any room that the server is in. Not to be told apart: none, of another room, not for this server. */
async function eventAnywhere(
  ctx: FederationContext,
  origin: string,
  eventId: EventId,
): Promise<{ room: Room; stored: StoredEvent }> {
  const found = await loadEvent(ctx, eventId);
  const room = found === undefined ? undefined : await getRoomByNid(ctx, found.roomNid);
  if (room === undefined) throw noSuchEvent();
  const shared = await roomSharedWith(ctx, origin, room.roomId);
  const stored = shared === undefined ? undefined : await getEventForServer(ctx, shared, eventId);
  if (shared === undefined || stored === undefined) throw noSuchEvent();
  return { room: shared, stored };
}

/** The event whose state is asked for: one that the server may see, and whose state we know. */
async function eventWithState(
  ctx: FederationContext,
  request: { origin: string; params: { roomId: string }; query: Record<string, unknown> },
): Promise<StoredEvent> {
  const room = await sharedRoom(ctx, request.origin, request.params.roomId);
  const { event_id: eventId } = request.query;
  if (typeof eventId !== 'string') throw missingParam('event_id');
  const stored = await getEventForServer(ctx, room, eventIdParam(eventId));
  if (stored === undefined || !isPlaced(stored)) throw noSuchEvent();
  if (!(await isVisibleTo(ctx, room, request.origin, stored))) throw noSuchEvent();
  return stored;
}

function textOf({ event }: StoredEvent): string {
  return event.json;
}

function eventIdOf({ event }: StoredEvent): EventId {
  return event.eventId;
}
