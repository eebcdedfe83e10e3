/** Which language our pages speak to somebody, and our letters. */

import type { FastifyRequest } from 'fastify';
import type { Config } from '../config-options.ts';
import { de } from './de.ts';
import { en } from './en.ts';
import { fr } from './fr.ts';
import { sv } from './sv.ts';
import type { Texts } from './texts.ts';

export const languages = ['en', 'sv', 'de', 'fr'] as const;

export type Language = (typeof languages)[number];

/** The names of the languages, each in itself. */
export const languageNames: Readonly<Record<Language, string>> = {
  en: 'English',
  sv: 'Svenska',
  de: 'Deutsch',
  fr: 'Français',
};

/** The cookie in which a browser keeps the language that was chosen there. */
export const LANGUAGE_COOKIE = 'kurir_language';

const TEXTS: Readonly<Record<Language, Texts>> = { en, sv, de, fr };
/** More of a header or parameter is not looked at. */
const MOST_RANGES = 20;

/** A language with its texts. */
export interface Speech {
  readonly language: Language;
  readonly texts: Texts;
}

export function speechIn(language: Language): Speech {
  return { language, texts: TEXTS[language] };
}

/**
 * How to speak to whoever makes a request: as `lang` or `ui_locales` of the query says, else as was chosen before (by
 * the person, or in this browser), else as the browser prefers, else as the operator says.
 */
export function speechFor(
  { config }: { readonly config: Pick<Config, 'defaultLanguage'> },
  request: Pick<FastifyRequest, 'query' | 'headers'>,
  chosenByPerson?: Language,
): Speech {
  return speechIn(
    askedLanguage(request.query) ??
      chosenByPerson ??
      cookieLanguage(request.headers.cookie) ??
      preferredLanguage(request.headers['accept-language'] ?? '') ??
      config.defaultLanguage,
  );
}

/** The language that the query of an address asks for. `ui_locales`: OpenID Connect Core, 3.1.2.1. */
export function askedLanguage(query: unknown): Language | undefined {
  if (typeof query !== 'object' || query === null) return undefined;
  const of = (key: string): unknown => (Object.hasOwn(query, key) ? Reflect.get(query, key) : undefined);
  const [lang, locales] = [of('lang'), of('ui_locales')];
  if (typeof lang === 'string' && languageOf(lang) !== undefined) return languageOf(lang);
  if (typeof locales !== 'string') return undefined;
  return firstKnown(locales.split(' ', MOST_RANGES));
}

/** Ours for a tag such as `de-AT`. */
export function languageOf(tag: string): Language | undefined {
  const [primary = ''] = tag.trim().toLowerCase().split(/[-_]/, 1);
  return languages.find((language) => language === primary);
}

/** https://www.rfc-editor.org/rfc/rfc9110#name-accept-language */
function preferredLanguage(header: string): Language | undefined {
  const ranges = header.split(',', MOST_RANGES).map((range, place) => {
    const [tag = '', ...params] = range.split(';');
    const quality = params.map((param) => /^\s*q=([01](?:\.\d{0,3})?)\s*$/i.exec(param)?.[1]).find(Boolean);
    return { tag, place, quality: quality === undefined ? 1 : Number(quality) };
  });
  const wanted = ranges.filter(({ quality }) => quality > 0);
  wanted.sort((one, other) => other.quality - one.quality || one.place - other.place);
  return firstKnown(wanted.map(({ tag }) => tag));
}

function cookieLanguage(header = ''): Language | undefined {
  const start = `${LANGUAGE_COOKIE}=`;
  const pair = header.split(';').find((one) => one.trim().startsWith(start));
  return pair === undefined ? undefined : languageOf(pair.trim().slice(start.length));
}

function firstKnown(tags: readonly string[]): Language | undefined {
  return tags.map(languageOf).find((language) => language !== undefined);
}
