/**
 * https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidstateeventtypestatekey
 * https://spec.matrix.org/v1.19/client-server-api/#getting-events-for-a-room
 */

import type { FastifyInstance, FastifyRequest } from 'fastify';
import { invalidParam, notFound } from '#federation/errors.ts';
import type { EventId } from '#keys/ids.ts';
import { givenTime } from '../appservices/masquerade.ts';
import { refuseGuestState } from '../auth/guests.ts';
import { requireRequester } from '../auth/requester.ts';
import { bodyObject } from '../body.ts';
import type { ServerContext } from '../context.ts';
import { sendJsonText } from '../json-text.ts';
import { type Query, queryString } from '../query.ts';
import { readableRoom, readableState, readableStateEvents } from '../reading/readable-room.ts';
import { roomIdParam } from '../room-params.ts';
import { delayOf, scheduleForClient } from '../sending/send-delayed.ts';
import { sendStateForClient } from '../sending/send-state.ts';
import { stateTexts } from '../sync/format.ts';

type StateRequest = FastifyRequest<{
  Params: { roomId: string; eventType: string; stateKey?: string };
  Querystring: Query;
}>;

const PATH = '/_matrix/client/v3/rooms/:roomId/state';

/** The state of a room: all of it, one event, and the setting of one. */
export function roomStateRoutes(app: FastifyInstance, ctx: ServerContext): void {
  app.get<{ Params: { roomId: string } }>(PATH, async (request, reply) => {
    const { userId } = await requireRequester(ctx, request);
    ctx.limits.take('history', userId);
    const state = await readableState(ctx, await readableRoom(ctx, userId, request.params.roomId));
    const texts = stateTexts(state, { now: ctx.clock.now(), withRoomId: true });
    return sendJsonText(reply, `[${texts.join(',')}]`);
  });

  for (const path of [`${PATH}/:eventType`, `${PATH}/:eventType/:stateKey`]) {
    app.get(path, async (request: StateRequest, reply) =>
      sendJsonText(reply, await stateEvent(ctx, request)),
    );
    app.put(path, async (request: StateRequest) => setState(ctx, request));
  }
}

/** The content of the event, or the event, as JSON. */
async function stateEvent(ctx: ServerContext, request: StateRequest): Promise<string> {
  const { userId } = await requireRequester(ctx, request);
  const { roomId, eventType: type, stateKey = '' } = request.params;
  const format = queryString(request.query, 'format') ?? 'content';
  if (format !== 'content' && format !== 'event') throw invalidParam('format is neither content nor event');
  const readable = await readableRoom(ctx, userId, roomId);
  const [stored] = await readableStateEvents(ctx, readable, [{ type, stateKey }]);
  if (stored === undefined) throw notFound('The room has no such state');
  if (format === 'content') return JSON.stringify(stored.event.content);
  const [text = ''] = stateTexts([stored], { now: ctx.clock.now(), withRoomId: true });
  return text;
}

async function setState(
  ctx: ServerContext,
  request: StateRequest,
): Promise<{ event_id: EventId } | { delay_id: string }> {
  const requester = await requireRequester(ctx, request);
  const { userId } = requester;
  ctx.limits.take('message', userId);
  const { eventType: type, stateKey = '' } = request.params;
  const delayMs = delayOf(request.query);
  const content = bodyObject(request);
  const roomId = roomIdParam(request.params.roomId);
  await refuseGuestState(ctx, requester, { roomId, type, stateKey, content });
  if (delayMs === undefined) {
    const time = givenTime(requester, request.query);
    return sendStateForClient(ctx, { roomId, sender: userId, type, stateKey, content, ...time });
  }
  return scheduleForClient(ctx, { userId, txn: undefined, roomId, type, stateKey, content, delayMs });
}
