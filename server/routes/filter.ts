/** https://spec.matrix.org/v1.19/client-server-api/#filtering */

import type { FastifyInstance, FastifyRequest } from 'fastify';
import { badJson, forbidden, notFound, tooLarge } from '#federation/errors.ts';
import type { UserId } from '#keys/ids.ts';
import * as filters from '#storage/filters.ts';
import { requireRequester } from '../auth/requester.ts';
import { bodyObject } from '../body.ts';
import type { ServerContext } from '../context.ts';
import { faultOfFilter } from '../sync/filter-faults.ts';

const MAX_FILTER_BYTES = 64 * 1024;

/** Filters that a client stores once and names by an id in `/sync` and elsewhere. */
export function filterRoutes(app: FastifyInstance, ctx: ServerContext): void {
  app.post<{ Params: { userId: string } }>('/_matrix/client/v3/user/:userId/filter', async (request) => {
    const userId = await requireSelf(ctx, request, request.params.userId);
    ctx.limits.take('account_data', userId);
    if (request.rawBody.length > MAX_FILTER_BYTES) throw tooLarge('The filter is over 64 KiB');
    const filter = bodyObject(request);
    const fault = faultOfFilter(filter);
    if (fault !== undefined) throw badJson(fault);
    return { filter_id: await ctx.db.write('filters.add', (tx) => filters.add(tx, userId, filter)) };
  });

  app.get<{ Params: { userId: string; filterId: string } }>(
    '/_matrix/client/v3/user/:userId/filter/:filterId',
    async (request) => {
      const userId = await requireSelf(ctx, request, request.params.userId);
      const filter = await filters.get(ctx.db, userId, request.params.filterId);
      if (filter === undefined) throw notFound('No such filter');
      return filter;
    },
  );
}

async function requireSelf(ctx: ServerContext, request: FastifyRequest, userId: string): Promise<UserId> {
  const requester = await requireRequester(ctx, request);
  if (userId !== requester.userId) throw forbidden('These are the filters of somebody else');
  return requester.userId;
}
