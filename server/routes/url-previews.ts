/** https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1mediapreview_url */

import type { FastifyInstance, FastifyRequest } from 'fastify';
import { forbidden, invalidParam, limitExceeded, unknown, unrecognized } from '#federation/errors.ts';
import type { JsonObject } from '#keys/json.ts';
import { requireRequester } from '../auth/requester.ts';
import type { ServerContext } from '../context.ts';
import { pageAddress } from '../previews/page-address.ts';
import type { PreviewResult } from '../previews/previews.ts';
import { type Query, queryString, requiredQuery } from '../query.ts';

type PreviewRequest = FastifyRequest<{ Querystring: Query }>;

const TIMESTAMP = /^\d{1,15}$/;
const BUSY_RETRY_MS = 5_000;

/** `GET preview_url`, at its path and the deprecated one. */
export function urlPreviewsRoutes(app: FastifyInstance, ctx: ServerContext): void {
  // They wait for pages of the web.
  const options = { config: { longPoll: true } };
  for (const base of ['/_matrix/client/v1/media', '/_matrix/media/v3']) {
    app.get(`${base}/preview_url`, options, async (request: PreviewRequest) => {
      const { userId } = await requireRequester(ctx, request);
      if (ctx.previews === undefined) throw unrecognized();
      const url = pageAddress(requiredQuery(request.query, 'url'));
      if (url === undefined) throw invalidParam('url must be the address of a page of the web');
      // "The server may return a newer version": it does.
      if (!TIMESTAMP.test(queryString(request.query, 'ts') ?? '0'))
        throw invalidParam('ts must be an integer');
      return previewOf(await ctx.previews.of(url, () => ctx.limits.take('url_preview', userId)));
    });
  }
}

function previewOf(result: PreviewResult): JsonObject {
  switch (result.kind) {
    case 'found':
      return result.preview;
    case 'forbidden':
      throw forbidden('No previews are made of this page');
    case 'failed':
      throw unknown(502, 'The page could not be read');
    case 'busy':
      throw limitExceeded(BUSY_RETRY_MS);
  }
}
