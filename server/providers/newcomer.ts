/** Somebody whom an identity provider names for the first time: they get an account, under a name that is free. */

import type { FastifyReply, FastifyRequest } from 'fastify';
import type { UserId } from '#keys/ids.ts';
import { type JsonObject, own, stringAt } from '#keys/json.ts';
import { termsList } from '../consent/terms-list.ts';
import type { ServerContext } from '../context.ts';
import { fill } from '../languages/texts.ts';
import { type Field, inputField, problemBox } from '../pages/fields.ts';
import { html, sendPage } from '../pages/html.ts';
import { startSession } from '../sign-in/browser-sessions.ts';
import { nextOf, signInUrl } from '../sign-in/next.ts';
import { type Attributes, attributesOf, createLinked } from './linked-accounts.ts';
import type { Identity } from './oidc-identity.ts';
import type { Mapping } from './oidc-option.ts';
import { sendTrouble, speechTo } from './provider-pages.ts';
import { SealedCookie } from './sealed-cookie.ts';

/** Where they choose a name. */
export const NEWCOMER_PATH = '/sign-in/new-account';

const COOKIE = new SealedCookie('newcomer', { lifetimeMs: 15 * 60_000 });

interface Newcomer
  extends Pick<Identity, 'provider' | 'issuer' | 'subject' | 'sub' | 'sid' | 'hasSecondFactor'> {
  readonly attributes: Attributes;
  readonly localpart: string | undefined;
  readonly next: string;
}

/** Gives somebody an account under the name that is proposed; leads to the page where they choose one if they must. */
export async function welcomeNewcomer(
  ctx: ServerContext,
  exchange: { readonly request: FastifyRequest; readonly reply: FastifyReply },
  come: {
    readonly identity: Identity;
    readonly mapping: Mapping;
    readonly localpart: string | undefined;
    readonly next: string;
  },
): Promise<FastifyReply> {
  const { identity, mapping, localpart, next } = come;
  const attributes = attributesOf(identity, mapping);
  if (localpart !== undefined && ctx.config.terms.length === 0) {
    const made = await createLinked(ctx, identity, { localpart, attributes, acceptsTerms: false });
    if (made.kind === 'created')
      return await letIn(ctx, exchange, { ...identity, userId: made.userId, next });
  }
  return remember(ctx, exchange.reply, { identity, attributes, localpart, next });
}

function remember(
  ctx: ServerContext,
  reply: FastifyReply,
  come: {
    readonly identity: Identity;
    readonly attributes: Attributes;
    readonly localpart: string | undefined;
    readonly next: string;
  },
): FastifyReply {
  const { identity, attributes, localpart, next } = come;
  const { provider, issuer, subject, sub, sid, hasSecondFactor } = identity;
  const { displayName, email, isAdmin } = attributes;
  const who: JsonObject = {
    ...{ provider, issuer, subject, sub, hasSecondFactor },
    ...(sid !== undefined && { sid }),
    ...(localpart !== undefined && { localpart }),
    ...(displayName !== undefined && { displayName }),
    ...(email !== undefined && { email }),
    ...(isAdmin !== undefined && { isAdmin }),
  };
  const isKept =
    COOKIE.set(ctx, reply, '', { ...who, next }) || COOKIE.set(ctx, reply, '', { ...who, next: '/account' });
  if (!isKept) throw new Error(`what ${provider} says of a person is too long to be kept`);
  return reply.redirect(NEWCOMER_PATH, 303);
}

/** The page on which they choose their name. */
export function sendNewcomerPage(
  ctx: ServerContext,
  request: FastifyRequest,
  reply: FastifyReply,
): FastifyReply {
  const newcomer = newcomerOf(ctx, request);
  if (newcomer === undefined) return sendNobody(ctx, reply);
  return sendForm(ctx, reply, { name: newcomer.localpart ?? '' });
}

