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
/** By code: "the sets `[A-Z]`, `[a-z]`, `[0-9]` or `_`". */
const IS_WORD = Array.from({ length: 128 }, (_, code) => /[A-Za-z0-9_]/.test(String.fromCharCode(code)));
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
  return restMatches(parts, text, start, () => text.length);
}

/**
 * True where the pattern matches "any substring of the value of the property which starts and ends at a word
 * boundary": "the start or end of the value, or any character not in the sets `[A-Z]`, `[a-z]`, `[0-9]` or `_`".
 */
export function matchesGlobInWords({ parts }: Glob, text: string): boolean {
  const [first = ''] = parts;
  const isAlone = parts.length === 1;
  // The first that fits is the best: it leaves the most for the rest.
  for (let at = find(first, text, 0); at !== NOT_FOUND; at = find(first, text, nextWord(text, at))) {
    if (!startsWord(text, at)) continue;
    const end = endOfPart(first, text, at);
    if (!isAlone) return restMatches(parts, text, end, nextBoundary);
    if (nextBoundary(text, end) === end) return true;
  }
  return false;
}

/** True where the text has a piece as it is, without wildcards, that starts and ends at a word boundary. */
export function containsInWords(piece: string, text: string): boolean {
  for (let at = text.indexOf(piece); at !== NOT_FOUND; at = text.indexOf(piece, nextWord(text, at))) {
    const end = at + piece.length;
    if (startsWord(text, at) && nextBoundary(text, end) === end) return true;
    if (at >= text.length) return false;
  }
  return false;
}

/**
 * Whether all parts but the first follow from `start` on, in order. The last one must end where `nextEnd` says that it
 * may: it answers the first such place from a given one on.
 */
function restMatches(
  parts: readonly string[],
  text: string,
  start: number,
  nextEnd: (text: string, from: number) => number,
): boolean {
  let from = start;
  for (const part of parts.slice(1, -1)) {
    const at = find(part, text, from);
    if (at === NOT_FOUND) return false;
    from = endOfPart(part, text, at);
  }
  const last = parts.at(-1) ?? '';
  if (last === '') return true;
  const isLiteral = !last.includes('?');
  for (let at = find(last, text, from); at !== NOT_FOUND; at = find(last, text, from)) {
    const end = endOfPart(last, text, at);
    const wanted = nextEnd(text, end);
    if (wanted === end) return true;
    from = isLiteral ? Math.max(at + 1, wanted - last.length) : at + 1;
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
  return at === 0 || (!isWord(text, at - 1) && !isInsideCharacter(text, at));
}

/** The first place after `at` where no word goes on; beyond the text where there is none. */
function nextWord(text: string, at: number): number {
  let next = at + 1;
  while (next <= text.length && !startsWord(text, next)) next += 1;
  return next;
}

/** The first place from `at` on after which no word goes on. */
function nextBoundary(text: string, at: number): number {
  let next = at;
  while (next < text.length && isWord(text, next)) next += 1;
  return next;
}

function isWord(text: string, at: number): boolean {
  return IS_WORD[text.charCodeAt(at)] === true;
}
