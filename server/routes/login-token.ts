import type { FastifyInstance } from 'fastify';
import { hashToken, newToken } from '#keys/tokens.ts';
import * as deviceOrigins from '#storage/device-origins.ts';
import * as loginTokens from '#storage/login-tokens.ts';
import { confirmByPassword } from '../auth/confirm-password.ts';
import { requireRequester, requireStillSignedIn } from '../auth/requester.ts';
import { bodyObject } from '../body.ts';
import type { ServerContext } from '../context.ts';

/** "120000 (2 minutes) is recommended as a default." */
const TOKEN_MS = 120_000;

/** https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv1loginget_token */
export function loginTokenRoutes(app: FastifyInstance, ctx: ServerContext): void {
  app.post('/_matrix/client/v1/login/get_token', async (request) => {
    const requester = await requireRequester(ctx, request);
    const body = bodyObject(request);
    // "Servers MUST always re-prompt the user": a session is finished with the request that it confirms.
    const action = 'sign another device in for';
    const session = await confirmByPassword(ctx, body, { requester, action, address: request.ip });
    const { userId } = requester;
    ctx.limits.take('login_token', userId);
    const token = newToken('klt');
    const now = ctx.clock.now();
    await ctx.db.write('loginTokens.add', async (tx) => {
      await requireStillSignedIn(tx, requester);
      // A device that another one has signed in ends with the same session of an identity provider.
      const origin = await deviceOrigins.of(tx, requester);
      const expiresTs = now + TOKEN_MS;
      await loginTokens.add(tx, { hash: hashToken(token), userId, expiresTs, origin }, now);
    });
    ctx.interactiveAuth.finish(session);
    return { login_token: token, expires_in_ms: TOKEN_MS };
  });
}
