/** How the pages of OAuth speak. */

import type { FastifyRequest } from 'fastify';
import { oauthEn } from '../languages/oauth-en.ts';

export type OAuthTexts = typeof oauthEn;

export function oauthTexts(_request: FastifyRequest): OAuthTexts {
  return oauthEn;
}

/** Puts values in the place of the `{words}` of a text. */
export function fill(text: string, values: Readonly<Record<string, string | number>>): string {
  return text.replaceAll(/\{(\w+)\}/g, (word, name: string) =>
    Object.hasOwn(values, name) ? String(values[name]) : word,
  );
}
