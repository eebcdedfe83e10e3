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
import { html, sendPage } from '../html.ts';
import { sendTrouble } from './provider-pages.ts';
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
  reply: FastifyReply,
  { session, providers }: { readonly session: string; readonly providers: readonly ProviderButton[] },
): FastifyReply {
  const links = providers.map(({ id, label }) => ({ label, href: beginUrl(id, session) }));
  const [first] = links;
  if (first !== undefined && links.length === 1) {
    return reply.header('cache-control', 'no-store').redirect(first.href, 302);
  }
  const items = links.map(({ href, label }) => html`<li><a href="${href}">${label}</a></li>`.html);
  const body = html`<p>To go on, prove again who you are:</p><ul>${{ html: items.join('') }}</ul>`;
  return sendPage(reply, { title: 'Confirm', body });
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
  if (challenge?.userId === undefined) return sendOver(reply);
  if (challenge.userId !== userId) {
    const problem = `You have signed in as ${userId}, but this is to be confirmed by ${challenge.userId}.`;
    return sendPage(reply, {
      title: 'Not confirmed',
      body: html`<p class="problem">${problem}</p>`,
      status: 403,
    });
  }
  COOKIE.set(ctx, reply, '', { session, userId });
  const body = html`
<p>A Matrix client asks to do this with your account:</p>
<p><strong>${challenge.scope}</strong></p>
<p>If you did not expect this, somebody else may be using your account: then do not go on, and tell your
administrator.</p>
<form method="post" action="${`${SSO_STAGE_PATH}?session=${encodeURIComponent(session)}`}">
<button>Confirm</button>
</form>
`;
  return sendPage(reply, { title: `Confirm for ${ctx.serverName}`, body });
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

function sendOver(reply: FastifyReply): FastifyReply {
  const problem = 'What was to be confirmed is not waiting any more. Begin again in your Matrix client.';
  return sendTrouble(reply, { status: 404, problem, retry: '/account' });
}
