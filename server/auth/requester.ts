/** https://spec.matrix.org/v1.19/client-server-api/#client-authentication */

import type { FastifyRequest } from 'fastify';
import { forbidden, missingToken, unknownToken, userLocked } from '#federation/errors.ts';
import type { ServerContext } from '../context.ts';
import { refusalOf } from './route-access.ts';
import type { Found, Requester } from './sessions.ts';

export type { Requester } from './sessions.ts';

const BEARER = /^Bearer +(\S+) *$/i;
const MAX_USER_AGENT = 200;

/**
 * Who makes the request, by its access token, where they may use the route. Throws `M_MISSING_TOKEN`,
 * `M_UNKNOWN_TOKEN`, `M_USER_LOCKED`, `M_USER_SUSPENDED` or `M_GUEST_ACCESS_FORBIDDEN`.
 */
export async function requireRequester(
  ctx: Pick<ServerContext, 'sessions'>,
  request: FastifyRequest,
): Promise<Requester> {
  const token = accessTokenOf(request);
  if (token === undefined) throw missingToken();
  const { requester, isLocked } = await known(ctx, request, token);
  const { url = '' } = request.routeOptions;
  const refusal = refusalOf({ ...requester, isLocked }, request.method, url);
  if (refusal !== undefined) throw refusal;
  return requester;
}

/**
 * Who makes the request, where it has an access token at all: for routes that are open to everybody. Throws
 * `M_UNKNOWN_TOKEN` or `M_USER_LOCKED`.
 */
export async function findRequester(
  ctx: Pick<ServerContext, 'sessions'>,
  request: FastifyRequest,
): Promise<Requester | undefined> {
  const token = accessTokenOf(request);
  if (token === undefined) return undefined;
  const { requester, isLocked } = await known(ctx, request, token);
  if (isLocked) throw userLocked();
  return requester;
}

/** Who makes the request, if they are an administrator of this server; else throws `M_FORBIDDEN`. */
export async function requireAdmin(
  ctx: Pick<ServerContext, 'sessions'>,
  request: FastifyRequest,
): Promise<Requester> {
  const requester = await requireRequester(ctx, request);
  if (!requester.isAdmin) throw forbidden('Only for administrators of this server');
  return requester;
}

async function known(
  ctx: Pick<ServerContext, 'sessions'>,
  request: FastifyRequest,
  token: string,
): Promise<Found & { readonly kind: 'known' }> {
  const found = await ctx.sessions.find(token, () => ({
    ip: request.ip,
    userAgent: request.headers['user-agent']?.slice(0, MAX_USER_AGENT),
  }));
  if (found.kind === 'known') return found;
  throw unknownToken({ softLogout: found.kind === 'expired' });
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
