/** https://spec.matrix.org/v1.19/client-server-api/#device-authorisation-flow */

import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { unrecognized } from '#federation/errors.ts';
import type { ServerContext } from '../context.ts';
import { speechFor } from '../languages/choose.ts';
import { requireClient } from '../oauth/clients.ts';
import { decide, startDeviceGrant, type WaitingDevice, waitingDevice } from '../oauth/device-grants.ts';
import { type DeviceProblem, sendCodePage, sendDecidedPage, sendDevicePage } from '../oauth/device-page.ts';
import { answerAsOAuth, OAuthError, refuseSecret } from '../oauth/errors.ts';
import { DEVICE_GRANT, issuerOf, paths, urlOf } from '../oauth/metadata.ts';
import { formParameters, queryOf } from '../oauth/parameters.ts';
import { parseScope } from '../oauth/scope.ts';
import { acceptForms, FORM_LIMIT, formFields } from '../pages/forms.ts';
import { isFromOurPage, isTheirForm, type Person, personOf } from '../sign-in/browser-sessions.ts';
import { sendToSignIn } from '../sign-in/next.ts';

export function oauthDeviceRoutes(app: FastifyInstance, ctx: ServerContext): void {
  app.register(async (oauth) => {
    acceptForms(oauth);
    answerAsOAuth(oauth, 'invalid_request');

    oauth.post(paths.deviceAuthorization, { bodyLimit: FORM_LIMIT }, async (request, reply) => {
      const issuer = requireIssuer(ctx);
      ctx.limits.take('oauth_device', request.ip);
      refuseSecret(request);
      const given = formParameters(request);
      const client = await requireClient(ctx, given.require('client_id'), DEVICE_GRANT);
      const asked = parseScope(given.get('scope') ?? '');
      if ('fault' in asked) throw new OAuthError('invalid_scope', asked.fault);
      const { scope } = asked;
      const started = await startDeviceGrant(ctx, { client, scope, address: request.ip });
      const page = urlOf(issuer, paths.device);
      reply.headers({ 'cache-control': 'no-store', pragma: 'no-cache' });
      return {
        device_code: started.deviceCode,
        user_code: started.userCode,
        verification_uri: page,
        verification_uri_complete: `${page}?user_code=${started.userCode}`,
        expires_in: started.expiresInMs / 1_000,
        interval: started.intervalMs / 1_000,
      };
    });
  });

  app.register(async (pages) => {
    acceptForms(pages);

    pages.get(paths.device, async (request, reply) => {
      requireIssuer(ctx);
      const speech = speechFor(ctx, request);
      const person = await personOf(ctx, request);
      if (person === undefined) return sendToSignIn(request, reply);
      const userCode = queryOf(request).get('user_code');
      if (userCode === null) return sendCodePage(reply, { speech, person });
      return showDevice(ctx, request, reply, { person, userCode });
    });

    pages.post(paths.device, { bodyLimit: FORM_LIMIT }, async (request, reply) => {
      requireIssuer(ctx);
      const speech = speechFor(ctx, request);
      const person = await personOf(ctx, request);
      if (person === undefined) return sendToSignIn(request, reply);
      const form = formFields(request.body);
      if (!isTheirForm(person, form) || !isFromOurPage(ctx, request)) {
        return sendCodePage(reply, { speech, person, problem: 'expired' });
      }
      const userCode = form.get('user_code') ?? '';
      const decision = form.get('decision');
      if (decision === null) return showDevice(ctx, request, reply, { person, userCode });
      const device = await findDevice(ctx, request, { person, userCode });
      if (typeof device === 'string') return sendCodePage(reply, { speech, person, problem: device });
      const isAllowed = decision === 'allow';
      const isInTime = await decide(ctx, userCode, isAllowed ? person : undefined);
      if (!isInTime) return sendCodePage(reply, { speech, person, problem: 'wrongCode' });
      return sendDecidedPage(reply, { speech, isAllowed });
    });
  });
}

interface Entered {
  readonly person: Person;
  readonly userCode: string;
}

async function showDevice(
  ctx: ServerContext,
  request: FastifyRequest,
  reply: FastifyReply,
  { person, userCode }: Entered,
): Promise<FastifyReply> {
  const speech = speechFor(ctx, request);
  const waiting = await findDevice(ctx, request, { person, userCode });
  if (typeof waiting === 'string') return sendCodePage(reply, { speech, person, problem: waiting });
  return sendDevicePage(reply, { speech, person, waiting });
}

/** "the authorization server SHOULD rate-limit user code attempts": those that are wrong. */
async function findDevice(
  ctx: ServerContext,
  request: FastifyRequest,
  { person, userCode }: Entered,
): Promise<WaitingDevice | DeviceProblem> {
  const keys = [request.ip, person.userId];
  if (keys.some((key) => ctx.limits.isSpent('oauth_user_code', key))) return 'tooMany';
  const device = await waitingDevice(ctx, userCode);
  if (device !== undefined) return device;
  for (const key of keys) ctx.limits.tryTake('oauth_user_code', key);
  return 'wrongCode';
}

function requireIssuer(ctx: ServerContext): string {
  const issuer = issuerOf(ctx.config);
  if (issuer === undefined) throw unrecognized();
  return issuer;
}
