/** Downloads and thumbnails for clients, by whichever endpoint they ask. */

import type { FastifyReply, FastifyRequest } from 'fastify';
import { invalidParam } from '#federation/errors.ts';
import { cleanFileName, dispositionOf, thumbnailDisposition } from '#federation/media/content-disposition.ts';
import { absenceError, thumbnailError } from '#federation/media/errors.ts';
import { findMedia } from '#federation/media/find.ts';
import type { Found, StoredMedia } from '#federation/media/found.ts';
import { openContent } from '#federation/media/open-content.ts';
import { type MediaQuery, thumbnailQuery, timeoutQuery } from '#federation/media/query.ts';
import { thumbnailOf } from '#federation/media/thumbnail.ts';
import { isServerName, type UserId } from '#keys/ids.ts';
import { isMediaId } from '#keys/mxc.ts';
import type { ByteRange } from '#storage/blob-place.ts';
import type { ServerContext } from '../context.ts';
import { sendFile } from './send-file.ts';

export type MediaRequest = FastifyRequest<{
  Params: { readonly serverName: string; readonly mediaId: string; readonly fileName?: string };
  Querystring: MediaQuery;
}>;

/** An exchange, and who asks; without `userId` only what is here is served. */
export interface Asked {
  readonly request: MediaRequest;
  readonly reply: FastifyReply;
  readonly userId: UserId | undefined;
}

/** Answers with a media, under the name that the path gives it or that it was uploaded with. */
export async function serveDownload(ctx: ServerContext, asked: Asked): Promise<FastifyReply> {
  return sendDownload(ctx, asked, foundOrThrow(await findAsked(ctx, asked)));
}

/** Sends a media, under the name that the path gives it or that it was uploaded with. */
export async function sendDownload(
  ctx: ServerContext,
  { request, reply }: Asked,
  media: StoredMedia,
): Promise<FastifyReply> {
  const { sha256, size, contentType } = media;
  const { fileName } = request.params;
  const name = fileName === undefined ? media.uploadName : cleanFileName(fileName);
  const disposition = dispositionOf(contentType, name);
  const content = (range?: ByteRange) => openContent(ctx, media, { sha256, range });
  return sendFile(request, reply, { content, sha256, size, contentType, disposition });
}

/** Answers with a thumbnail of a media; "MUST be `inline`". */
export async function serveThumbnail(ctx: ServerContext, asked: Asked): Promise<FastifyReply> {
  // Before anybody is asked for the media.
  thumbnailQuery(asked.request.query);
  return sendThumbnail(ctx, asked, foundOrThrow(await findAsked(ctx, asked)));
}

/** Sends a thumbnail of a media. */
export async function sendThumbnail(
  ctx: ServerContext,
  { request, reply }: Asked,
  media: StoredMedia,
): Promise<FastifyReply> {
  const wanted = thumbnailQuery(request.query);
  const result = await thumbnailOf(ctx, media, wanted);
  if (result.kind !== 'found') {
    throw thumbnailError(result.kind, { isOurs: media.server === ctx.serverName });
  }
  const { sha256, size, contentType } = result.thumbnail;
  const content = (range?: ByteRange) => openContent(ctx, media, { sha256, range });
  const disposition = thumbnailDisposition(contentType);
  return sendFile(request, reply, { content, sha256, size, contentType, disposition });
}

/** Looks for the media that the path names. */
export async function findAsked(ctx: ServerContext, { request, userId }: Asked): Promise<Found> {
  const { serverName: server, mediaId } = request.params;
  if (!isServerName(server)) throw invalidParam('Not a server name');
  if (!isMediaId(mediaId)) throw invalidParam('Not a media ID');
  const timeoutMs = timeoutQuery(request.query);
  return findMedia(
    ctx,
    { server, mediaId },
    {
      timeoutMs,
      ...(userId !== undefined && { beforeFetch: () => ctx.limits.take('media_fetch', userId) }),
    },
  );
}

function foundOrThrow(found: Found): StoredMedia {
  if (found.kind !== 'found') throw absenceError(found.kind);
  return found.media;
}
