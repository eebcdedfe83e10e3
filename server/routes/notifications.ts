/** https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3notifications */

import type { FastifyInstance } from 'fastify';
import { invalidParam } from '#federation/errors.ts';
import { type Requester, requireRequester } from '../auth/requester.ts';
import type { ServerContext } from '../context.ts';
import { sendJsonText } from '../json-text.ts';
import { type Notification, notificationPage } from '../push/notifications.ts';
import { type Query, queryLimit, queryPosition, queryString } from '../query.ts';
import { textsFor } from '../sync/format.ts';
import { formatToken } from '../sync/token.ts';

const LIMIT = { fallback: 20, most: 100 };

/** The events that a user was notified about. */
export function notificationsRoutes(app: FastifyInstance, ctx: ServerContext): void {
  app.get<{ Querystring: Query }>('/_matrix/client/v3/notifications', async (request, reply) => {
    const requester = await requireRequester(ctx, request);
    ctx.limits.take('directory', requester.userId);
    const { query } = request;
    const only = queryString(query, 'only');
    if (only !== undefined && only !== '' && only !== 'highlight')
      throw invalidParam('only is not highlight');
    const limit = queryLimit(query, LIMIT);
    if (limit === 0) throw invalidParam('limit must be at least 1');
    const upto = ctx.streams.upto();
    const page = await notificationPage(ctx, requester.userId, {
      from: Math.min(queryPosition(query, 'from') ?? upto, upto),
      ...{ limit, onlyHighlights: only === 'highlight' },
    });
    const texts: string[] = [];
    // One after the other: each is of another room.
    for (const found of page.notifications) texts.push(await notificationJson(ctx, requester, found));
    const next = page.next === undefined ? '' : `,"next_token":"${formatToken(page.next)}"`;
    return sendJsonText(reply, `{"notifications":[${texts.join(',')}]${next}}`);
  });
}

async function notificationJson(
  ctx: ServerContext,
  requester: Requester,
  { stored, roomId, actions, isRead }: Notification,
): Promise<string> {
  const [event = '{}'] = await textsFor(ctx, requester, [stored], { withRoomId: false });
  const others = { actions, read: isRead, room_id: roomId, ts: stored.receivedTs };
  return `{"event":${event},${JSON.stringify(others).slice(1)}`;
}
