/** Uploads, at once or to an id that was reserved: https://spec.matrix.org/v1.19/client-server-api/#content-repository */

import type { FastifyInstance, FastifyReply } from 'fastify';
import { cannotOverwriteMedia, forbidden, limitExceeded, notFound } from '#federation/errors.ts';
import { isMediaId, mxcOf } from '#keys/mxc.ts';
import * as media from '#storage/media.ts';
import { requireRequester } from '../auth/requester.ts';
import type { ServerContext } from '../context.ts';
import { newMediaId, receiveUpload, type UploadRequest } from '../media/upload.ts';

/** "The recommended default expiration is 24 hours." */
const RESERVED_MS = 24 * 60 * 60_000;
/** "The server should limit the number of concurrent pending media uploads a given user can have." */
const MOST_RESERVED = 50;
const RESERVED_RETRY_MS = 60_000;
const EXPIRED = 'The media ID has expired';

/** `POST upload`, `POST create` and `PUT upload`; and how large an upload may be. */
export function mediaUploadRoutes(app: FastifyInstance, ctx: ServerContext): void {
  const config = { streamsBody: true, longPoll: true };

  app.post('/_matrix/media/v3/upload', { config }, async (request: UploadRequest, reply) => {
    const { userId } = await requireRequester(ctx, request);
    ctx.limits.take('media_upload', userId);
    const mxc = { server: ctx.serverName, mediaId: newMediaId() };
    await receiveUpload(ctx, userId, { request, reply }, (tx, content) =>
      media.add(tx, { ...mxc, userId }, content, ctx.clock.now()),
    );
    return { content_uri: mxcOf(mxc) };
  });

  app.post('/_matrix/media/v1/create', async (request) => {
    const { userId } = await requireRequester(ctx, request);
    ctx.limits.take('media_upload', userId);
    const mxc = { server: ctx.serverName, mediaId: newMediaId() };
    const now = ctx.clock.now();
    const expiresTs = now + RESERVED_MS;
    const isReserved = await ctx.db.write('media.reserve', async (tx) => {
      if ((await media.reservedBy(tx, userId, now)) >= MOST_RESERVED) return false;
      await media.reserve(tx, { ...mxc, userId }, { now, expiresTs });
      return true;
    });
    if (!isReserved) throw limitExceeded(RESERVED_RETRY_MS);
    return { content_uri: mxcOf(mxc), unused_expires_at: expiresTs };
  });

  app.put(
    '/_matrix/media/v3/upload/:serverName/:mediaId',
    { config },
    async (request: UploadRequest, reply) => uploadReserved(ctx, request, reply),
  );

  for (const path of ['/_matrix/client/v1/media/config', '/_matrix/media/v3/config']) {
    app.get(path, async (request) => {
      await requireRequester(ctx, request);
      return { 'm.upload.size': ctx.config.maxUploadSize };
    });
  }
}

async function uploadReserved(
  ctx: ServerContext,
  request: UploadRequest,
  reply: FastifyReply,
): Promise<object> {
  const { userId } = await requireRequester(ctx, request);
  ctx.limits.take('media_upload', userId);
  const { serverName: server, mediaId } = request.params;
  if (server !== ctx.serverName || !isMediaId(mediaId)) throw notFound('Unknown media ID');
  const reserved = await media.of(ctx.db, { server, mediaId });
  if (reserved === undefined) throw notFound('Unknown media ID');
  if (reserved.userId !== userId) throw forbidden('Another user has reserved this media ID');
  if (reserved.sha256 !== undefined) throw cannotOverwriteMedia();
  if ((reserved.expiresTs ?? 0) <= ctx.clock.now()) throw notFound(EXPIRED);
  const isFilled = await receiveUpload(ctx, userId, { request, reply }, (tx, content) =>
    media.fill(tx, reserved.nid, content, ctx.clock.now()),
  );
  if (!isFilled) {
    // Another upload came first, or the time was over before this one ended.
    const known = await media.of(ctx.db, { server, mediaId });
    throw known?.sha256 === undefined ? notFound(EXPIRED) : cannotOverwriteMedia();
  }
  ctx.media.arrivals.arrived(mediaId);
  return {};
}
