/**
 * Single sign-on as a stage of user-interactive authentication.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#sso-during-user-interactive-authentication
 */

import type { FastifyReply, FastifyRequest } from 'fastify';
import { isUserId, type UserId } from '#keys/ids.ts';
import { stringAt } from '#keys/json.ts';
import type { Reader } from '#storage/database.ts';
import * as providerLinks from '#storage/provider-links.ts';
import type { ServerContext } from '../context.ts';
import { fill } from '../languages/texts.ts';
import { problemBox } from '../pages/fields.ts';
import { html, sendPage } from '../pages/html.ts';
import { nextStep } from '../second-factor/factors.ts';
import { personOf } from '../sign-in/browser-sessions.ts';
import { signInUrl } from '../sign-in/next.ts';
import { sendTrouble, speechTo } from './provider-pages.ts';
import type { ProviderButton, Providers } from './providers.ts';
import { SealedCookie } from './sealed-cookie.ts';

export const SSO_STAGE_PATH = '/_matrix/client/v3/auth/m.login.sso/fallback/web';

const COOKIE = new SealedCookie('confirm', { lifetimeMs: 5 * 60_000 });

/** The providers by which a user signs in. */
export async function providersOf(
  ctx: { readonly db: Reader; readonly providers: Providers },
  userId: UserId,
): Promise<readonly ProviderButton[]> {
  const all = ctx.providers.all();
  if (all.length === 0) return [];
  const issuers = new Set((await providerLinks.ofUser(ctx.db, userId)).map(({ issuer }) => issuer));
  const theirs = new Set(all.filter(({ option }) => issuers.has(option.issuer)).map(({ id }) => id));
  return ctx.providers.list().filter(({ id }) => theirs.has(id));
}

/** Leads on to the provider of the user, or to a choice of several. */
export function sendProviders(
  ctx: ServerContext,
  reply: FastifyReply,
  { session, providers }: { readonly session: string; readonly providers: readonly ProviderButton[] },
): FastifyReply {
  const links = providers.map(({ id, label }) => ({ label, href: beginUrl(id, session) }));
  const [first] = links;
  if (first !== undefined && links.length === 1) {
    return reply.header('cache-control', 'no-store').redirect(first.href, 302);
  }
  const items = links.map(({ href, label }) => html`<li><a href="${href}">${label}</a></li>`);
  const speech = speechTo(ctx, reply);
  const { proveAgain, confirmTitle } = speech.texts.providers;
  const body = html`<p>${proveAgain}</p><ul class="links">${items}</ul>`;
  return sendPage(reply, { title: fill(confirmTitle, { serverName: ctx.serverName }), body, speech });
}

/**
 * For a user whom no provider signs in: asks the person to confirm who has signed in on the page of this server since the
 * session was begun, with the second factor that they need; leads others to that page.
 */
export async function sendOwnSignIn(
  ctx: ServerContext,
  { request, reply }: { readonly request: FastifyRequest; readonly reply: FastifyReply },
  { session, userId }: { readonly session: string; readonly userId: UserId },
): Promise<FastifyReply> {
  const person = await personOf(ctx, request);
  const begunTs = ctx.interactiveAuth.begunTs(session);
  if (begunTs === undefined) return sendOver(ctx, reply);
  const isFresh = person !== undefined && person.authTs >= begunTs;
  if (isFresh && (person.factorTs !== undefined || (await nextStep(ctx, person.userId)) === 'none'))
    return askToConfirm(ctx, reply, { session, userId: person.userId });
  const again = new URLSearchParams({ prompt: 'login', login_hint: userId });
  const url = `${signInUrl(`${SSO_STAGE_PATH}?session=${encodeURIComponent(session)}`)}&${again}`;
  return reply.header('cache-control', 'no-store').redirect(url, 303);
}

/**
 * Asks the person who has come back from the provider. "The homeserver SHOULD confirm that the user is happy for the
 * operation to go ahead": else somebody else could have led them through.
 */
export function askToConfirm(
  ctx: ServerContext,
  reply: FastifyReply,
  { session, userId }: { readonly session: string; readonly userId: UserId },
): FastifyReply {
  const challenge = ctx.interactiveAuth.challengeOf(session);
  if (challenge?.userId === undefined) return sendOver(ctx, reply);
  const speech = speechTo(ctx, reply);
  const { texts } = speech;
  const { providers } = texts;
  const { userId: owner } = challenge;
  if (owner !== userId) {
    const body = problemBox(texts, fill(providers.otherUser, { userId, owner }));
    return sendPage(reply, { title: providers.notConfirmed, body, status: 403, speech });
  }
  COOKIE.set(ctx, reply, '', { session, userId });
  const body = html`
<p>${providers.confirmAsks}</p>
<p><strong lang="en">${challenge.scope}</strong></p>
<p>${providers.confirmWarns}</p>
<form method="post" action="${`${SSO_STAGE_PATH}?session=${encodeURIComponent(session)}`}">
<button>${texts.page.confirm}</button>
</form>
`;
  const title = fill(providers.confirmTitle, { serverName: ctx.serverName });
  return sendPage(reply, { title, body, speech });
}

/** The user who has proved in this browser who they are, and now confirms a session. */
export function confirmedBy(
  ctx: ServerContext,
  { request, reply }: { readonly request: FastifyRequest; readonly reply: FastifyReply },
  session: string,
): UserId | undefined {
  const kept = COOKIE.get(ctx, request, '');
  const userId = kept && stringAt(kept, 'userId');
  if (kept === undefined || stringAt(kept, 'session') !== session || !isUserId(userId)) return undefined;
  COOKIE.clear(ctx, reply, '');
  return userId;
}

function beginUrl(id: string, session: string): string {
  return `/sign-in/provider/${encodeURIComponent(id)}?uia=${encodeURIComponent(session)}`;
}

function sendOver(ctx: ServerContext, reply: FastifyReply): FastifyReply {
  return sendTrouble(ctx, reply, {
    status: 404,
    problem: ({ confirmOver }) => confirmOver,
    retry: '/account',
  });
}
