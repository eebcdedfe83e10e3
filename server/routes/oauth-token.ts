import type { FastifyInstance } from 'fastify';
import { unrecognized } from '#federation/errors.ts';
import type { ServerContext } from '../context.ts';
import { requireClient } from '../oauth/clients.ts';
import { exchangeCode } from '../oauth/codes.ts';
import { DevicePolls, exchangeDeviceCode } from '../oauth/device-grants.ts';
import { answerAsOAuth, OAuthError, refuseSecret } from '../oauth/errors.ts';
import { DEVICE_GRANT, grantTypes, issuerOf, paths } from '../oauth/metadata.ts';
import { formParameters, type Parameters } from '../oauth/parameters.ts';
import { refreshSession, type TokenAnswer } from '../oauth/sessions.ts';
import { acceptForms, FORM_LIMIT } from '../pages/forms.ts';

/** The token endpoint: https://spec.matrix.org/v1.19/client-server-api/#grant-types */
export function oauthTokenRoutes(app: FastifyInstance, ctx: ServerContext): void {
  const polls = new DevicePolls();
  app.register(async (oauth) => {
    acceptForms(oauth);
    answerAsOAuth(oauth, 'invalid_request');

    oauth.post(paths.token, { bodyLimit: FORM_LIMIT }, async (request, reply) => {
      if (issuerOf(ctx.config) === undefined) throw unrecognized();
      ctx.limits.take('oauth_token', request.ip);
      refuseSecret(request);
      const answer = await tokensFor(ctx, polls, formParameters(request));
      reply.headers({ 'cache-control': 'no-store', pragma: 'no-cache' });
      return answer;
    });
  });
}

async function tokensFor(ctx: ServerContext, polls: DevicePolls, given: Parameters): Promise<TokenAnswer> {
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
    case DEVICE_GRANT:
      return exchangeDeviceCode(ctx, polls, { client, deviceCode: given.require('device_code') });
  }
}
