/** https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1room_summaryroomidoralias */

import type { FastifyInstance, FastifyRequest } from 'fastify';
import { type ResolvedAlias, resolveAlias } from '#federation/directory.ts';
import { invalidParam, notFound } from '#federation/errors.ts';
import { serversToAsk } from '#federation/handshakes/candidates.ts';
import { serversBehind } from '#federation/membership.ts';
import { remoteRoom } from '#federation/spaces.ts';
import {
  belongsTo,
  isRoomAlias,
  isRoomId,
  isServerName,
  type RoomId,
  type ServerName,
  type UserId,
} from '#keys/ids.ts';
import { accessByWord, accessOf } from '#rooms/directory/room-access.ts';
import { entryOf, type PublicRoom } from '#rooms/directory/room-entry.ts';
import { getRoom, isInRoom, type Room } from '#rooms/room.ts';
import * as memberships from '#storage/memberships.ts';
import { findRequester } from '../auth/requester.ts';
import type { ServerContext } from '../context.ts';
import { type Query, queryList } from '../query.ts';

type SummaryRequest = FastifyRequest<{ Params: { roomIdOrAlias: string }; Querystring: Query }>;
type Summary = PublicRoom & { readonly membership?: string };

/** Who asks: without a user, somebody who is not signed in. */
interface Asker {
  readonly userId: UserId | undefined;
  readonly ip: string;
}

/** For the answers of other servers. */
const LOOKUP_MS = 15_000;

/**
 * What a room is, for one who thinks of joining it. "Servers MAY allow unauthenticated access" to rooms that anybody
 * may join, ask to be let into, or read.
 */
export function roomSummaryRoutes(app: FastifyInstance, ctx: ServerContext): void {
  app.get('/_matrix/client/v1/room_summary/:roomIdOrAlias', (request: SummaryRequest) =>
    summaryOf(ctx, request),
  );
  // MSC3266: the first is what Element asked until 1.15, the second what nheko asks still ("this was a mistake").
  for (const path of ['summary/:roomIdOrAlias', 'rooms/:roomIdOrAlias/summary']) {
    app.get(`/_matrix/client/unstable/im.nheko.summary/${path}`, async (request: SummaryRequest) => {
      const summary = await summaryOf(ctx, request);
      const { room_version: version, encryption } = summary;
      return {
        ...summary,
        ...(version !== undefined && { 'im.nheko.summary.room_version': version }),
        ...(encryption !== undefined && { 'im.nheko.summary.encryption': encryption }),
      };
    });
  }
}

async function summaryOf(ctx: ServerContext, request: SummaryRequest): Promise<Summary> {
  const userId = (await findRequester(ctx, request))?.userId;
  const asker = { userId, ip: request.ip };
  const { roomId, servers } = await roomOf(ctx, asker, request.params.roomIdOrAlias);
  const room = await getRoom(ctx, roomId);
  const via = [...queryList(request.query, 'via').filter(isServerName), ...servers];
  const entry =
    room !== undefined && (await isInRoom(ctx, room))
      ? await entryHere(ctx, asker, room)
      : await entryElsewhere(ctx, asker, { roomId, via });
  // Alike for a room that does not exist and for one that is none of the user's business.
  if (entry === undefined) throw notFound('Room not found');
  if (userId === undefined) return entry;
  const member = room && (await memberships.of(ctx.db, room.roomNid, userId));
  return { ...entry, membership: member?.membership ?? 'leave' };
}

async function roomOf(ctx: ServerContext, asker: Asker, room: string): Promise<ResolvedAlias> {
  if (isRoomId(room)) return { roomId: room, servers: [] };
  if (!isRoomAlias(room)) throw invalidParam('Neither a room ID nor a room alias');
  if (!belongsTo(room, ctx.serverName)) takeLookup(ctx, asker);
  const resolved = await resolveAlias(ctx, room);
  if (resolved === undefined) throw notFound('Room not found');
  return resolved;
}

async function entryHere(ctx: ServerContext, { userId }: Asker, room: Room): Promise<PublicRoom | undefined> {
  const access = await accessOf(ctx, room, userId && { userId });
  return access === undefined ? undefined : entryOf(ctx, room);
}

/** By the word of other servers. */
async function entryElsewhere(
  ctx: ServerContext,
  asker: Asker,
  { roomId, via }: { readonly roomId: RoomId; readonly via: readonly ServerName[] },
): Promise<PublicRoom | undefined> {
  const { userId } = asker;
  const behind = userId === undefined ? [] : await serversBehind(ctx, roomId, userId);
  const servers = serversToAsk(ctx.serverName, roomId, [...behind, ...via]);
  if (servers.length === 0) return undefined;
  takeLookup(ctx, asker);
  const signal = AbortSignal.any([AbortSignal.timeout(LOOKUP_MS), ctx.shutdown]);
  // The rooms below it are of no interest: where it is a space, as few of them as can be.
  const remote = await remoteRoom(ctx, { roomId, via: servers }, { suggestedOnly: true, signal });
  const access = remote && (await accessByWord(ctx, remote.entry, userId && { userId }));
  return access === undefined ? undefined : remote?.entry;
}

/** "Servers should consider rate limiting requests [...] more heavily if the client is unauthenticated." */
function takeLookup(ctx: ServerContext, { userId, ip }: Asker): void {
  if (userId === undefined) ctx.limits.take('stranger_lookup', ip);
  else ctx.limits.take('directory', userId);
}
