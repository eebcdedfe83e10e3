/** Cookies of our pages: one browser's, for this host alone. */

import type { FastifyReply, FastifyRequest } from 'fastify';
import type { ServerContext } from '../context.ts';

export interface CookiesContext {
  readonly config: Pick<ServerContext['config'], 'publicBaseurl'>;
}

export function readCookie(
  ctx: CookiesContext,
  request: Pick<FastifyRequest, 'headers'>,
  name: string,
): string | undefined {
  const start = `${fullName(ctx, name)}=`;
  const pairs = (request.headers.cookie ?? '').split(';').map((pair) => pair.trim());
  return pairs.find((pair) => pair.startsWith(start))?.slice(start.length);
}

/** Sets a cookie; one with an empty value and no lifetime is removed. */
export function writeCookie(
  ctx: CookiesContext,
  reply: FastifyReply,
  { name, value, lifetimeMs }: { readonly name: string; readonly value: string; readonly lifetimeMs: number },
): void {
  const parts = [
    `${fullName(ctx, name)}=${value}`,
    'Path=/',
    'HttpOnly',
    'SameSite=Lax',
    `Max-Age=${Math.floor(lifetimeMs / 1_000)}`,
    ...(isSecure(ctx) ? ['Secure'] : []),
  ];
  reply.header('set-cookie', parts.join('; '));
}

/** `__Host-`: only this host can have set it, over TLS. A server without TLS in front is for trying out. */
function fullName(ctx: CookiesContext, name: string): string {
  return isSecure(ctx) ? `__Host-${name}` : name;
}

function isSecure(ctx: CookiesContext): boolean {
  return ctx.config.publicBaseurl?.startsWith('https:') ?? false;
}
