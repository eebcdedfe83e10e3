/** Where a person goes on after signing in: a path of this server, never another site (RFC 9700, 4.11). */

import type { FastifyReply, FastifyRequest } from 'fastify';

/** The page on which people sign in. */
export const SIGN_IN_PATH = '/sign-in';
export const SIGN_OUT_PATH = '/sign-out';
/** Where people make an account. */
export const REGISTRATION_PATH = '/_kurir/register';

const MAX_NEXT = 8_192;
/** Where nobody has said where to go on. */
const HOME = '/account';

/** The path and query to go on to; `/account` for what is none of this server. */
export function nextOf(value: string | null | undefined): string {
  if (value === null || value === undefined || value.length > MAX_NEXT) return HOME;
  // Browsers take "//host" and "/\host" for another site, and leave out tabs and line ends.
  if (!/^\/(?![/\\])[\x21-\x5b\x5d-\x7e]*$/.test(value)) return HOME;
  return value.includes('access_token') ? withoutToken(value) : value;
}

/** A token that somebody has put into the address goes no further. */
function withoutToken(path: string): string {
  const { pathname, searchParams } = new URL(path, 'https://here.invalid');
  searchParams.delete('access_token');
  return searchParams.size === 0 ? pathname : `${pathname}?${searchParams}`;
}

/** Sends a browser to the sign-in page, and afterwards back to what it asks for now. */
export function sendToSignIn(request: FastifyRequest, reply: FastifyReply): FastifyReply {
  return reply.redirect(signInUrl(request.url), 303);
}

/** The sign-in page that leads on to a path of this server. */
export function signInUrl(next: string): string {
  return `${SIGN_IN_PATH}?next=${encodeURIComponent(nextOf(next))}`;
}
