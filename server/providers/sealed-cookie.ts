/** What a browser keeps for the server between two pages: sealed, so that nobody reads or changes it. */

import type { FastifyReply, FastifyRequest } from 'fastify';
import { parseLoose } from '#keys/canonical-json.ts';
import { isObject, type JsonObject } from '#keys/json.ts';
import type { Clock } from '#rooms/context.ts';
import type { Seal } from '../seal.ts';

export interface CookieContext {
  readonly clock: Clock;
  readonly seal: Seal;
  readonly config: { readonly publicBaseurl: string | undefined };
}

/** Longer cookies are not kept by browsers. */
const LONGEST = 4_000;

export class SealedCookie {
  readonly #name: string;
  readonly #lifetimeMs: number;

  constructor(name: string, { lifetimeMs }: { readonly lifetimeMs: number }) {
    this.#name = name;
    this.#lifetimeMs = lifetimeMs;
  }

  /** Gives the browser a value to keep; false where it is too long. `key` tells several of a browser apart. */
  set(ctx: CookieContext, reply: FastifyReply, key: string, value: JsonObject): boolean {
    const text = JSON.stringify({ value, untilTs: ctx.clock.now() + this.#lifetimeMs });
    const sealed = ctx.seal.seal(`cookie ${this.#name} ${key}`, text);
    if (sealed.length > LONGEST) return false;
    write(ctx, reply, { name: this.#nameFor(ctx, key), value: sealed, lifetimeMs: this.#lifetimeMs });
    return true;
  }

  /** The value that the browser has kept; undefined where it has none that is good. */
  get(ctx: CookieContext, request: FastifyRequest, key: string): JsonObject | undefined {
    const start = `${this.#nameFor(ctx, key)}=`;
    const pairs = (request.headers.cookie ?? '').split(';').map((pair) => pair.trim());
    const sealed = pairs.find((pair) => pair.startsWith(start))?.slice(start.length);
    const text = sealed && ctx.seal.unseal(`cookie ${this.#name} ${key}`, sealed);
    const parsed = text ? parseLoose(Buffer.from(text)) : undefined;
    if (parsed?.kind !== 'ok' || !isObject(parsed.value)) return undefined;
    const { value, untilTs } = parsed.value;
    return typeof untilTs === 'number' && untilTs > ctx.clock.now() && isObject(value) ? value : undefined;
  }

  clear(ctx: CookieContext, reply: FastifyReply, key: string): void {
    write(ctx, reply, { name: this.#nameFor(ctx, key), value: '', lifetimeMs: 0 });
  }

  /** `__Host-`: only this host can have set it, over TLS. */
  #nameFor({ config }: CookieContext, key: string): string {
    const prefix = isSecure(config.publicBaseurl) ? '__Host-' : '';
    return `${prefix}kurir-${this.#name}${key === '' ? '' : `-${key}`}`;
  }
}

function isSecure(publicBaseurl: string | undefined): boolean {
  return publicBaseurl?.startsWith('https:') ?? false;
}

function write(
  { config }: CookieContext,
  reply: FastifyReply,
  { name, value, lifetimeMs }: { name: string; value: string; lifetimeMs: number },
): void {
  const parts = [
    `${name}=${value}`,
    'Path=/',
    'HttpOnly',
    'SameSite=Lax',
    `Max-Age=${Math.floor(lifetimeMs / 1_000)}`,
    ...(isSecure(config.publicBaseurl) ? ['Secure'] : []),
  ];
  reply.header('set-cookie', parts.join('; '));
}
