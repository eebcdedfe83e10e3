import type { FastifyInstance } from 'fastify';
import { hashToken } from '#keys/tokens.ts';
import * as openidTokens from '#storage/openid-tokens.ts';
import type { FederationContext } from '../context.ts';
import { missingToken, unknownToken } from '../errors.ts';

/** `GET openid/userinfo`, for services that a user has given a token: https://spec.matrix.org/v1.19/server-server-api/#openid */
export function openidRoutes(app: FastifyInstance, ctx: FederationContext): void {
  app.get<{ Querystring: Record<string, unknown> }>(
    '/_matrix/federation/v1/openid/userinfo',
    async ({ query: { access_token: token } }) => {
      if (typeof token !== 'string' || token === '') throw missingToken();
      const userId = await openidTokens.ownerOf(ctx.db, hashToken(token), ctx.clock.now());
      if (userId === undefined) throw unknownToken();
      return { sub: userId };
    },
  );
}
