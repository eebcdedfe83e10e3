/**
 * https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidstateeventtypestatekey
 * https://spec.matrix.org/v1.19/client-server-api/#getting-events-for-a-room
 */

import type { FastifyInstance, FastifyRequest } from 'fastify';
import { invalidParam, notFound } from '#federation/errors.ts';
import type { EventId } from '#keys/ids.ts';
import { isUserId } from '#keys/ids.ts';
import { stringAt } from '#keys/json.ts';
import { currentStateEvent } from '#rooms/state.ts';
import { requireRequester } from '../auth/requester.ts';
import { bodyObject } from '../body.ts';
import { checkCanonicalAlias } from '../canonical-alias.ts';
import type { ServerContext } from '../context.ts';
import { inviteUser, joinRoom } from '../membership.ts';
import { type Query, queryString } from '../query.ts';
import { readableRoom, readableState, readableStateEvents } from '../readable-room.ts';
import { joinedRoom, roomIdParam } from '../room-params.ts';
import { sendForClient } from '../sent.ts';
import { stateTexts } from '../sync/format.ts';

type StateRequest = FastifyRequest<{
  Params: { roomId: string; eventType: string; stateKey?: string };
  Querystring: Query;
}>;

const PATH = '/_matrix/client/v3/rooms/:roomId/state';
const JSON_TYPE = 'application/json';

/** The state of a room: all of it, one event, and the setting of one. */
export function roomStateRoutes(app: FastifyInstance, ctx: ServerContext): void {
  app.get<{ Params: { roomId: string } }>(PATH, async (request, reply) => {
    const { userId } = await requireRequester(ctx, request);
    const state = await readableState(ctx, await readableRoom(ctx, userId, request.params.roomId));
    const texts = stateTexts(state, { now: ctx.clock.now(), withRoomId: true });
    return reply.header('content-type', JSON_TYPE).send(`[${texts.join(',')}]`);
  });

  for (const path of [`${PATH}/:eventType`, `${PATH}/:eventType/:stateKey`]) {
    app.get(path, async (request: StateRequest, reply) =>
      reply.header('content-type', JSON_TYPE).send(await stateEvent(ctx, request)),
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

async function setState(ctx: ServerContext, request: StateRequest): Promise<{ event_id: EventId }> {
  const { userId } = await requireRequester(ctx, request);
  ctx.limits.take('message', userId);
  const { eventType: type, stateKey = '' } = request.params;
  const content = bodyObject(request);
  const roomId = roomIdParam(request.params.roomId);
  if (type === 'm.room.canonical_alias' && stateKey === '') {
    await checkCanonicalAlias(ctx, await joinedRoom(ctx, userId, roomId), content);
  }
  if (type !== 'm.room.member' || !isUserId(stateKey)) {
    return sendForClient(ctx, { roomId, sender: userId, type, stateKey, content });
  }
  const membership = stringAt(content, 'membership');
  // Those that may need another server, or somebody of ours to authorise them.
  if (membership === 'invite') {
    ctx.limits.take('invite', userId);
    ctx.limits.take('invite_user', stateKey);
    const { roomNid } = await joinedRoom(ctx, userId, roomId);
    await inviteUser(ctx, userId, { roomId, target: stateKey, content });
    return memberEvent(ctx, roomNid, stateKey);
  }
  if (membership === 'join' && stateKey === userId) {
    ctx.limits.take('join', userId);
    await joinRoom(ctx, userId, { room: roomId, via: [], content });
    return memberEvent(ctx, (await joinedRoom(ctx, userId, roomId)).roomNid, stateKey);
  }
  return sendForClient(ctx, { roomId, sender: userId, type, stateKey, content });
}

async function memberEvent(
  ctx: ServerContext,
  roomNid: number,
  userId: string,
): Promise<{ event_id: EventId }> {
  const stored = await currentStateEvent(ctx, roomNid, 'm.room.member', userId);
  if (stored === undefined) throw notFound('The membership is gone already');
  return { event_id: stored.event.eventId };
}
