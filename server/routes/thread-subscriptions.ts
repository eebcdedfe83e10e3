/**
 * Threads that a user follows, MSC4306 and MSC4308:
 * https://github.com/matrix-org/matrix-spec-proposals/pull/4306
 */

import type { FastifyInstance } from 'fastify';
import { invalidParam, MatrixError, notFound } from '#federation/errors.ts';
import { type EventId, isEventId } from '#keys/ids.ts';
import { loadEvent } from '#rooms/load.ts';
import { threadOf } from '#rooms/relations/thread.ts';
import * as threadSubscriptions from '#storage/thread-subscriptions.ts';
import { requireRequester } from '../auth/requester.ts';
import { bodyObject, optionalString } from '../body.ts';
import type { ServerContext } from '../context.ts';
import { sendJsonText } from '../json-text.ts';
import { type Query, queryLimit, queryPosition, queryString } from '../query.ts';
import { threadSubscriptionsJson } from '../reading/thread-subscription-changes.ts';
import { visibleEvent } from '../reading/visible-event.ts';
import { roomIdParam } from '../room-params.ts';
import { formatToken } from '../sync/token.ts';

type Params = { roomId: string; threadRootId: string };

const SUBSCRIPTION =
  '/_matrix/client/unstable/io.element.msc4306/rooms/:roomId/thread/:threadRootId/subscription';
const CHANGES = '/_matrix/client/unstable/io.element.msc4308/thread_subscriptions';
const DEFAULT_LIMIT = 100;
const MAX_LIMIT = 100;
/** Of one user; a client makes one for each thread that the user writes in. */
const MOST_OF_USER = 50_000;
const NEVER = 0;

export function threadSubscriptionsRoutes(app: FastifyInstance, ctx: ServerContext): void {
  app.get<{ Params: Params }>(SUBSCRIPTION, async (request) => {
    const { userId } = await requireRequester(ctx, request);
    const { roomNid, rootId } = await threadRoot(ctx, userId, request.params);
    const subscription = await threadSubscriptions.get(ctx.db, { userId, roomNid, rootId });
    if (subscription?.subscribed !== true) throw notFound('You are not subscribed to this thread');
    return { automatic: subscription.automatic };
  });

  app.put<{ Params: Params }>(SUBSCRIPTION, async (request) => {
    const { userId } = await requireRequester(ctx, request);
    ctx.limits.take('account_data', userId);
    const cause = optionalString(bodyObject(request), 'automatic');
    const thread = { userId, ...(await threadRoot(ctx, userId, request.params)) };
    const causePosition = cause === undefined ? undefined : await positionInThread(ctx, thread, cause);
    await ctx.db.write('threadSubscriptions.subscribe', async (tx) => {
      const before = await threadSubscriptions.get(tx, thread);
      const automatic = causePosition !== undefined;
      const unsubscribed = before?.unsubscribedPosition ?? NEVER;
      // History that was fetched later stands at 0 or below it.
      if (automatic && unsubscribed !== NEVER && causePosition <= unsubscribed)
        throw conflictingUnsubscription();
      // "Manual subscriptions take precedence over automatic subscriptions."
      const isSaid = before?.subscribed === true && (automatic || !before.automatic);
      if (isSaid) return;
      if (before === undefined && (await threadSubscriptions.countOf(tx, userId)) >= MOST_OF_USER)
        throw invalidParam(`There are more than ${MOST_OF_USER} thread subscriptions`);
      await threadSubscriptions.set(tx, ctx.streams, thread, { kind: 'subscribed', automatic });
    });
    return {};
  });

  app.delete<{ Params: Params }>(SUBSCRIPTION, async (request) => {
    const { userId } = await requireRequester(ctx, request);
    ctx.limits.take('account_data', userId);
    const thread = { userId, ...(await threadRoot(ctx, userId, request.params)) };
    await ctx.db.write('threadSubscriptions.unsubscribe', async (tx) => {
      const before = await threadSubscriptions.get(tx, thread);
      // "If the thread was not subscribed, returns 200 with empty body `{}` for idempotence."
      if (before?.subscribed !== true) return;
      await threadSubscriptions.set(tx, ctx.streams, thread, { kind: 'unsubscribed' });
    });
    return {};
  });

  app.get<{ Querystring: Query }>(CHANGES, async (request, reply) => {
    const { userId } = await requireRequester(ctx, request);
    const { query } = request;
    if (queryString(query, 'dir') !== 'b') throw invalidParam('dir must be b');
    const limit = queryLimit(query, { fallback: DEFAULT_LIMIT, most: MAX_LIMIT });
    if (limit === 0) throw invalidParam('limit must be greater than zero');
    const range = {
      after: queryPosition(query, 'to') ?? 0,
      upto: queryPosition(query, 'from') ?? END,
      limit,
    };
    const { members, next } = await threadSubscriptionsJson(ctx, userId, range);
    const end = next === undefined ? [] : [`"end":"${formatToken(next)}"`];
    return sendJsonText(reply, `{${[...members, ...end].join(',')}}`);
  });
}

const END = Number.MAX_SAFE_INTEGER;

/** "If the thread does not exist, or if the user does not have access to it, returns 404/`M_NOT_FOUND`." */
async function threadRoot(
  ctx: ServerContext,
  userId: `@${string}`,
  { roomId, threadRootId }: Params,
): Promise<{ readonly roomNid: number; readonly rootId: EventId }> {
  const { roomNid, event } = await visibleEvent(ctx, userId, { roomId, eventId: threadRootId });
  if (event.roomId !== roomIdParam(roomId)) throw notFound('Event not found');
  return { roomNid, rootId: event.eventId };
}

/** Where the event stands by which a client made a subscription by itself; it must be in the thread. */
async function positionInThread(
  ctx: ServerContext,
  { userId, roomNid, rootId }: threadSubscriptions.ThreadRef,
  cause: string,
): Promise<number> {
  const stored = isEventId(cause) ? await loadEvent(ctx, cause) : undefined;
  const isThere = stored?.roomNid === roomNid && (await threadOf(ctx, stored)) === rootId;
  if (!isThere) throw notInThread();
  await visibleEvent(ctx, userId, { roomId: stored.event.roomId, eventId: stored.event.eventId });
  return stored.position ?? 0;
}

/** 400: the event by which a subscription is said to be made is not in the thread. */
function notInThread(): MatrixError {
  return new MatrixError(400, 'IO.ELEMENT.MSC4306.M_NOT_IN_THREAD', 'The event is not in this thread');
}

/** 409: the user has unsubscribed after the event by which a client wants to subscribe again. */
function conflictingUnsubscription(): MatrixError {
  const code = 'IO.ELEMENT.MSC4306.M_CONFLICTING_UNSUBSCRIPTION';
  return new MatrixError(409, code, 'You have unsubscribed from this thread since');
}
