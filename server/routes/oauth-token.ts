import type { FastifyInstance, FastifyRequest } from 'fastify';
import { unrecognized } from '#federation/errors.ts';
import type { ServerContext } from '../context.ts';
import { acceptForms, FORM_LIMIT } from '../forms.ts';
import { requireClient } from '../oauth/clients.ts';
import { exchangeCode } from '../oauth/codes.ts';
import { answerAsOAuth, OAuthError } from '../oauth/errors.ts';
import { grantTypes, issuerOf, paths } from '../oauth/metadata.ts';
import { formParameters, type Parameters } from '../oauth/parameters.ts';
import { refreshSession, type TokenAnswer } from '../oauth/sessions.ts';

/** The token endpoint: https://spec.matrix.org/v1.19/client-server-api/#grant-types */
export function oauthTokenRoutes(app: FastifyInstance, ctx: ServerContext): void {
  app.register(async (oauth) => {
    acceptForms(oauth);
    answerAsOAuth(oauth, 'invalid_request');

    oauth.post(paths.token, { bodyLimit: FORM_LIMIT }, async (request, reply) => {
      if (issuerOf(ctx.config) === undefined) throw unrecognized();
      ctx.limits.take('oauth_token', request.ip);
      refuseSecret(request);
      const answer = await tokensFor(ctx, formParameters(request));
      reply.headers({ 'cache-control': 'no-store', pragma: 'no-cache' });
      return answer;
    });
  });
}

async function tokensFor(ctx: ServerContext, given: Parameters): Promise<TokenAnswer> {
  const asked = given.require('grant_type');
  const grant = grantTypes.find((known) => known === asked);
  if (grant === undefined) throw new OAuthError('unsupported_grant_type', 'grant_type is not known');
  const client = await requireClient(ctx, given.require('client_id'), grant);
  switch (grant) {
    case 'authorization_code':
      return exchangeCode(ctx, {
        client,
        code: given.require('code'),
        redirectUri: given.require('redirect_uri'),
        verifier: given.require('code_verifier'),
      });
    case 'refresh_token':
      return refreshSession(ctx, { client, token: given.require('refresh_token') });
    default:
      throw new OAuthError('unsupported_grant_type', 'grant_type is not known');
  }
}

/** "If the client attempted to authenticate via the "Authorization" request header field" it is told by which scheme. */
export function refuseSecret(request: FastifyRequest): void {
  if (request.headers.authorization === undefined) return;
  const headers = { 'www-authenticate': 'Basic realm="oauth2"' };
  throw new OAuthError('invalid_client', 'Clients of this server have no secrets', headers);
}
