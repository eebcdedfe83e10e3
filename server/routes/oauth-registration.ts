import type { FastifyInstance } from 'fastify';
import { unrecognized } from '#federation/errors.ts';
import { bodyObject } from '../body.ts';
import type { ServerContext } from '../context.ts';
import { registerClient } from '../oauth/clients.ts';
import { answerAsOAuth } from '../oauth/errors.ts';
import { issuerOf, paths } from '../oauth/metadata.ts';

const BODY_LIMIT = 16 * 1_024;

/** https://spec.matrix.org/v1.19/client-server-api/#dynamic-client-registration-flow */
export function oauthRegistrationRoutes(app: FastifyInstance, ctx: ServerContext): void {
  app.register(async (oauth) => {
    answerAsOAuth(oauth, 'invalid_client_metadata');

    oauth.post(paths.register, { bodyLimit: BODY_LIMIT }, async (request, reply) => {
      if (issuerOf(ctx.config) === undefined) throw unrecognized();
      ctx.limits.take('oauth_registration', request.ip);
      const client = await registerClient(ctx, bodyObject(request), () =>
        ctx.limits.take('oauth_new_client', request.ip),
      );
      reply.code(201).headers({ 'cache-control': 'no-store', pragma: 'no-cache' });
      return { ...client, client_id_issued_at: Math.floor(ctx.clock.now() / 1_000) };
    });
  });
}
