/** https://spec.matrix.org/v1.19/client-server-api/#third-party-lookups */

import type { FastifyInstance } from 'fastify';
import { notFound } from '#federation/errors.ts';
import { requireRequester } from '../auth/requester.ts';
import type { ServerContext } from '../context.ts';

const PATH = '/_matrix/client/v3/thirdparty';

/** The protocols of other networks that are bridged: none, as there are no application services. */
export function thirdPartyLookupRoutes(app: FastifyInstance, ctx: ServerContext): void {
  app.get(`${PATH}/protocols`, async (request) => {
    await requireRequester(ctx, request);
    return {};
  });

  app.get(`${PATH}/protocol/:protocol`, async (request) => {
    await requireRequester(ctx, request);
    throw notFound('This server bridges no such protocol');
  });
}
