/**
 * Recognises an object's JSON that is canonical as it stands, which most servers send: it need not be written again to be
 * hashed, and has no duplicate keys.
 *
 * It is canonical, if it is JSON at all, where
 *
 * 1. there is no white space outside of strings;
 * 2. the names of each object are in strictly ascending order by code point;
 * 3. numbers are written as integers of few digits, without `-0`;
 * 4. of all escapes only `\"`, `\\`, `\b`, `\f`, `\n`, `\r` and `\t` occur, each the only way to write its character;
 * 5. no surrogate stands alone.
 *
 * Some texts that are canonical are not recognised: that costs time and nothing else.
 */

import { stringEnd } from './json-scan.ts';
import {
  CLOSE_ARRAY,
  CLOSE_OBJECT,
  COLON,
  COMMA,
  MINUS,
  NINE,
  OPEN_ARRAY,
  OPEN_OBJECT,
  QUOTE,
  ZERO,
} from './json-units.ts';

const SMALL_A = 0x61;
const SMALL_Z = 0x7a;
/** Each number of so many digits is below 2^53. */
const MOST_DIGITS = 15;

/**
 * Where the members of the outermost object begin, in a text that is canonical if it is JSON, and no deeper than
 * `maxDepth`. Undefined where it is not recognised as such. It does not judge the grammar: `JSON.parse` does.
 */
export function canonicalStarts(text: string, maxDepth: number): number[] | undefined {
  if (text.charCodeAt(0) !== OPEN_OBJECT || !text.isWellFormed()) return undefined;
  const hasEscapes = text.includes('\\');
  if (hasEscapes && (text.includes('\\u') || text.includes('\\/'))) return undefined;
  const starts: number[] = [];
  /** Of each open bracket, where the last name in it begins; 0 where there has been none. */
  const lastNames: number[] = [];
  let depth = 0;
  let at = 0;
  while (at < text.length) {
    const unit = text.charCodeAt(at);
    if (unit === QUOTE) {
      const end = stringEnd(text, at);
      if (text.charCodeAt(end) === COLON) {
        const last = lastNames[depth] ?? 0;
        if (hasEscapes && text.slice(at, end).includes('\\')) return undefined;
        if (last > 0 && !isBefore(text, last, at)) return undefined;
        lastNames[depth] = at;
        if (depth === 1) starts.push(at);
      }
      at = end;
    } else if (unit === MINUS || (unit >= ZERO && unit <= NINE)) {
      at = integerEnd(text, at);
      if (at < 0) return undefined;
    } else if (unit === OPEN_OBJECT || unit === OPEN_ARRAY) {
      depth += 1;
      if (depth > maxDepth) return undefined;
      lastNames[depth] = 0;
      at += 1;
    } else if (unit === CLOSE_OBJECT || unit === CLOSE_ARRAY) {
      depth -= 1;
      at += 1;
      if (depth === 0) return at === text.length ? starts : undefined;
    } else if (unit === COMMA || unit === COLON || (unit >= SMALL_A && unit <= SMALL_Z)) {
      at += 1;
    } else {
      return undefined;
    }
  }
  return undefined;
}

/** True where one name, which begins at `left`, comes before another by code point. Neither has escapes. */
function isBefore(text: string, left: number, right: number): boolean {
  for (let at = 1; ; at += 1) {
    const ours = text.charCodeAt(left + at);
    const theirs = text.charCodeAt(right + at);
    if (theirs === QUOTE) return false;
    if (ours === QUOTE) return true;
    if (ours !== theirs) return rankOf(ours) < rankOf(theirs);
  }
}

/** UTF-16 has surrogates, and so all beyond U+FFFF, before U+E000 to U+FFFF: code points have them behind. */
export function rankOf(unit: number): number {
  return unit >= 0xd800 && unit <= 0xdfff ? unit + 0x10000 : unit;
}

/** The index after an integer that is written as canonical JSON has it; -1 where it is not. */
function integerEnd(text: string, start: number): number {
  const first = text.charCodeAt(start) === MINUS ? start + 1 : start;
  let end = first;
  while (text.charCodeAt(end) >= ZERO && text.charCodeAt(end) <= NINE) end += 1;
  if (end - first > MOST_DIGITS) return -1;
  // `-0`; what else begins with a zero is no JSON.
  if (first > start && text.charCodeAt(first) === ZERO) return -1;
  // A point or an exponent.
  const next = text.charCodeAt(end);
  return next === COMMA || next === CLOSE_OBJECT || next === CLOSE_ARRAY ? end : -1;
}