/** Makes the account, signs the person in, and leads them on. */
export async function makeNewcomer(
  ctx: ServerContext,
  { request, reply }: { readonly request: FastifyRequest; readonly reply: FastifyReply },
  form: URLSearchParams,
): Promise<FastifyReply> {
  const newcomer = newcomerOf(ctx, request);
  if (newcomer === undefined) return sendNobody(ctx, reply);
  const name = (form.get('username') ?? '').trim().toLowerCase();
  const { registration, providers } = speechTo(ctx, reply).texts;
  const send = (problem: string): FastifyReply => sendForm(ctx, reply, { name, problem });
  if (ctx.config.terms.length > 0 && form.get('accepts') !== 'yes') {
    return send(registration.mustAccept);
  }
  const made = await createLinked(ctx, newcomer, {
    localpart: name,
    attributes: newcomer.attributes,
    acceptsTerms: ctx.config.terms.length > 0,
  });
  switch (made.kind) {
    case 'invalid_name':
      return send(registration.badName);
    case 'name_taken':
      return send(fill(providers.nameTaken, { name }));
    case 'linked':
      return reply.redirect(newcomer.next, 303);
    case 'created':
      COOKIE.clear(ctx, reply, '');
      return await letIn(ctx, { request, reply }, { ...newcomer, userId: made.userId });
  }
}

async function letIn(
  ctx: ServerContext,
  { request, reply }: { readonly request: FastifyRequest; readonly reply: FastifyReply },
  who: Pick<Identity, 'provider' | 'subject' | 'sid' | 'hasSecondFactor'> & {
    readonly userId: UserId;
    readonly next: string;
  },
): Promise<FastifyReply> {
  const { userId, provider, subject, sid, hasSecondFactor, next } = who;
  const origin = { provider, subject, sid };
  // The account is theirs; who has signed out at the provider meanwhile signs in again.
  const isIn = await startSession(ctx, request, reply, { userId, hasSecondFactor, origin });
  return reply.redirect(isIn ? next : signInUrl(next), 303);
}

function newcomerOf(ctx: ServerContext, request: FastifyRequest): Newcomer | undefined {
  const value = COOKIE.get(ctx, request, '');
  if (value === undefined) return undefined;
  const [provider, issuer, subject, sub] = ['provider', 'issuer', 'subject', 'sub'].map((name) =>
    stringAt(value, name),
  );
  if (provider === undefined || issuer === undefined || subject === undefined || sub === undefined) {
    return undefined;
  }
  const isAdmin = own(value, 'isAdmin');
  return {
    ...{ provider, issuer, subject, sub },
    sid: stringAt(value, 'sid'),
    hasSecondFactor: own(value, 'hasSecondFactor') === true,
    localpart: stringAt(value, 'localpart'),
    attributes: {
      displayName: stringAt(value, 'displayName'),
      email: stringAt(value, 'email'),
      isAdmin: typeof isAdmin === 'boolean' ? isAdmin : undefined,
    },
    next: nextOf(stringAt(value, 'next')),
  };
}

function sendForm(
  ctx: ServerContext,
  reply: FastifyReply,
  { name, problem }: { readonly name: string; readonly problem?: string },
): FastifyReply {
  const speech = speechTo(ctx, reply);
  const { texts } = speech;
  const { serverName } = ctx;
  const field: Field = {
    name: 'username',
    label: fill(texts.registration.userName, { serverName }),
    value: name,
    autocomplete: 'username',
  };
  const body = html`
${problemBox(texts, problem)}
<p>${texts.providers.firstTime}</p>
<form method="post" action="${NEWCOMER_PATH}">
${inputField(field, problem)}
${termsList(ctx.config.terms, texts)}
<button>${texts.registration.create}</button>
</form>
`;
  const title = fill(texts.registration.title, { serverName });
  return sendPage(reply, { title, body, status: problem === undefined ? 200 : 400, speech });
}

function sendNobody(ctx: ServerContext, reply: FastifyReply): FastifyReply {
  return sendTrouble(ctx, reply, { status: 400, problem: ({ nobody }) => nobody, retry: '/sign-in' });
}
