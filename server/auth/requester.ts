/** https://spec.matrix.org/v1.19/client-server-api/#client-authentication */

import type { FastifyRequest } from 'fastify';
import { missingToken, unknownToken } from '#federation/errors.ts';
import type { ServerContext } from '../context.ts';
import type { Requester } from './sessions.ts';

export type { Requester } from './sessions.ts';

const BEARER = /^Bearer +(\S+) *$/i;

/** Who makes the request, by its access token; throws `M_MISSING_TOKEN` or `M_UNKNOWN_TOKEN`. */
export async function requireRequester(
  ctx: Pick<ServerContext, 'sessions'>,
  request: FastifyRequest,
): Promise<Requester> {
  const token = accessTokenOf(request);
  if (token === undefined) throw missingToken();
  const requester = await ctx.sessions.find(token, () => request.ip);
  if (requester === undefined) throw unknownToken();
  return requester;
}

/** Who makes the request, where it has an access token at all; throws `M_UNKNOWN_TOKEN`. */
export async function findRequester(
  ctx: Pick<ServerContext, 'sessions'>,
  request: FastifyRequest,
): Promise<Requester | undefined> {
  return accessTokenOf(request) === undefined ? undefined : requireRequester(ctx, request);
}

/** From the `Authorization` header, or from the query where older clients put it. */
function accessTokenOf(request: FastifyRequest): string | undefined {
  const { authorization } = request.headers;
  if (authorization !== undefined) return BEARER.exec(authorization)?.[1];
  const { query } = request;
  if (typeof query !== 'object' || query === null || !('access_token' in query)) return undefined;
  const { access_token: token } = query;
  return typeof token === 'string' && token !== '' ? token : undefined;
}
