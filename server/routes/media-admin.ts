/**
 * Media for administrators, by the paths and answers that their tools know from Synapse:
 * https://element-hq.github.io/synapse/latest/admin_api/media_admin_api.html
 */

import type { FastifyInstance, FastifyRequest } from 'fastify';
import { invalidParam, notFound } from '#federation/errors.ts';
import { purgeRemote } from '#federation/media/cache.ts';
import { forgetOwn } from '#federation/media/retention.ts';
import { isServerName } from '#keys/ids.ts';
import { isMediaId, type Mxc, mxcOf } from '#keys/mxc.ts';
import { getRoom, type Room } from '#rooms/room.ts';
import * as media from '#storage/media.ts';
import type { ServerContext } from '../context.ts';
import { admit, describe } from '../media/admin.ts';
import {
  deleteMedia,
  mediaInRoom,
  protectMedia,
  quarantineMedia,
  quarantineOfRoom,
  quarantineOfUser,
  releaseMedia,
} from '../media/moderation.ts';
import { type Query, queryString } from '../query.ts';
import { roomIdParam, userIdParam } from '../room-params.ts';

const V1 = '/_synapse/admin/v1';
const MOST_IN_ROOM = 100_000;
const MOST_DELETED = 10_000;
/** The year 2000: what is before that was meant in seconds. */
const EARLIEST_MS = 946_684_800_000;
const INTEGER = /^\d{1,15}$/;

type MediaRequest = FastifyRequest<{ Params: { serverName?: string; mediaId: string } }>;
type RoomRequest = FastifyRequest<{ Params: { roomId: string } }>;
type QueryRequest = FastifyRequest<{ Querystring: Query }>;

/** One media, those of a room or a user, and those that are old: listed, withheld, kept and deleted. */
export function mediaAdminRoutes(app: FastifyInstance, ctx: ServerContext): void {
  const config = { longPoll: true };
  oneMedia(app, ctx);

  app.get(`${V1}/room/:roomId/media`, { config }, async (request: RoomRequest) => {
    const { roomNid } = await roomOf(ctx, request);
    const urls = new Set<string>();
    for await (const some of mediaInRoom(ctx.db, roomNid)) {
      for (const mxc of some) if (urls.size < MOST_IN_ROOM) urls.add(mxcOf(mxc));
    }
    const isLocal = (url: string) => url.startsWith(`mxc://${ctx.serverName}/`);
    return { local: [...urls].filter(isLocal), remote: [...urls].filter((url) => !isLocal(url)) };
  });

  const quarantineRoom = async (request: RoomRequest) => {
    const { roomNid } = await roomOf(ctx, request);
    return { num_quarantined: await quarantineOfRoom(ctx, roomNid) };
  };
  app.post(`${V1}/room/:roomId/media/quarantine`, { config }, quarantineRoom);
  app.post(`${V1}/quarantine_media/:roomId`, { config }, quarantineRoom);

  app.post(
    `${V1}/user/:userId/media/quarantine`,
    { config },
    async (request: FastifyRequest<{ Params: { userId: string } }>) => {
      await admit(ctx, request);
      return { num_quarantined: await quarantineOfUser(ctx, userIdParam(request.params.userId)) };
    },
  );

  app.post(`${V1}/purge_media_cache`, { config }, async (request: QueryRequest) => {
    await admit(ctx, request);
    const { count } = await purgeRemote(ctx, beforeOf(request.query), ctx.shutdown);
    return { deleted: count };
  });

  const deleteOld = async (request: QueryRequest) => {
    await admit(ctx, request);
    const { query } = request;
    const choice = {
      before: beforeOf(query),
      largerThan: integerOf(query, 'size_gt') ?? 0,
      keepsShown: booleanOf(query, 'keep_profiles') ?? true,
      most: MOST_DELETED,
    };
    const deleted = await forgetOwn(ctx, choice, ctx.shutdown);
    return { deleted_media: deleted, total: deleted.length };
  };
  app.post(`${V1}/media/delete`, { config }, deleteOld);
  app.post(
    `${V1}/media/:serverName/delete`,
    { config },
    async (request: FastifyRequest<{ Params: { serverName: string }; Querystring: Query }>) => {
      if (request.params.serverName !== ctx.serverName) {
        await admit(ctx, request);
        throw invalidParam('Only media of this server can be deleted so');
      }
      return deleteOld(request);
    },
  );
}

/** What is done to one media. */
function oneMedia(app: FastifyInstance, ctx: ServerContext): void {
  app.get(`${V1}/media/:serverName/:mediaId`, async (request: MediaRequest) => {
    const known = await media.of(ctx.db, await mxcParam(ctx, request));
    if (known === undefined) throw notFound('There is no such media');
    const { server, userId, sha256 } = known;
    return {
      media_info: {
        media_origin: server === ctx.serverName ? null : server,
        user_id: userId ?? null,
        sha256: sha256 ?? null,
        authenticated: true,
        ...describe(ctx, known),
      },
    };
  });

  const deeds = [
    { path: 'media/quarantine/:serverName/:mediaId', does: quarantineMedia },
    { path: 'media/unquarantine/:serverName/:mediaId', does: releaseMedia },
    { path: 'media/protect/:mediaId', does: (ctx: ServerContext, mxc: Mxc) => protectMedia(ctx, mxc, true) },
    {
      path: 'media/unprotect/:mediaId',
      does: (ctx: ServerContext, mxc: Mxc) => protectMedia(ctx, mxc, false),
    },
  ];
  for (const { path, does } of deeds) {
    app.post(`${V1}/${path}`, async (request: MediaRequest) => {
      const mxc = await mxcParam(ctx, request);
      // What is as it is to be already is so, too.
      if (!(await does(ctx, mxc)) && (await media.of(ctx.db, mxc)) === undefined)
        throw notFound('There is no such media');
      return {};
    });
  }

  app.delete(`${V1}/media/:serverName/:mediaId`, async (request: MediaRequest) => {
    const mxc = await mxcParam(ctx, request);
    if (mxc.server !== ctx.serverName) throw invalidParam('Only media of this server can be deleted so');
    if (!(await deleteMedia(ctx, mxc))) throw notFound('There is no such media');
    return { deleted_media: [mxc.mediaId], total: 1 };
  });
}

async function mxcParam(ctx: ServerContext, request: MediaRequest): Promise<Mxc> {
  await admit(ctx, request);
  const { serverName: server = ctx.serverName, mediaId } = request.params;
  if (!isServerName(server)) throw invalidParam('Not a server name');
  if (!isMediaId(mediaId)) throw invalidParam('Not a media ID');
  return { server, mediaId };
}

async function roomOf(ctx: ServerContext, request: RoomRequest): Promise<Room> {
  await admit(ctx, request);
  const room = await getRoom(ctx, roomIdParam(request.params.roomId));
  if (room === undefined) throw notFound('There is no such room');
  return room;
}

function beforeOf(query: Query): number {
  const before = integerOf(query, 'before_ts');
  if (before === undefined || before < EARLIEST_MS)
    throw invalidParam('before_ts must be a time in milliseconds since 1970');
  return before;
}

function integerOf(query: Query, name: string): number | undefined {
  const value = queryString(query, name);
  if (value !== undefined && !INTEGER.test(value)) throw invalidParam(`${name} must be an integer`);
  return value === undefined ? undefined : Number(value);
}

function booleanOf(query: Query, name: string): boolean | undefined {
  const value = queryString(query, name);
  if (value !== undefined && value !== 'true' && value !== 'false')
    throw invalidParam(`${name} must be true or false`);
  return value === undefined ? undefined : value === 'true';
}
