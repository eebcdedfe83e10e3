/** https://spec.matrix.org/v1.19/client-server-api/#client-login-via-sso */

import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { invalidParam } from '#federation/errors.ts';
import { hashToken, newToken } from '#keys/tokens.ts';
import * as loginTokens from '#storage/login-tokens.ts';
import type { ServerContext } from '../context.ts';
import { fill } from '../languages/texts.ts';
import { hiddenField } from '../pages/fields.ts';
import { acceptForms, FORM_LIMIT, formFields } from '../pages/forms.ts';
import { type Html, html, phrase, sendPage } from '../pages/html.ts';
import { clientAddress, isTrustedClient, withLoginToken } from '../providers/client-address.ts';
import { sendUnknownProvider, speechTo } from '../providers/provider-pages.ts';
import { providerSignInUrl } from '../providers/providers.ts';
import { type Query, queryString, requiredQuery } from '../query.ts';
import { isStillSignedIn, isTheirForm, type Person, personOf } from '../sign-in/browser-sessions.ts';
import { sendToSignIn, signInUrl } from '../sign-in/next.ts';

/** Where a person who is signed in in the browser is asked whether a client may use their account. */
const CLIENT_PATH = '/sign-in/client';
/**
 * "SHOULD be limited to around five seconds": a program on a phone or a desktop may first have to start, and the token is
 * good once.
 */
const TOKEN_MS = 30_000;
const ACTIONS = ['login', 'register'];

interface RedirectRoute {
  Params: { idpId?: string };
  Querystring: Query;
}

export function ssoRoutes(app: FastifyInstance, ctx: ServerContext): void {
  const path = '/_matrix/client/v3/login/sso/redirect';
  app.get<RedirectRoute>(path, async (request, reply) => {
    const { next, isNew } = asked(request.query);
    const [only, ...others] = ctx.providers.list();
    // Who is signed in in the browser need not be asked who they are.
    if ((await personOf(ctx, request)) !== undefined && !isNew) return reply.redirect(next, 302);
    const isOnly = only !== undefined && others.length === 0 && !ctx.config.passwordLogin;
    if (isOnly) return reply.redirect(providerUrl(only.id, next, isNew), 302);
    return reply.redirect(`${signInUrl(next)}${isNew ? '&prompt=create' : ''}`, 302);
  });

  app.get<RedirectRoute>(`${path}/:idpId`, async (request, reply) => {
    const { next, isNew } = asked(request.query);
    const { idpId = '' } = request.params;
    if (ctx.providers.get(idpId) === undefined) return sendUnknownProvider(ctx, reply);
    const person = await personOf(ctx, request);
    if (person?.origin?.provider === idpId && !isNew) return reply.redirect(next, 302);
    return reply.redirect(providerUrl(idpId, next, isNew), 302);
  });

  app.register(async (pages) => {
    acceptForms(pages);

    pages.get<{ Querystring: Query }>(CLIENT_PATH, async (request, reply) => {
      const client = clientOf(request.query);
      const person = await personOf(ctx, request);
      if (person === undefined) return sendToSignIn(request, reply);
      const isTrusted = isTrustedClient(client, ctx.config.ssoTrustedClients);
      return isTrusted
        ? await letIn(ctx, { request, reply }, { person, client })
        : ask(ctx, reply, { person, client });
    });

    pages.post<{ Querystring: Query }>(CLIENT_PATH, { bodyLimit: FORM_LIMIT }, async (request, reply) => {
      const client = clientOf(request.query);
      const person = await personOf(ctx, request);
      if (person === undefined) return sendToSignIn(request, reply);
      if (!isTheirForm(person, formFields(request.body))) return ask(ctx, reply, { person, client });
      return await letIn(ctx, { request, reply }, { person, client });
    });
  });
}

interface Entry {
  readonly person: Person;
  readonly client: URL;
}

/** Gives the client a token for the person. */
async function letIn(
  ctx: ServerContext,
  { request, reply }: { readonly request: FastifyRequest; readonly reply: FastifyReply },
  { person, client }: Entry,
): Promise<FastifyReply> {
  const { userId, origin } = person;
  const token = newToken('klt');
  const now = ctx.clock.now();
  const isGiven = await ctx.db.write('loginTokens.add', async (tx) => {
    if (!(await isStillSignedIn(tx, person))) return false;
    await loginTokens.add(tx, { hash: hashToken(token), userId, expiresTs: now + TOKEN_MS, origin }, now);
    return true;
  });
  if (!isGiven) return sendToSignIn(request, reply);
  return reply
    .headers({ 'cache-control': 'no-store', 'referrer-policy': 'no-referrer' })
    .redirect(withLoginToken(client, token), 303);
}

/** "Homeservers SHOULD confirm with the user that they are happy to grant access ... to the site named" */
function ask(ctx: ServerContext, reply: FastifyReply, { person, client }: Entry): FastifyReply {
  const isSite = client.protocol === 'https:' || client.protocol === 'http:';
  const speech = speechTo(ctx, reply);
  const { providers, page } = speech.texts;
  const strong = (text: string): Html => html`<strong>${text}</strong>`;
  const explained = phrase(isSite ? providers.clientWebsite : providers.clientProgram, {
    userId: strong(person.userId),
    client: strong(isSite ? client.host : client.protocol),
    serverName: ctx.serverName,
  });
  const body = html`
<p>${explained}</p>
<p>${providers.clientWarns}</p>
<form method="post" action="${clientUrl(client)}">
${hiddenField('form_token', person.formToken)}
<button>${page.continue}</button>
</form>
`;
  const title = fill(providers.clientTitle, { client: isSite ? client.host : providers.yourClient });
  return sendPage(reply, { title, body, speech, leadsTo: isSite ? client.origin : client.protocol });
}

function asked(query: Query): { next: string; isNew: boolean } {
  const action = queryString(query, 'action');
  if (action !== undefined && !ACTIONS.includes(action))
    throw invalidParam('action is neither login nor register');
  return { next: clientUrl(clientOf(query)), isNew: action === 'register' };
}

function clientOf(query: Query): URL {
  const client = clientAddress(requiredQuery(query, 'redirectUrl'));
  if (client === undefined) throw invalidParam('redirectUrl is not the address of a client');
  return client;
}

function clientUrl(client: URL): string {
  return `${CLIENT_PATH}?redirectUrl=${encodeURIComponent(client.href)}`;
}

function providerUrl(id: string, next: string, isNew: boolean): string {
  return `${providerSignInUrl(id, next)}${isNew ? '&prompt=create' : ''}`;
}
