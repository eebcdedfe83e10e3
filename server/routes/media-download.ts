/** Media for who is signed in: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1mediadownloadservernamemediaid */

import type { FastifyInstance } from 'fastify';
import { requireRequester } from '../auth/requester.ts';
import type { ServerContext } from '../context.ts';
import { type MediaRequest, serveDownload, serveThumbnail } from '../media/serve.ts';

/** `GET download`, with a file name or without, and `GET thumbnail`. */
export function mediaDownloadRoutes(app: FastifyInstance, ctx: ServerContext): void {
  const base = '/_matrix/client/v1/media';
  // They may wait for other servers, and for uploads.
  const options = { config: { longPoll: true } };

  for (const path of ['/download/:serverName/:mediaId', '/download/:serverName/:mediaId/:fileName']) {
    app.get(`${base}${path}`, options, async (request: MediaRequest, reply) => {
      const { userId } = await requireRequester(ctx, request);
      return serveDownload(ctx, { request, reply, userId });
    });
  }

  app.get(`${base}/thumbnail/:serverName/:mediaId`, options, async (request: MediaRequest, reply) => {
    const { userId } = await requireRequester(ctx, request);
    return serveThumbnail(ctx, { request, reply, userId });
  });
}
