import type { FastifyRequest } from 'fastify';

const BEARER = /^Bearer +(\S+) *$/i;

/** The access token of a request: from the `Authorization` header, or from the query where older clients put it. */
export function accessTokenOf(request: FastifyRequest): string | undefined {
  const { authorization } = request.headers;
  if (authorization !== undefined) return bearerOf(authorization);
  const { query } = request;
  if (typeof query !== 'object' || query === null || !('access_token' in query)) return undefined;
  const { access_token: token } = query;
  return typeof token === 'string' && token !== '' ? token : undefined;
}

/** The access token in an `Authorization` header. */
export function bearerOf(authorization: string): string | undefined {
  return BEARER.exec(authorization)?.[1];
}
