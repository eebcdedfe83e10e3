/**
 * Signing in by an identity provider: there, back with a code, and on to where the person was going. Nothing is kept here
 * meanwhile; what must be known afterwards is in a sealed cookie of the browser that began.
 */

import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { MatrixError } from '#federation/errors.ts';
import { type JsonObject, stringAt } from '#keys/json.ts';
import * as providerTokens from '#storage/provider-tokens.ts';
import type { ServerContext } from '../context.ts';
import { fill } from '../languages/texts.ts';
import { accountOf, noteSignIn } from '../providers/linked-accounts.ts';
import { welcomeNewcomer } from '../providers/newcomer.ts';
import type { Identity } from '../providers/oidc-identity.ts';
import type { OidcProvider } from '../providers/oidc-provider.ts';
import { ProviderFault } from '../providers/provider-fault.ts';
import { sendRefusal, sendTrouble, sendUnknownProvider } from '../providers/provider-pages.ts';
import { providerSignInUrl, redirectUriOf } from '../providers/providers.ts';
import { SealedCookie } from '../providers/sealed-cookie.ts';
import { askToConfirm } from '../providers/sso-stage.ts';
import { type Query, queryString } from '../query.ts';
import { startSession } from '../sign-in/browser-sessions.ts';
import { nextOf } from '../sign-in/next.ts';

interface ProviderRoute {
  Params: { id: string };
  Querystring: Query;
}

/** What the browser brings back. */
interface Pending {
  readonly provider: string;
  readonly state: string;
  readonly nonce: string;
  readonly verifier: string;
  readonly next: string;
  /** The session of interactive authentication that this is a stage of. */
  readonly uia: string | undefined;
}

const PENDING = new SealedCookie('provider', { lifetimeMs: 15 * 60_000 });
/** Apart from which several sign-ins of one browser are told. */
const KEY_LETTERS = 12;
const STATE = /^[\w-]{12,128}$/;

export function providerSignInRoutes(app: FastifyInstance, ctx: ServerContext): void {
  app.get<ProviderRoute>('/sign-in/provider/:id', async (request, reply) => {
    const provider = ctx.providers.get(request.params.id);
    if (provider === undefined) return sendUnknownProvider(ctx, reply);
    return await begin(ctx, { request, reply }, provider);
  });

  app.get<ProviderRoute>('/sign-in/provider/:id/callback', async (request, reply) => {
    const provider = ctx.providers.get(request.params.id);
    if (provider === undefined) return sendUnknownProvider(ctx, reply);
    return await comeBack(ctx, { request, reply }, provider);
  });
}

interface Exchange {
  readonly request: FastifyRequest<ProviderRoute>;
  readonly reply: FastifyReply;
}

async function begin(
  ctx: ServerContext,
  { request, reply }: Exchange,
  provider: OidcProvider,
): Promise<FastifyReply> {
  const next = nextOf(queryString(request.query, 'next'));
  const uia = queryString(request.query, 'uia');
  const locales = queryString(request.query, 'ui_locales');
  const prompt = queryString(request.query, 'prompt');
  try {
    const begun = await provider.begin({
      redirectUri: redirectUriOf(ctx, provider),
      ...(uia !== undefined || prompt === 'login' ? { prompt: 'login' } : {}),
      ...(uia === undefined && prompt === 'create' ? { prompt: 'create' } : {}),
      ...(locales !== undefined && /^[\w -]{1,100}$/.test(locales) && { uiLocales: locales }),
    });
    const { url, ...attempt } = begun;
    const value = { provider: provider.id, ...attempt, next, ...(uia !== undefined && { uia }) };
    const isKept = PENDING.set(ctx, reply, keyOf(attempt.state), value);
    // A path that is too long to be kept is left out: the person signs in all the same.
    if (!isKept) PENDING.set(ctx, reply, keyOf(attempt.state), { ...value, next: nextOf(undefined) });
    return reply.header('cache-control', 'no-store').redirect(url, 302);
  } catch (error) {
    return fail(ctx, { request, reply }, { error, provider, retry: request.url });
  }
}

async function comeBack(
  ctx: ServerContext,
  { request, reply }: Exchange,
  provider: OidcProvider,
): Promise<FastifyReply> {
  const state = onlyValue(request.query, 'state') ?? '';
  const kept = STATE.test(state) ? PENDING.get(ctx, request, keyOf(state)) : undefined;
  const pending = kept && pendingOf(kept);
  if (pending === undefined || pending.provider !== provider.id || pending.state !== state) {
    return sendTrouble(ctx, reply, {
      status: 400,
      problem: ({ notBegun }) => notBegun,
      retry: providerSignInUrl(provider.id, nextOf(undefined)),
    });
  }
  PENDING.clear(ctx, reply, keyOf(state));
  const retry = `${providerSignInUrl(provider.id, pending.next)}${pending.uia === undefined ? '' : `&uia=${encodeURIComponent(pending.uia)}`}`;
  try {
    ctx.limits.take('provider_sign_in', request.ip);
    const identity = await provider.finish(cameTo(ctx, provider, request), pending);
    return await goOn(ctx, { request, reply }, { identity, provider, pending });
  } catch (error) {
    return fail(ctx, { request, reply }, { error, provider, retry });
  }
}

