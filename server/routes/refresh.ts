import type { FastifyInstance } from 'fastify';
import { unknownToken, userLocked } from '#federation/errors.ts';
import { tokensAnswer } from '../auth/sign-in.ts';
import { refresh } from '../auth/tokens.ts';
import { bodyObject, requiredString } from '../body.ts';
import type { ServerContext } from '../context.ts';

/** https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3refresh */
export function refreshRoutes(app: FastifyInstance, ctx: ServerContext): void {
  app.post('/_matrix/client/v3/refresh', async (request) => {
    const token = requiredString(bodyObject(request), 'refresh_token');
    ctx.limits.take('refresh', request.ip);
    const result = await refresh(ctx, token);
    switch (result.kind) {
      case 'refreshed':
        return tokensAnswer(result.tokens);
      case 'locked':
        throw userLocked();
      case 'unknown':
        throw unknownToken({ softLogout: true });
    }
  });
}
