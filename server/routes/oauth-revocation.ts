import type { FastifyInstance } from 'fastify';
import { unrecognized } from '#federation/errors.ts';
import type { ServerContext } from '../context.ts';
import { answerAsOAuth, refuseSecret } from '../oauth/errors.ts';
import { issuerOf, paths } from '../oauth/metadata.ts';
import { formParameters } from '../oauth/parameters.ts';
import { revoke } from '../oauth/revocation.ts';
import { acceptForms, FORM_LIMIT } from '../pages/forms.ts';

/** https://spec.matrix.org/v1.19/client-server-api/#token-revocation */
export function oauthRevocationRoutes(app: FastifyInstance, ctx: ServerContext): void {
  app.register(async (oauth) => {
    acceptForms(oauth);
    answerAsOAuth(oauth, 'invalid_request');

    oauth.post(paths.revoke, { bodyLimit: FORM_LIMIT }, async (request, reply) => {
      if (issuerOf(ctx.config) === undefined) throw unrecognized();
      ctx.limits.take('oauth_token', request.ip);
      refuseSecret(request);
      await revoke(ctx, formParameters(request).require('token'));
      // "The authorization server responds with HTTP status code 200 if the token has been revoked successfully or if the
      // client submitted an invalid token."
      reply.headers({ 'cache-control': 'no-store', pragma: 'no-cache' });
      return {};
    });
  });
}
