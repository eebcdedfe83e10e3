/** https://spec.matrix.org/v1.19/client-server-api/#getting-events-for-a-room */

import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { UserId } from '#keys/ids.ts';
import { membershipOf } from '#rooms/event.ts';
import { loadNids } from '#rooms/load.ts';
import type { Room } from '#rooms/room.ts';
import { stateAt } from '#rooms/state.ts';
import type { StoredEvent } from '#rooms/stored-event.ts';
import { page } from '#rooms/timeline.ts';
import { visibleTo } from '#rooms/visibility.ts';
import * as currentState from '#storage/current-state.ts';
import * as memberships from '#storage/memberships.ts';
import { requireRequester } from '../auth/requester.ts';
import type { ServerContext } from '../context.ts';
import { sendJsonText } from '../json-text.ts';
import { type Query, queryPosition, queryString } from '../query.ts';
import { bundledTextsFor } from '../reading/bundles.ts';
import { type ReadableRoom, readableMembers, readableRoom } from '../reading/readable-room.ts';
import { visibleEvent } from '../reading/visible-event.ts';
import { joinedRoom } from '../room-params.ts';
import { stateTexts } from '../sync/format.ts';

type RoomRequest = FastifyRequest<{ Params: { roomId: string }; Querystring: Query }>;

const PATH = '/_matrix/client/v3/rooms/:roomId';
const MEMBER = 'm.room.member';

/** One event of a room, and its members. */
export function roomsRoutes(app: FastifyInstance, ctx: ServerContext): void {
  app.get<{ Params: { roomId: string; eventId: string } }>(
    `${PATH}/event/:eventId`,
    async (request, reply) => {
      const requester = await requireRequester(ctx, request);
      const stored = await visibleEvent(ctx, requester.userId, request.params);
      const texts = await bundledTextsFor(ctx, requester, [stored], { withRoomId: true });
      return sendJsonText(reply, texts.join());
    },
  );

  app.get(`${PATH}/members`, async (request: RoomRequest, reply) => {
    const { userId } = await requireRequester(ctx, request);
    ctx.limits.take('history', userId);
    const readable = await readableRoom(ctx, userId, request.params.roomId);
    const at = queryPosition(request.query, 'at');
    const members = await membersAt(ctx, readable, userId, at);
    const wanted = members.filter((stored) => hasWantedMembership(stored, request.query));
    const texts = stateTexts(wanted, { now: ctx.clock.now(), withRoomId: true });
    return sendJsonText(reply, `{"chunk":[${texts.join(',')}]}`);
  });

  app.get(`${PATH}/joined_members`, async (request: RoomRequest) => {
    const { userId } = await requireRequester(ctx, request);
    ctx.limits.take('history', userId);
    const { roomNid } = await joinedRoom(ctx, userId, request.params.roomId);
    const rows = await memberships.inRoom(ctx.db, roomNid, 'join');
    return { joined: Object.fromEntries(rows.map((row) => [row.userId, memberInfo(row)])) };
  });
}

function memberInfo({ displayName, avatarUrl }: memberships.MembershipRow): Record<string, string> {
  return {
    ...(displayName !== null && { display_name: displayName }),
    ...(avatarUrl !== null && { avatar_url: avatarUrl }),
  };
}

/**
 * The members in the readable state, or at an earlier position. Before anything that the user may see they are told as
 * they were when the user came: a token of /sync may be from just before the room.
 */
async function membersAt(
  ctx: ServerContext,
  readable: ReadableRoom,
  userId: UserId,
  at: number | undefined,
): Promise<StoredEvent[]> {
  const now = await readableMembers(ctx, readable);
  const { room, left } = readable;
  if (at === undefined || at >= (left?.position ?? ctx.streams.upto())) return now;
  const last = await visibleAt(ctx, room, userId, at);
  // History that was fetched later: what was current there, the room's changes do not say.
  if (last?.position !== undefined && last.position < 0) {
    return (await stateAt(ctx, last, 'after')).filter(({ event }) => event.type === MEMBER);
  }
  if (last !== undefined) return membersBefore(ctx, room, now, at);
  const came = await currentState.firstSet(ctx.db, room.roomNid, { type: MEMBER, stateKey: userId });
  const mayTell = came !== undefined && (await visibleAt(ctx, room, userId, came)) !== undefined;
  return mayTell && came > at ? membersBefore(ctx, room, now, came) : now;
}

/** The last event at a position, if the user may see it. */
async function visibleAt(
  ctx: ServerContext,
  { roomNid }: Room,
  userId: UserId,
  position: number,
): Promise<StoredEvent | undefined> {
  const { events } = await page(ctx, roomNid, { from: position, direction: 'b', limit: 1 });
  const [isVisible] = await visibleTo(ctx, roomNid, { userId }, events);
  return isVisible === true ? events[0] : undefined;
}

/** Undoes what has changed since a position. */
async function membersBefore(
  ctx: ServerContext,
  { roomNid }: Room,
  now: readonly StoredEvent[],
  at: number,
): Promise<StoredEvent[]> {
  const nids = new Map(now.map(({ nid, event }) => [event.stateKey, nid]));
  const deltas = await currentState.deltas(ctx.db, roomNid, { after: at, upto: Number.MAX_SAFE_INTEGER });
  for (const { type, stateKey, prevEventNid } of deltas.toReversed()) {
    if (type !== MEMBER) continue;
    if (prevEventNid === undefined) nids.delete(stateKey);
    else nids.set(stateKey, prevEventNid);
  }
  return [...(await loadNids(ctx, nids.values())).values()];
}

/** "Either the membership *is* the same as `membership` **or** *is not* the same as `not_membership`." */
function hasWantedMembership({ event }: StoredEvent, query: Query): boolean {
  const wanted = queryString(query, 'membership');
  const unwanted = queryString(query, 'not_membership');
  if (wanted === undefined && unwanted === undefined) return true;
  const membership = membershipOf(event);
  return membership === wanted || (unwanted !== undefined && membership !== unwanted);
}
