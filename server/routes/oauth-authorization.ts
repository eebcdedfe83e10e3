/** https://spec.matrix.org/v1.19/client-server-api/#authorisation-code-flow */

import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { unrecognized } from '#federation/errors.ts';
import * as devices from '#storage/devices.ts';
import type { ServerContext } from '../context.ts';
import { speechFor } from '../languages/choose.ts';
import {
  type AuthorizationRequest,
  type CheckedRequest,
  checkRequest,
  withoutPrompt,
} from '../oauth/authorization-request.ts';
import { issueCode } from '../oauth/codes.ts';
import { sendConsentPage, sendProblemPage, sendTooManyPage } from '../oauth/consent-page.ts';
import { issuerOf, paths } from '../oauth/metadata.ts';
import { queryOf } from '../oauth/parameters.ts';
import { acceptForms, FORM_LIMIT, formFields } from '../pages/forms.ts';
import { isFromOurPage, isTheirForm, type Person, personOf } from '../sign-in/browser-sessions.ts';
import { signInUrl } from '../sign-in/next.ts';

/** The authorisation endpoint: the request, and what the person says to it. */
export function oauthAuthorizationRoutes(app: FastifyInstance, ctx: ServerContext): void {
  app.register(async (pages) => {
    acceptForms(pages);

    pages.get(paths.authorize, async (request, reply) => {
      const checked = await check(ctx, request);
      const person = await personOf(ctx, request);
      if (checked.kind !== 'request') return refuse(ctx, request, reply, { checked, person });
      const asked = checked.request;
      const elsewhere = signInBefore(asked, person);
      if (elsewhere !== undefined) return sendOn(reply, elsewhere);
      if (person === undefined || asked.prompts.has('none'))
        return refusePrompt(ctx, request, reply, { asked, person });
      return showConsent(ctx, request, reply, { asked, person });
    });

    pages.post(paths.authorize, { bodyLimit: FORM_LIMIT }, async (request, reply) => {
      const checked = await check(ctx, request);
      const person = await personOf(ctx, request);
      if (checked.kind !== 'request') return refuse(ctx, request, reply, { checked, person });
      const asked = checked.request;
      if (person === undefined) return sendOn(reply, signInUrl(asked.url));
      const form = formFields(request.body);
      if (!isTheirForm(person, form) || !isFromOurPage(ctx, request)) {
        return showConsent(ctx, request, reply, { asked, person, isStale: true });
      }
      if (form.get('decision') !== 'allow') {
        return sendOn(reply, asked.answer({ error: 'access_denied', error_description: 'The user said no' }));
      }
      if (!ctx.limits.tryTake('oauth_code', person.userId)) {
        return sendTooManyPage(reply, speechFor(ctx, request));
      }
      const code = await issueCode(ctx, person, asked);
      return sendOn(reply, code === undefined ? signInUrl(asked.url) : asked.answer({ code }));
    });
  });
}

function check(ctx: ServerContext, request: FastifyRequest): Promise<CheckedRequest> {
  const issuer = issuerOf(ctx.config);
  if (issuer === undefined) throw unrecognized();
  return checkRequest(ctx, queryOf(request), issuer);
}

/** Where the person must go before they are asked; undefined for those who are to be asked now. */
function signInBefore(asked: AuthorizationRequest, person: Person | undefined): string | undefined {
  const { prompts, url, loginHint } = asked;
  if (prompts.has('none')) return undefined;
  const prompt = ['create', 'login', 'select_account'].find((one) => prompts.has(one));
  if (person !== undefined && prompt === undefined) return undefined;
  // Once there, they have done it: what comes back does not ask for it again.
  const next = signInUrl(prompt === undefined ? url : withoutPrompt(url, prompt));
  const more = new URLSearchParams({
    ...(prompt !== undefined && { prompt: prompt === 'create' ? 'create' : 'login' }),
    ...(loginHint !== undefined && { login_hint: loginHint }),
  }).toString();
  return more === '' ? next : `${next}&${more}`;
}

/** What the client is told of an error; by whoever is not signed in, only if they want to go there. */
function refuse(
  ctx: ServerContext,
  request: FastifyRequest,
  reply: FastifyReply,
  refused: {
    readonly checked: Exclude<CheckedRequest, { kind: 'request' }>;
    readonly person: Person | undefined;
  },
): FastifyReply {
  const { checked, person } = refused;
  // "The authorization server MUST always authenticate the user first [...] before redirecting": anybody can register a
  // client, and would have an address of this server that leads to theirs (RFC 9700, 4.11.2).
  if (checked.kind === 'problem' || person === undefined)
    return sendProblemPage(reply, speechFor(ctx, request), checked);
  return sendOn(reply, checked.to);
}

/** `prompt=none`: each time the person must be asked, or sign in. */
function refusePrompt(
  ctx: ServerContext,
  request: FastifyRequest,
  reply: FastifyReply,
  { asked, person }: { readonly asked: AuthorizationRequest; readonly person: Person | undefined },
): FastifyReply {
  const error = person === undefined ? 'login_required' : 'consent_required';
  const description = 'The user must be asked';
  const { redirectUri } = asked;
  const to = asked.answer({ error, error_description: description });
  return refuse(ctx, request, reply, {
    checked: { kind: 'refusal', refusal: { error, description }, redirectUri, to },
    person,
  });
}

async function showConsent(
  ctx: ServerContext,
  request: FastifyRequest,
  reply: FastifyReply,
  page: { readonly asked: AuthorizationRequest; readonly person: Person; readonly isStale?: true },
): Promise<FastifyReply> {
  const { asked, person, isStale } = page;
  const speech = speechFor(ctx, request);
  const replaces = (await devices.of(ctx.db, person.userId, asked.deviceId)) !== undefined;
  const problem = isStale && speech.texts.page.expired;
  return sendConsentPage(reply, { speech, asked, person, replaces, problem });
}

/** "303": the browser must not send the form on (RFC 9700, 4.12). */
function sendOn(reply: FastifyReply, to: string): FastifyReply {
  return reply.headers({ 'referrer-policy': 'no-referrer', 'cache-control': 'no-store' }).redirect(to, 303);
}
