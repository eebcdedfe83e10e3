/** https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1mutual_rooms */

import type { FastifyInstance, FastifyRequest } from 'fastify';
import { invalidParam } from '#federation/errors.ts';
import { isCompliantUserId } from '#keys/ids.ts';
import * as sharedRooms from '#storage/shared-rooms.ts';
import { requireRequester } from '../auth/requester.ts';
import type { ServerContext } from '../context.ts';
import { type Query, queryString, requiredQuery } from '../query.ts';

type MutualRoomsRequest = FastifyRequest<{ Querystring: Query }>;

const MOST = 500;
const TOKEN = /^m(\d{1,15})$/;

/** The rooms in which a user and another one are. */
export function mutualRoomsRoutes(app: FastifyInstance, ctx: ServerContext): void {
  app.get('/_matrix/client/v1/mutual_rooms', async (request: MutualRoomsRequest) => {
    const { joined, count, next } = await page(ctx, request, 'from');
    return { joined, count, ...(next !== undefined && { next_batch: next }) };
  });

  // MSC2666: clients that do not know the path above look for this one by `unstable_features`.
  app.get(
    '/_matrix/client/unstable/uk.half-shot.msc2666/user/mutual_rooms',
    async (request: MutualRoomsRequest) => {
      const { joined, count, next } = await page(ctx, request, 'batch_token');
      return { joined, count, ...(next !== undefined && { next_batch_token: next }) };
    },
  );
}

async function page(ctx: ServerContext, request: MutualRoomsRequest, tokenName: string) {
  const { userId } = await requireRequester(ctx, request);
  ctx.limits.take('directory', userId);
  const other = requiredQuery(request.query, 'user_id');
  if (!isCompliantUserId(other)) throw invalidParam('user_id is not a user ID');
  if (other === userId) throw invalidParam('You cannot ask for the rooms that you share with yourself');
  const token = queryString(request.query, tokenName);
  const after = token === undefined ? -1 : Number(TOKEN.exec(token)?.[1] ?? Number.NaN);
  if (Number.isNaN(after)) throw invalidParam(`${tokenName} is not a token of this server`);
  const { rooms, count, end } = await sharedRooms.mutual(ctx.db, [userId, other], {
    after,
    limit: MOST,
  });
  return { joined: rooms, count, next: end === undefined ? undefined : `m${end}` };
}
