/** https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidcontexteventid */

import type { FastifyInstance } from 'fastify';
import { invalidParam, notFound } from '#federation/errors.ts';
import { loadEvent } from '#rooms/load.ts';
import { getRoom } from '#rooms/room.ts';
import { stateAt } from '#rooms/state.ts';
import type { StoredEvent } from '#rooms/stored-event.ts';
import { around } from '#rooms/timeline.ts';
import { visibleTo } from '#rooms/visibility.ts';
import { requireRequester } from '../auth/requester.ts';
import type { ServerContext } from '../context.ts';
import { sendJsonText } from '../json-text.ts';
import { type Query, queryLimit, queryString } from '../query.ts';
import { bundledTextsFor } from '../reading/bundles.ts';
import { ignoredBy, isFromOthers } from '../reading/ignored-users.ts';
import { sendersOf } from '../reading/message-page.ts';
import { eventIdParam, roomIdParam } from '../room-params.ts';
import { type EventFilter, NO_FILTER, parseEventFilter, passes } from '../sync/filter.ts';
import { textsFor } from '../sync/format.ts';
import { formatToken } from '../sync/token.ts';

const DEFAULT_LIMIT = 10;
const MAX_LIMIT = 100;

/** An event with what was said around it. */
export function eventContextRoutes(app: FastifyInstance, ctx: ServerContext): void {
  app.get<{ Params: { roomId: string; eventId: string }; Querystring: Query }>(
    '/_matrix/client/v3/rooms/:roomId/context/:eventId',
    async (request, reply) => {
      const requester = await requireRequester(ctx, request);
      const { userId } = requester;
      ctx.limits.take('history', userId);
      const { params, query } = request;
      const room = await getRoom(ctx, roomIdParam(params.roomId));
      const event = await loadEvent(ctx, eventIdParam(params.eventId));
      const limit = queryLimit(query, { fallback: DEFAULT_LIMIT, most: MAX_LIMIT });
      const filter = filterOf(query);
      const found = room && event && (await around(ctx, room.roomNid, event, limit));
      const visibleHere = async (events: readonly StoredEvent[]) => {
        const visible = await visibleTo(ctx, room?.roomNid ?? 0, { userId }, events);
        return events.filter((_, index) => visible[index] === true);
      };
      if (!found || !event || (await visibleHere([event])).length === 0) throw notFound('Event not found');

      const ignored = await ignoredBy(ctx.db, userId);
      const isShown = ({ event: one }: StoredEvent) => isFromOthers(one, ignored) && passes(filter, one);
      const before = (await visibleHere(found.before)).filter(isShown);
      const after = (await visibleHere(found.after)).filter(isShown);
      const last = after.at(-1) ?? event;
      const state = await stateOf(ctx, filter, last, [event, ...before, ...after]);
      const shown = { withRoomId: true };
      const texts = await bundledTextsFor(ctx, requester, [event, ...before, ...after], shown);
      const parts = [
        `"start":"${formatToken(found.start)}"`,
        `"end":"${formatToken(found.end)}"`,
        `"event":${texts[0]}`,
        `"events_before":[${texts.slice(1, 1 + before.length).join(',')}]`,
        `"events_after":[${texts.slice(1 + before.length).join(',')}]`,
        `"state":[${(await textsFor(ctx, requester, state, shown)).join(',')}]`,
      ];
      return sendJsonText(reply, `{${parts.join(',')}}`);
    },
  );
}

/** "The state of the room at the last event returned", with lazy-loading only of those who say something. */
async function stateOf(
  ctx: ServerContext,
  filter: EventFilter,
  last: StoredEvent,
  shown: readonly StoredEvent[],
): Promise<StoredEvent[]> {
  const state = await stateAt(ctx, last, 'after');
  const wanted = state.filter(({ event }) => passes(filter, event));
  if (!filter.lazyLoadMembers) return wanted;
  const senders = await sendersOf(ctx, [...shown, last]);
  return [...wanted.filter(({ event }) => event.type !== 'm.room.member'), ...senders];
}

function filterOf(query: Query): EventFilter {
  const text = queryString(query, 'filter');
  const filter = text === undefined || text === '' ? NO_FILTER.timeline : parseEventFilter(text);
  if (filter === undefined) throw invalidParam('filter is not a valid RoomEventFilter');
  return filter;
}
