/**
 * The canonical JSON of an object as one text that is known by its members: what is hashed, signed and kept of an event
 * are texts that have most members in common, and each is made of slices of the one.
 */

import { encodeCanonical, MAX_DEPTH, parsedValue, parseStrict } from './canonical-json.ts';
import { canonicalStarts } from './canonical-text.ts';
import type { Json, JsonObject } from './json.ts';
import { memberStarts } from './json-scan.ts';

export interface CanonicalMembers {
  /** The canonical JSON of the object. */
  readonly text: string;
  /** Where each member begins in it. */
  readonly starts: readonly number[];
}

export type ParsedMembers =
  | {
      readonly kind: 'ok';
      readonly value: Json;
      /** Where the text is an object that is canonical as it stands. */
      readonly members: CanonicalMembers | undefined;
    }
  | { readonly kind: 'invalid'; readonly reason: string };

/** As `parseStrict`, which it asks where a text is not canonical as it stands. */
export function parseMembers(text: string, options: { readonly anyNumbers: boolean }): ParsedMembers {
  const starts = canonicalStarts(text, MAX_DEPTH);
  if (starts !== undefined) {
    const value = parsedValue(text, false);
    // What is kept is a text of its own: a slice of a longer one would keep all of that in memory.
    if (value !== undefined)
      return { kind: 'ok', value, members: { text: Buffer.from(text).toString(), starts } };
  }
  const parsed = parseStrict(text, options);
  return parsed.kind === 'ok' ? { ...parsed, members: undefined } : parsed;
}

/** The members of an object. */
export function canonicalMembers(object: JsonObject): CanonicalMembers {
  const text = encodeCanonical(object);
  return { text, starts: memberStarts(text) };
}

/**
 * The canonical JSON of the object with what `wanted` says of each member: true for one that stays, false for one that is
 * left out, or the canonical JSON of its new value.
 */
export function pickMembers(
  { text, starts }: CanonicalMembers,
  wanted: (name: string) => boolean | string,
): string {
  let picked = '';
  // Members that stay and stand together are taken as one slice; those from here on have not been taken yet.
  let from = -1;
  for (const start of starts) {
    // A name with an escaped quote ends too early here, with a backslash: it is none that anybody asks for.
    const name = text.slice(start + 1, text.indexOf('"', start + 1));
    const want = wanted(name);
    if (want === true) {
      if (from < 0) from = start;
      continue;
    }
    // With the comma behind them, which the last one lacks.
    if (from >= 0) picked += text.slice(from, start);
    from = -1;
    if (want !== false) picked += `"${name}":${want},`;
  }
  if (from === 1) return text;
  if (from > 1) return `{${picked}${text.slice(from)}`;
  return `{${picked.slice(0, -1)}}`;
}
