/** https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidhierarchy */

import type { FastifyInstance } from 'fastify';
import { forbidden, invalidParam } from '#federation/errors.ts';
import type { RoomId, UserId } from '#keys/ids.ts';
import { type HierarchyRoom, localRoom, nextRooms, type Walk, walkFrom } from '#rooms/hierarchy.ts';
import { requireRequester } from '../auth/requester.ts';
import type { ServerContext } from '../context.ts';
import { HierarchyWalks } from '../hierarchy-walks.ts';
import { type Query, queryLimit, queryString } from '../query.ts';
import { roomIdParam } from '../room-params.ts';

const DEFAULT_LIMIT = 50;
const MAX_LIMIT = 100;
/** How deep a walk goes, unless it is to go less deep. */
const MAX_DEPTH = 50;
const INTEGER = /^\d{1,15}$/;

/** The rooms of a space, page by page. */
export function spaceHierarchyRoutes(app: FastifyInstance, ctx: ServerContext): void {
  const walks = new HierarchyWalks(ctx.clock);

  app.get<{ Params: { roomId: string }; Querystring: Query }>(
    '/_matrix/client/v1/rooms/:roomId/hierarchy',
    async (request) => {
      const { params, query } = request;
      const { userId } = await requireRequester(ctx, request);
      const roomId = roomIdParam(params.roomId);
      const limit = queryLimit(query, { fallback: DEFAULT_LIMIT, most: MAX_LIMIT });
      if (limit === 0) throw invalidParam('limit must be greater than zero');
      const walk = walkOf(walks, { userId, roomId }, query);
      // Asked at each page: the user may have lost the space since the one before.
      if ((await find(ctx, roomId, userId)) === undefined) {
        throw forbidden('You are not allowed to view this room');
      }
      const page = await nextRooms(walk, limit, (step) => find(ctx, step.roomId, userId));
      const { rooms, rest } = page;
      return { rooms, ...(rest !== undefined && { next_batch: walks.keep({ userId, roomId, walk: rest }) }) };
    },
  );
}

/** The beginning, or where an earlier page ended. Throws `M_INVALID_PARAM`. */
function walkOf(
  walks: HierarchyWalks,
  { userId, roomId }: { readonly userId: UserId; readonly roomId: RoomId },
  query: Query,
): Walk {
  const maxDepth = maxDepthOf(query);
  const suggestedOnly = suggestedOnlyOf(query);
  const from = queryString(query, 'from');
  if (from === undefined || from === '') {
    return walkFrom(roomId, { maxDepth: maxDepth ?? MAX_DEPTH, suggestedOnly: suggestedOnly ?? false });
  }
  const known = walks.find(from);
  if (known?.userId !== userId || known.roomId !== roomId) {
    throw invalidParam('from is not a token of this server, or no longer');
  }
  const { walk } = known;
  // "If specified, `max_depth` and `suggested_only` cannot be changed from the first request."
  const isChanged =
    (maxDepth ?? walk.maxDepth) !== walk.maxDepth ||
    (suggestedOnly ?? walk.suggestedOnly) !== walk.suggestedOnly;
  if (isChanged) throw invalidParam('suggested_only and max_depth cannot change on paginated requests');
  return walk;
}

function maxDepthOf(query: Query): number | undefined {
  const text = queryString(query, 'max_depth');
  if (text === undefined) return undefined;
  if (!INTEGER.test(text)) throw invalidParam('max_depth must be a non-negative integer');
  return Math.min(Number(text), MAX_DEPTH);
}

function suggestedOnlyOf(query: Query): boolean | undefined {
  const text = queryString(query, 'suggested_only');
  if (text === undefined) return undefined;
  if (text !== 'true' && text !== 'false') throw invalidParam('suggested_only is neither true nor false');
  return text === 'true';
}

/** What this server may show of a room; rooms that only others know of are not asked for yet. */
async function find(ctx: ServerContext, roomId: RoomId, userId: UserId): Promise<HierarchyRoom | undefined> {
  const found = await localRoom(ctx, roomId, { userId });
  return found.kind === 'visible' ? found.room : undefined;
}
