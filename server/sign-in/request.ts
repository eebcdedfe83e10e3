/** What the address of a sign-in page says. */

import type { FastifyRequest } from 'fastify';
import type { ServerContext } from '../context.ts';
import { type Speech, speechFor } from '../languages/choose.ts';
import { type Query, queryString } from '../query.ts';
import { nextOf } from './next.ts';

export type PageRequest = FastifyRequest<{ Querystring: Query }>;

export interface SignInRequest {
  readonly next: string;
  readonly prompt: 'login' | 'create' | undefined;
  readonly loginHint: string;
  readonly speech: Speech;
}

const LONGEST_HINT = 255;

/** What is asked for, also by the address that the person was going to: that of a client which sends them here. */
export function signInRequest(ctx: Pick<ServerContext, 'config'>, request: PageRequest): SignInRequest {
  const { query } = request;
  const next = nextOf(queryString(query, 'next'));
  const further = new URLSearchParams(next.split('?', 2)[1] ?? '');
  const value = (key: string): string | undefined => queryString(query, key) ?? further.get(key) ?? undefined;
  const prompt = (['login', 'create'] as const).find((one) => one === queryString(query, 'prompt'));
  const locales = value('ui_locales');
  return {
    next,
    prompt,
    loginHint: (value('login_hint') ?? '').replace(/^mxid:/, '').slice(0, LONGEST_HINT),
    speech: speechFor(ctx, {
      headers: request.headers,
      query: { lang: query.lang, ...(locales !== undefined && { ui_locales: locales }) },
    }),
  };
}