async function goOn(
  ctx: ServerContext,
  { request, reply }: Exchange,
  come: { readonly identity: Identity; readonly provider: OidcProvider; readonly pending: Pending },
): Promise<FastifyReply> {
  const { identity, provider, pending } = come;
  const { option } = provider;
  const found = await accountOf(ctx, identity, option);
  if (found.kind === 'refused') {
    const { why } = found;
    ctx.log.warn({ provider: provider.id, subject: identity.subject, why }, 'a person may not sign in');
    return sendRefusal(ctx, reply, why);
  }
  if (pending.uia !== undefined) {
    if (found.kind === 'new') return sendRefusal(ctx, reply, 'no_account');
    return askToConfirm(ctx, reply, { session: pending.uia, userId: found.user.userId });
  }
  await keepRefreshToken(ctx, identity, option.checkEvery);
  if (found.kind === 'new') {
    return await welcomeNewcomer(
      ctx,
      { request, reply },
      {
        identity,
        mapping: option,
        localpart: found.localpart,
        next: pending.next,
      },
    );
  }
  const { userId } = found.user;
  await noteSignIn(ctx, userId, { person: identity, mapping: option });
  const { subject, sid, hasSecondFactor } = identity;
  const origin = { provider: provider.id, subject, sid };
  const isStarted = await startSession(ctx, request, reply, { userId, hasSecondFactor, origin });
  if (!isStarted) throw new ProviderFault('refused', 'the session of the provider has ended meanwhile');
  return reply.redirect(pending.next, 303);
}

async function keepRefreshToken(
  ctx: ServerContext,
  { provider, subject, refreshToken }: Identity,
  checkEvery: number | undefined,
): Promise<void> {
  if (checkEvery === undefined || refreshToken === undefined) return;
  const sealedToken = ctx.seal.seal(`refresh token ${provider} ${subject}`, refreshToken);
  await ctx.db.write('providerTokens.set', (tx) =>
    providerTokens.set(tx, { provider, subject, sealedToken }, ctx.clock.now()),
  );
}

function fail(
  ctx: ServerContext,
  { reply }: Exchange,
  { error, provider, retry }: { error: unknown; provider: OidcProvider; retry: string },
): FastifyReply {
  if (error instanceof MatrixError && error.errcode === 'M_LIMIT_EXCEEDED') {
    return sendTrouble(ctx, reply, { status: 429, problem: ({ tooMany }) => tooMany, retry });
  }
  if (!(error instanceof ProviderFault)) throw error;
  const { kind, message } = error;
  ctx.log.warn({ provider: provider.id, kind, reason: message }, 'an identity provider did not sign in');
  const { label } = provider.option;
  switch (kind) {
    case 'unreachable':
      return sendTrouble(ctx, reply, {
        status: 502,
        problem: ({ unreachable }) => fill(unreachable, { provider: label }),
        retry,
      });
    case 'refused':
      return sendTrouble(ctx, reply, {
        status: 403,
        problem: ({ refused }) => fill(refused, { provider: label }),
        retry,
      });
    case 'invalid':
      return sendTrouble(ctx, reply, {
        status: 400,
        problem: ({ invalid }) => fill(invalid, { provider: label }),
        retry,
      });
  }
}

/** As the browser came, but by the name that the provider knows: what a proxy calls us does not matter. */
function cameTo(ctx: ServerContext, provider: OidcProvider, request: FastifyRequest): URL {
  const url = new URL(redirectUriOf(ctx, provider));
  url.search = new URL(request.url, 'http://localhost').search;
  return url;
}

function keyOf(state: string): string {
  return state.slice(0, KEY_LETTERS);
}

/** "Request and response parameters MUST NOT be included more than once." (RFC 6749, 3.1) */
function onlyValue(query: Query, name: string): string | undefined {
  const value = Object.hasOwn(query, name) ? query[name] : undefined;
  return typeof value === 'string' ? value : undefined;
}

function pendingOf(value: JsonObject): Pending | undefined {
  const [provider, state, nonce, verifier, next] = ['provider', 'state', 'nonce', 'verifier', 'next'].map(
    (name) => stringAt(value, name),
  );
  if (provider === undefined || state === undefined || nonce === undefined || verifier === undefined) {
    return undefined;
  }
  return { provider, state, nonce, verifier, next: nextOf(next), uia: stringAt(value, 'uia') };
}
