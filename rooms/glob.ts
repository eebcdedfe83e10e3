/**
 * Glob-style matching: https://spec.matrix.org/v1.19/appendices/#glob-style-matching
 *
 * `*` matches any run of characters, `?` exactly one. What stands between two stars is looked for once, from where
 * the one before it was found: never is anything tried again, whatever the pattern.
 */

/** A pattern, cut at its stars. */
export interface Glob {
  readonly parts: readonly string[];
  /** How much a text of one unit costs at most, by the longest part. */
  readonly weight: number;
}

/** What the engine compares at once, of a part that it looks for as it is. */
const COMPARED_AT_ONCE = 16;
/** Longer parts it compares unit by unit where they nearly fit, and so are those with a `?`. */
const LONG_PART = 250;
const WORD = /[A-Za-z0-9_]/;
const NOT_FOUND = -1;

/** Prepares a pattern that is matched against many texts. */
export function globOf(pattern: string): Glob {
  const parts = pattern.replaceAll(/\*+/g, '*').split('*');
  return { parts, weight: Math.max(...parts.map(weightOf)) };
}

function weightOf(part: string): number {
  const isSlow = part.includes('?') || part.length > LONG_PART;
  return isSlow ? part.length : 1 + Math.floor(part.length / COMPARED_AT_ONCE);
}

/** True where the pattern matches the whole text. */
export function matchesGlob(pattern: string | Glob, text: string): boolean {
  const { parts } = typeof pattern === 'string' ? globOf(pattern) : pattern;
  const start = endOfPart(parts[0] ?? '', text, 0);
  if (start === NOT_FOUND) return false;
  if (parts.length === 1) return start === text.length;
  return restMatches(parts, text, start, (end) => end === text.length);
}

/**
 * True where the pattern matches "any substring of the value of the property which starts and ends at a word
 * boundary": "the start or end of the value, or any character not in the sets `[A-Z]`, `[a-z]`, `[0-9]` or `_`".
 */
export function matchesGlobInWords({ parts }: Glob, text: string): boolean {
  const [first = ''] = parts;
  const endsHere = (end: number) => isBoundary(text, end);
  const isAlone = parts.length === 1;
  // The first that fits is the best: it leaves the most for the rest.
  for (let at = find(first, text, 0); at !== NOT_FOUND; at = find(first, text, at + 1)) {
    if (!startsWord(text, at)) continue;
    const end = endOfPart(first, text, at);
    if (!isAlone) return restMatches(parts, text, end, endsHere);
    if (endsHere(end)) return true;
  }
  return false;
}

/** True where the text has a piece as it is, without wildcards, that starts and ends at a word boundary. */
export function containsInWords(piece: string, text: string): boolean {
  for (let at = text.indexOf(piece); at !== NOT_FOUND; at = text.indexOf(piece, at + 1)) {
    if (startsWord(text, at) && isBoundary(text, at + piece.length)) return true;
    if (at >= text.length) return false;
  }
  return false;
}

/** Whether all parts but the first follow from `start` on, in order, the last one with an end that is wanted. */
function restMatches(
  parts: readonly string[],
  text: string,
  start: number,
  isEnd: (end: number) => boolean,
): boolean {
  let from = start;
  for (const part of parts.slice(1, -1)) {
    const at = find(part, text, from);
    if (at === NOT_FOUND) return false;
    from = endOfPart(part, text, at);
  }
  const last = parts.at(-1) ?? '';
  if (last === '') return true;
  for (let at = find(last, text, from); at !== NOT_FOUND; at = find(last, text, at + 1)) {
    if (isEnd(endOfPart(last, text, at))) return true;
  }
  return false;
}

/** Where a part without a star is found first, from `from` on. */
function find(part: string, text: string, from: number): number {
  if (from > text.length) return NOT_FOUND;
  if (!part.includes('?')) return text.indexOf(part, from);
  for (let at = from; at < text.length; at++) {
    if (isInsideCharacter(text, at)) continue;
    if (endOfPart(part, text, at) !== NOT_FOUND) return at;
  }
  return NOT_FOUND;
}

/** Where a part without a star ends that stands at `at`. */
function endOfPart(part: string, text: string, at: number): number {
  if (!part.includes('?')) return text.startsWith(part, at) ? at + part.length : NOT_FOUND;
  let t = at;
  for (let p = 0; p < part.length; p++) {
    if (t >= text.length || (part[p] !== '?' && part[p] !== text[t])) return NOT_FOUND;
    t += part[p] === '?' ? characterLength(text, t) : 1;
  }
  return t;
}

/** A character outside the basic plane is two units of a JavaScript string, but one character. */
function characterLength(text: string, at: number): number {
  return (text.codePointAt(at) ?? 0) > 0xffff ? 2 : 1;
}

function isInsideCharacter(text: string, at: number): boolean {
  return at > 0 && characterLength(text, at - 1) === 2;
}

/** True where no word goes on from before `at`. */
function startsWord(text: string, at: number): boolean {
  return at === 0 || !WORD.test(text[at - 1] ?? '');
}

/** True where no word goes on after `at`. */
function isBoundary(text: string, at: number): boolean {
  return at >= text.length || !WORD.test(text[at] ?? '');
}
