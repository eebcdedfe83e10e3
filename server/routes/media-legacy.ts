/** The deprecated endpoints, which ask for no access token: https://spec.matrix.org/v1.19/client-server-api/#get_matrixmediav3downloadservernamemediaid */

import type { FastifyInstance } from 'fastify';
import { notFound } from '#federation/errors.ts';
import type { UserId } from '#keys/ids.ts';
import { findRequester } from '../auth/requester.ts';
import type { ServerContext } from '../context.ts';
import { type MediaRequest, serveDownload, serveThumbnail } from '../media/serve.ts';
import { queryString } from '../query.ts';

/**
 * `GET download` and `GET thumbnail`, frozen: "this endpoint MAY return `404 M_NOT_FOUND`" for all media, and does
 * unless the operator turns it on. A stranger gets what is here: only for who is signed in other servers are asked.
 */
export function mediaLegacyRoutes(app: FastifyInstance, ctx: ServerContext): void {
  const base = '/_matrix/media/v3';
  const options = { config: { longPoll: true } };

  for (const path of ['/download/:serverName/:mediaId', '/download/:serverName/:mediaId/:fileName']) {
    app.get(`${base}${path}`, options, async (request: MediaRequest, reply) =>
      serveDownload(ctx, { request, reply, userId: await onBehalfOf(ctx, request) }),
    );
  }

  app.get(`${base}/thumbnail/:serverName/:mediaId`, options, async (request: MediaRequest, reply) =>
    serveThumbnail(ctx, { request, reply, userId: await onBehalfOf(ctx, request) }),
  );
}

/** For whom other servers may be asked; undefined for nobody. */
async function onBehalfOf(ctx: ServerContext, request: MediaRequest): Promise<UserId | undefined> {
  if (!ctx.config.legacyMedia) throw notFound('Media are served to who is signed in');
  if (queryString(request.query, 'allow_remote') === 'false') return undefined;
  return (await findRequester(ctx, request))?.userId;
}
