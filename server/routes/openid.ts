import type { FastifyInstance } from 'fastify';
import { forbidden } from '#federation/errors.ts';
import { hashToken, newToken } from '#keys/tokens.ts';
import * as openidTokens from '#storage/openid-tokens.ts';
import { requireRequester, requireStillSignedIn } from '../auth/requester.ts';
import { bodyObject } from '../body.ts';
import type { ServerContext } from '../context.ts';

const TOKEN_SECONDS = 3_600;

/** https://spec.matrix.org/v1.19/client-server-api/#openid */
export function openidTokenRoutes(app: FastifyInstance, ctx: ServerContext): void {
  app.post<{ Params: { userId: string } }>(
    '/_matrix/client/v3/user/:userId/openid/request_token',
    async (request) => {
      const requester = await requireRequester(ctx, request);
      const { userId } = requester;
      if (request.params.userId !== userId) throw forbidden('Only for yourself');
      ctx.limits.take('directory', userId);
      bodyObject(request);
      const token = newToken('kot');
      const now = ctx.clock.now();
      const expiresTs = now + TOKEN_SECONDS * 1_000;
      await ctx.db.write('openid.add', async (tx) => {
        await requireStillSignedIn(tx, requester);
        await openidTokens.add(tx, { hash: hashToken(token), userId, expiresTs }, now);
      });
      return {
        access_token: token,
        token_type: 'Bearer',
        matrix_server_name: ctx.serverName,
        expires_in: TOKEN_SECONDS,
      };
    },
  );
}
