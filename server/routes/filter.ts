/** https://spec.matrix.org/v1.19/client-server-api/#filtering */

import type { FastifyInstance, FastifyRequest } from 'fastify';
import { badJson, forbidden, notFound, tooLarge } from '#federation/errors.ts';
import type { UserId } from '#keys/ids.ts';
import { isObject, isStringArray, type JsonObject, own } from '#keys/json.ts';
import * as filters from '#storage/filters.ts';
import { requireRequester } from '../auth/requester.ts';
import { bodyObject } from '../body.ts';
import type { ServerContext } from '../context.ts';

const MAX_FILTER_BYTES = 64 * 1024;
const LISTS = ['types', 'not_types', 'senders', 'not_senders', 'rooms', 'not_rooms', 'event_fields'];

/** Filters that a client stores once and names by an id in `/sync` and elsewhere. */
export function filterRoutes(app: FastifyInstance, ctx: ServerContext): void {
  app.post<{ Params: { userId: string } }>('/_matrix/client/v3/user/:userId/filter', async (request) => {
    const userId = await requireSelf(ctx, request, request.params.userId);
    ctx.limits.take('account_data', userId);
    if (request.rawBody.length > MAX_FILTER_BYTES) throw tooLarge('The filter is over 64 KiB');
    const filter = bodyObject(request);
    const fault = faultOf(filter);
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

/** The first member whose shape is wrong; what is unknown is left to newer clients. */
function faultOf(filter: JsonObject, at = ''): string | undefined {
  for (const [key, value] of Object.entries(filter)) {
    const name = `${at}${key}`;
    if (LISTS.includes(key) && value !== null && !isStringArray(value))
      return `${name} must be a list of strings`;
    if (key === 'limit' && !Number.isSafeInteger(value)) return `${name} must be an integer`;
    if (['room', 'timeline', 'state', 'ephemeral', 'account_data', 'presence'].includes(key)) {
      const inner = own(filter, key);
      if (!isObject(inner)) return `${name} must be an object`;
      const fault = faultOf(inner, `${name}.`);
      if (fault !== undefined) return fault;
    }
  }
  return undefined;
}
