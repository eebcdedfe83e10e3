/** Media of ours, for other servers: https://spec.matrix.org/v1.19/server-server-api/#content-repository */

import { Readable } from 'node:stream';
import type { FastifyInstance, FastifyReply } from 'fastify';
import { isMediaId } from '#keys/mxc.ts';
import { authenticateOrigin } from '../auth.ts';
import type { FederationContext } from '../context.ts';
import { notFound } from '../errors.ts';
import { dispositionOf, thumbnailDisposition } from '../media/content-disposition.ts';
import type { MediaContext } from '../media/context.ts';
import { absenceError, thumbnailError } from '../media/errors.ts';
import { findMedia } from '../media/find.ts';
import type { StoredMedia } from '../media/found.ts';
import { multipartFrame } from '../media/multipart.ts';
import { openContent } from '../media/open-content.ts';
import { type MediaQuery, thumbnailQuery, timeoutQuery } from '../media/query.ts';
import { thumbnailOf } from '../media/thumbnail.ts';

type Request = { Params: { mediaId: string }; Querystring: MediaQuery };

/** A peer that takes nothing for so long is gone. */
const STALL_MS = 60_000;

/** `GET media/download` and `GET media/thumbnail`. The bytes are in the answer: not every server follows redirects. */
export function mediaRoutes(app: FastifyInstance, ctx: FederationContext & MediaContext): void {
  const preHandler = authenticateOrigin(ctx);

  app.get<Request>(
    '/_matrix/federation/v1/media/download/:mediaId',
    { preHandler, config: { longPoll: true } },
    async ({ params, query }, reply) => {
      const media = await ownMedia(ctx, params.mediaId, query);
      const { sha256, size, contentType, uploadName } = media;
      const disposition = dispositionOf(contentType, uploadName);
      return answer(reply, await openContent(ctx, media, { sha256 }), { contentType, disposition, size });
    },
  );

  app.get<Request>(
    '/_matrix/federation/v1/media/thumbnail/:mediaId',
    { preHandler, config: { longPoll: true } },
    async ({ params, query }, reply) => {
      const wanted = thumbnailQuery(query);
      const media = await ownMedia(ctx, params.mediaId, query);
      const result = await thumbnailOf(ctx, media, wanted);
      if (result.kind !== 'found') throw thumbnailError(result.kind, { isOurs: true });
      const { sha256, size, contentType } = result.thumbnail;
      const disposition = thumbnailDisposition(contentType);
      return answer(reply, await openContent(ctx, media, { sha256 }), { contentType, disposition, size });
    },
  );
}

async function ownMedia(ctx: MediaContext, mediaId: string, query: MediaQuery): Promise<StoredMedia> {
  if (!isMediaId(mediaId)) throw notFound('Not a media ID');
  const mxc = { server: ctx.serverName, mediaId };
  const found = await findMedia(ctx, mxc, { timeoutMs: timeoutQuery(query) });
  if (found.kind !== 'found') throw absenceError(found.kind);
  return found.media;
}

function answer(
  reply: FastifyReply,
  bytes: Readable | undefined,
  file: { readonly contentType: string; readonly disposition: string; readonly size: number },
): FastifyReply {
  if (bytes === undefined) throw notFound();
  const { contentType, head, tail } = multipartFrame(file);
  const contentOf: AsyncIterable<Buffer> = bytes;
  async function* framed(): AsyncGenerator<Buffer> {
    yield head;
    yield* contentOf;
    yield tail;
  }
  const body = Readable.from(framed(), { objectMode: false });
  // Where the peer has gone before the first byte, nobody has begun to read the file.
  body.once('close', () => bytes.destroy());
  reply.raw.setTimeout(STALL_MS, () => reply.raw.destroy());
  return reply
    .header('content-type', contentType)
    .header('content-length', head.length + file.size + tail.length)
    .send(body);
}
