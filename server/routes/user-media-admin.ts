/**
 * What a user has uploaded, for administrators, by the path and answers that their tools know from Synapse:
 * https://element-hq.github.io/synapse/latest/admin_api/user_admin_api.html
 */

import type { FastifyInstance, FastifyRequest } from 'fastify';
import { invalidParam, notFound } from '#federation/errors.ts';
import { serverNameOf, type UserId } from '#keys/ids.ts';
import * as media from '#storage/media.ts';
import * as users from '#storage/users.ts';
import type { ServerContext } from '../context.ts';
import { admit, describe } from '../media/admin.ts';
import { deleteSome } from '../media/moderation.ts';
import { type Query, queryLimit, queryString } from '../query.ts';
import { userIdParam } from '../room-params.ts';

type UserRequest = FastifyRequest<{ Params: { userId: string }; Querystring: Query }>;

const PATH = '/_synapse/admin/v1/users/:userId/media';
/** What is put in order at once; of a user who has more the oldest. */
const MOST_ORDERED = 10_000;
const PAGE = { fallback: 100, most: 1_000 };

const ORDERS = new Map<string, (media: media.Media) => string | number>([
  ['created_ts', ({ createdTs }) => createdTs],
  ['last_access_ts', ({ accessedTs }) => accessedTs],
  ['media_id', ({ mediaId }) => mediaId],
  ['media_length', ({ size }) => size],
  ['media_type', ({ contentType }) => contentType],
  ['quarantined_by', ({ isQuarantined }) => Number(isQuarantined)],
  ['safe_from_quarantine', ({ isProtected }) => Number(isProtected)],
  ['upload_name', ({ uploadName }) => uploadName ?? ''],
]);

/** The list, a page at a time; and a page of it deleted. */
export function userMediaAdminRoutes(app: FastifyInstance, ctx: ServerContext): void {
  app.get(PATH, async (request: UserRequest) => {
    const { page, next, total } = await pageOf(ctx, request);
    const described = page.map((known) => describe(ctx, known));
    return { media: described, total, ...(next !== undefined && { next_token: next }) };
  });

  app.delete(PATH, async (request: UserRequest) => {
    const { page } = await pageOf(ctx, request);
    const going = page.filter(({ isProtected }) => !isProtected);
    await deleteSome(ctx, going);
    return { deleted_media: going.map(({ mediaId }) => mediaId), total: going.length };
  });
}

interface Page {
  readonly page: readonly media.Media[];
  /** Where the next one begins; undefined after the last. */
  readonly next: number | undefined;
  readonly total: number;
}

async function pageOf(ctx: ServerContext, request: UserRequest): Promise<Page> {
  await admit(ctx, request);
  const userId = await localUser(ctx, request.params.userId);
  const { query } = request;
  const limit = queryLimit(query, PAGE);
  const from = Number(queryString(query, 'from') ?? '0');
  if (!Number.isSafeInteger(from) || from < 0) throw invalidParam('from must be an integer, 0 or more');
  const all = await media.ofUser(ctx.db, userId, 0, MOST_ORDERED);
  const ordered = inOrder(all, query);
  const next = from + limit < all.length ? from + limit : undefined;
  return { page: ordered.slice(from, from + limit), next, total: all.length };
}

/** The newest first unless asked for otherwise; what is equal in the order in which it came. */
function inOrder(all: readonly media.Media[], query: Query): media.Media[] {
  const orderBy = queryString(query, 'order_by');
  const direction = queryString(query, 'dir') ?? (orderBy === undefined ? 'b' : 'f');
  if (direction !== 'f' && direction !== 'b') throw invalidParam('dir must be f or b');
  const keyOf = ORDERS.get(orderBy ?? 'created_ts');
  if (keyOf === undefined) throw invalidParam(`order_by must be one of ${[...ORDERS.keys()].join(', ')}`);
  const sign = direction === 'f' ? 1 : -1;
  return all.toSorted((one, other) => {
    const [a, b] = [keyOf(one), keyOf(other)];
    return sign * (a < b ? -1 : Number(a > b)) || sign * (one.nid - other.nid);
  });
}

async function localUser(ctx: ServerContext, value: string): Promise<UserId> {
  const userId = userIdParam(value);
  if (serverNameOf(userId) !== ctx.serverName) throw invalidParam('Only users of this server');
  if ((await users.of(ctx.db, userId)) === undefined) throw notFound('There is no such user');
  return userId;
}
