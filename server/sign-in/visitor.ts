/**
 * A browser in which nobody is signed in yet. It is known by a cookie, so that what it does in several steps belongs
 * together, and so that no other site can send a form in its name (which would sign it in as somebody else).
 */

import type { FastifyReply, FastifyRequest } from 'fastify';
import { equalSecrets, hashToken, newToken } from '#keys/tokens.ts';
import { isFromOurPage } from './browser-sessions.ts';
import { type CookiesContext, readCookie, writeCookie } from './cookies.ts';

export interface Visitor {
  /** By which the server keeps what belongs to this browser. */
  readonly id: string;
  /** Must come back in each form. */
  readonly formToken: string;
}

const COOKIE = 'kurir_visit';
const LIFETIME_MS = 60 * 60_000;
const TOKEN = /^kvi_[\w-]{32}$/;

/** The browser that asks, if it has been here of late. */
export function visitorOf(ctx: CookiesContext, request: FastifyRequest): Visitor | undefined {
  const token = readCookie(ctx, request, COOKIE);
  return token !== undefined && TOKEN.test(token) ? visitor(token) : undefined;
}

/** The browser that asks; a new one gets a cookie. */
export function welcome(ctx: CookiesContext, request: FastifyRequest, reply: FastifyReply): Visitor {
  const known = readCookie(ctx, request, COOKIE);
  const token = known !== undefined && TOKEN.test(known) ? known : newToken('kvi');
  writeCookie(ctx, reply, { name: COOKIE, value: token, lifetimeMs: LIFETIME_MS });
  return visitor(token);
}

/** The browser that sends a form, if one of our pages showed that form to it. */
export function senderOf(
  ctx: CookiesContext,
  request: FastifyRequest,
  form: URLSearchParams,
): Visitor | undefined {
  const known = visitorOf(ctx, request);
  if (known === undefined || !equalSecrets(form.get('form_token') ?? '', known.formToken)) return undefined;
  return isFromOurPage(ctx, request) ? known : undefined;
}

function visitor(token: string): Visitor {
  return { id: hashToken(`visit ${token}`), formToken: hashToken(`form ${token}`) };
}
