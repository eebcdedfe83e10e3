/** https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidhierarchy */

import type { FastifyInstance } from 'fastify';
import { forbidden, invalidParam } from '#federation/errors.ts';
import { serversToAsk } from '#federation/handshakes/candidates.ts';
import { remoteRoom } from '#federation/spaces.ts';
import { isServerName, type RoomId, type ServerName, type UserId } from '#keys/ids.ts';
import { type HierarchyRoom, localRoom, nextRooms, type Step, walkFrom } from '#rooms/directory/hierarchy.ts';
import { accessByWord } from '#rooms/directory/room-access.ts';
import { requireRequester } from '../auth/requester.ts';
import type { ServerContext } from '../context.ts';
import { type Query, queryLimit, queryList, queryString } from '../query.ts';
import { roomIdParam } from '../room-params.ts';
import { HierarchyWalks, type OwnedWalk } from '../rooms/hierarchy-walks.ts';

const DEFAULT_LIMIT = 50;
const MAX_LIMIT = 100;
/** How deep a walk goes, unless it is to go less deep. */
const MAX_DEPTH = 50;
/** For a page, whatever other servers do: what is not found by then is for the next page. */
const PAGE_MS = 15_000;
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
      const { via, walk } = walkOf({ walks, serverName: ctx.serverName }, { userId, roomId }, query);
      const signal = AbortSignal.any([AbortSignal.timeout(PAGE_MS), ctx.shutdown]);
      const find = finder(ctx, userId, { suggestedOnly: walk.suggestedOnly, signal });
      // Asked at each page: the user may have lost the space since the one before.
      if ((await find({ roomId, via })) === undefined) {
        throw forbidden('You are not allowed to view this room');
      }
      const { rooms, rest } = await nextRooms(walk, { limit, signal }, find);
      return {
        rooms,
        ...(rest !== undefined && { next_batch: walks.keep({ userId, roomId, via, walk: rest }) }),
      };
    },
  );
}

/** The beginning, or where an earlier page ended. Throws `M_INVALID_PARAM`. */
function walkOf(
  { walks, serverName }: { readonly walks: HierarchyWalks; readonly serverName: ServerName },
  { userId, roomId }: { readonly userId: UserId; readonly roomId: RoomId },
  query: Query,
): Pick<OwnedWalk, 'via' | 'walk'> {
  const maxDepth = maxDepthOf(query);
  const suggestedOnly = suggestedOnlyOf(query);
  const from = queryString(query, 'from');
  if (from === undefined || from === '') {
    const via = serversToAsk(serverName, roomId, queryList(query, 'via').filter(isServerName));
    const how = { maxDepth: maxDepth ?? MAX_DEPTH, suggestedOnly: suggestedOnly ?? false, via };
    return { via, walk: walkFrom(roomId, how) };
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
  return known;
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

/**
 * Finds what one user may be shown of rooms: of those that this server is in by itself, of others by asking servers.
 * Throws `M_LIMIT_EXCEEDED` where the user makes it ask too often.
 */
function finder(
  ctx: ServerContext,
  userId: UserId,
  how: { readonly suggestedOnly: boolean; readonly signal: AbortSignal },
): (step: Pick<Step, 'roomId' | 'via' | 'parent' | 'toldBy'>) => Promise<HierarchyRoom | undefined> {
  let isCounted = false;
  return async (step) => {
    const local = await localRoom(ctx, step.roomId, { userId });
    if (local.kind === 'visible') return local.room;
    if (local.kind === 'inaccessible') return undefined;
    if (!isCounted) ctx.limits.take('directory', userId);
    isCounted = true;
    const remote = await remoteRoom(ctx, step, how);
    const access = remote && (await accessByWord(ctx, remote.entry, { userId }));
    return access === undefined ? undefined : remote;
  };
}
