/** Events that are sent later: MSC4140, under its unstable names. */

import type { FastifyInstance, FastifyRequest } from 'fastify';
import { invalidParam, missingParam, notFound, unknown, unrecognized } from '#federation/errors.ts';
import type { JsonObject } from '#keys/json.ts';
import * as delayedEvents from '#storage/delayed-events.ts';
import { requireRequester } from '../auth/requester.ts';
import { bodyObject, optionalInteger, optionalObject, optionalString, requiredString } from '../body.ts';
import type { ServerContext } from '../context.ts';
import type { Query } from '../query.ts';
import { roomIdParam } from '../room-params.ts';
import { type DelayAction, delayActions } from '../sending/delayed-events.ts';
import { scheduleForClient, stickyOf } from '../sending/send-delayed.ts';

const PREFIX = '/_matrix/client/unstable/org.matrix.msc4140';
const LONGEST_ID = 255;

type ActionRequest = FastifyRequest<{ Params: { delayId: string } }>;

/** Scheduling of events, a look at those that wait, and what may be done with one by who knows its id. */
export function delayedEventsRoutes(app: FastifyInstance, ctx: ServerContext): void {
  app.put<{ Params: { roomId: string; eventType: string; txnId: string }; Querystring: Query }>(
    `${PREFIX}/rooms/:roomId/delayed_event/:eventType/:txnId`,
    async (request) => {
      const { userId, deviceId } = await requireRequester(ctx, request);
      ctx.limits.take('message', userId);
      const { eventType: type, txnId } = request.params;
      const roomId = roomIdParam(request.params.roomId);
      const body = bodyObject(request);
      const delayMs = optionalInteger(body, 'delay_ms');
      const content = optionalObject(body, 'content');
      if (delayMs === undefined) throw missingParam('delay_ms');
      if (content === undefined) throw missingParam('content');
      const txn = JSON.stringify([deviceId, 'delayed_event', roomId, type, txnId]);
      const stateKey = optionalString(body, 'state_key');
      const stickyMs = stickyOf(request.query);
      if (stickyMs !== undefined && stateKey !== undefined)
        throw invalidParam('State events are not sent as sticky');
      return scheduleForClient(ctx, { userId, txn, roomId, type, stateKey, content, delayMs, stickyMs });
    },
  );

  app.get(`${PREFIX}/delayed_events`, async (request) => {
    const { userId } = await requireRequester(ctx, request);
    ctx.limits.take('delayed_event', userId);
    return { delayed_events: (await delayedEvents.scheduled(ctx.db, userId)).map(shown) };
  });

  app.get<{ Params: { delayId: string } }>(`${PREFIX}/delayed_events/:delayId`, async (request) => {
    const { userId } = await requireRequester(ctx, request);
    ctx.limits.take('delayed_event', userId);
    const event = await delayedEvents.of(ctx.db, delayIdParam(request.params.delayId));
    if (event?.userId !== userId) throw notFound('No such delayed event');
    return shown(event);
  });

  app.post<{ Params: { delayId: string; action: string } }>(
    `${PREFIX}/delayed_events/:delayId/:action`,
    async (request) => {
      const action = delayActions.find((known) => known === request.params.action);
      if (action === undefined) throw unrecognized();
      return act(ctx, request, action);
    },
  );

  // As it was asked for before each action had its path.
  app.post(`${PREFIX}/delayed_events/:delayId`, async (request: ActionRequest) => {
    const word = requiredString(bodyObject(request), 'action');
    const action = delayActions.find((known) => known === word);
    if (action === undefined) throw invalidParam(`action is none of ${delayActions.join(', ')}`);
    return act(ctx, request, action);
  });
}

/** No access token is needed: "the `delay_id` [...] also behaves as a scoped access token". */
async function act(
  ctx: ServerContext,
  request: ActionRequest,
  action: DelayAction,
): Promise<Record<string, never>> {
  const delayId = delayIdParam(request.params.delayId);
  ctx.limits.check('delay_guess', request.ip);
  // By the event, not the address: one service may keep the calls of many alive.
  ctx.limits.take('delayed_event', delayId);
  const acted = await ctx.delayedEvents.act(delayId, action);
  switch (acted.kind) {
    case 'done':
      return {};
    case 'not_found':
      ctx.limits.take('delay_guess', request.ip);
      throw notFound('No such delayed event');
    case 'conflict':
      throw unknown(409, acted.reason);
  }
}

function delayIdParam(text: string): string {
  if (text.length > LONGEST_ID) throw notFound('No such delayed event');
  return text;
}

/** With the names of the time before beside those of today, which clients read. */
function shown(event: delayedEvents.DelayedEvent): JsonObject {
  const { delayId, roomId, type, stateKey, content, delayMs, sinceTs, finalised } = event;
  return {
    delay_id: delayId,
    room_id: roomId,
    type,
    ...(stateKey !== undefined && { state_key: stateKey }),
    content,
    delay_ms: delayMs,
    delayed_since_ts: sinceTs,
    delay: delayMs,
    running_since: sinceTs,
    ...(finalised !== undefined && { finalised: shownOutcome(finalised) }),
  };
}

function shownOutcome({ ts, eventId, error }: delayedEvents.Finalised): JsonObject {
  return {
    finalised_ts: ts,
    ...(eventId !== undefined && { event_id: eventId }),
    ...(error !== undefined && { error }),
  };
}
