/**
 * One pass over JSON text for what `JSON.parse` does not tell: how deep it is, how many members it has, and how
 * its numbers were written. It does not judge the grammar: `JSON.parse` runs afterwards and does.
 */

import { numberText } from './json-number.ts';
import {
  BACKSLASH,
  CLOSE_ARRAY,
  CLOSE_OBJECT,
  COLON,
  COMMA,
  isSpace,
  MINUS,
  NINE,
  OPEN_ARRAY,
  OPEN_OBJECT,
  QUOTE,
  ZERO,
} from './json-units.ts';

export interface ScanRules {
  /** How many arrays and objects may stand inside each other. */
  readonly maxDepth: number;
  /** How many arrays, objects and separating commas there may be. */
  readonly maxNodes: number;
  /**
   * `canonical`: only integers in +-(2^53-1), written without fraction, exponent or negative zero. `finite`: what a
   * double can hold, if not exactly. `kept`: that, and integers of any size.
   */
  readonly numbers: 'canonical' | 'finite' | 'kept';
}

export type Scan =
  | {
      readonly kind: 'ok';
      /** Members of all objects, duplicates counted. */
      readonly members: number;
      /** All numbers are integers in +-(2^53-1), written without fraction, exponent or negative zero. */
      readonly hasCanonicalNumbers: boolean;
    }
  | { readonly kind: 'invalid'; readonly reason: string };

/** Scans the text; the answer counts only for text that `JSON.parse` accepts. */
export function scan(text: string, rules: ScanRules): Scan {
  let depth = 0;
  let nodes = 0;
  let members = 0;
  let hasCanonicalNumbers = true;
  let at = 0;
  while (at < text.length) {
    const unit = text.charCodeAt(at);
    if (unit === QUOTE) {
      at = stringEnd(text, at);
      continue;
    }
    if (unit === MINUS || (unit >= ZERO && unit <= NINE)) {
      const end = numberEnd(text, at);
      const token = text.slice(at, end);
      const reason = faultOfNumber(token, rules.numbers);
      if (reason !== undefined) return { kind: 'invalid', reason };
      if (rules.numbers === 'kept') hasCanonicalNumbers &&= faultOfNumber(token, 'canonical') === undefined;
      at = end;
      continue;
    }
    if (unit === OPEN_OBJECT || unit === OPEN_ARRAY) {
      depth += 1;
      nodes += 1;
      if (depth > rules.maxDepth) return { kind: 'invalid', reason: 'nested too deeply' };
    } else if (unit === CLOSE_OBJECT || unit === CLOSE_ARRAY) {
      depth -= 1;
    } else if (unit === COMMA) {
      nodes += 1;
    } else if (unit === COLON) {
      members += 1;
    }
    if (nodes > rules.maxNodes) return { kind: 'invalid', reason: 'too many values' };
    at += 1;
  }
  return { kind: 'ok', members, hasCanonicalNumbers };
}

/** The members of a top-level object, in order: each one's name and where its value starts and ends. */
export function* membersOf(text: string): Generator<[name: string, start: number, end: number]> {
  let at = spaceEnd(text, 0);
  if (text.charCodeAt(at) !== OPEN_OBJECT) return;
  at = spaceEnd(text, at + 1);
  while (text.charCodeAt(at) === QUOTE) {
    const nameEnd = stringEnd(text, at);
    const name: unknown = JSON.parse(text.slice(at, nameEnd));
    const colon = spaceEnd(text, nameEnd);
    const start = spaceEnd(text, colon + 1);
    const end = valueEnd(text, start);
    yield [String(name), start, end];
    const comma = spaceEnd(text, end);
    at = spaceEnd(text, comma + 1);
  }
}

/** Where each member of an object begins, in JSON without white space. */
export function memberStarts(text: string): number[] {
  const starts: number[] = [];
  for (let at = 1; text.charCodeAt(at) === QUOTE; at = valueEnd(text, stringEnd(text, at) + 1) + 1) {
    starts.push(at);
  }
  return starts;
}

/** The raw text of each item of the array between the brackets at `open` and before `close`. */
export function itemsOf(text: string, open: number, close: number): string[] {
  const items: string[] = [];
  let at = spaceEnd(text, open + 1);
  while (at < close - 1) {
    const end = valueEnd(text, at);
    items.push(text.slice(at, end));
    const comma = spaceEnd(text, end);
    at = spaceEnd(text, comma + 1);
  }
  return items;
}

/** The index after the value that starts at `start`. */
function valueEnd(text: string, start: number): number {
  let depth = 0;
  let at = start;
  while (at < text.length) {
    const unit = text.charCodeAt(at);
    if (unit === QUOTE) {
      at = stringEnd(text, at);
      if (depth === 0) return at;
      continue;
    }
    if (unit === OPEN_OBJECT || unit === OPEN_ARRAY) {
      depth += 1;
    } else if (unit === CLOSE_OBJECT || unit === CLOSE_ARRAY) {
      // At depth 0 the bracket belongs to the container around a number or a word.
      if (depth === 0) return at;
      depth -= 1;
      if (depth === 0) return at + 1;
    } else if (depth === 0 && (unit === COMMA || isSpace(unit))) {
      return at;
    }
    at += 1;
  }
  return text.length;
}

/** The index after the closing quote of the string that opens at `start`: the first that is not escaped. */
export function stringEnd(text: string, start: number): number {
  let quote = text.indexOf('"', start + 1);
  while (quote >= 0 && isEscaped(text, quote)) quote = text.indexOf('"', quote + 1);
  return quote < 0 ? text.length : quote + 1;
}

/** True after an odd number of backslashes. A string's opening quote ends the count. */
function isEscaped(text: string, quote: number): boolean {
  let at = quote - 1;
  while (text.charCodeAt(at) === BACKSLASH) at -= 1;
  return (quote - at) % 2 === 0;
}

function numberEnd(text: string, start: number): number {
  let at = start + 1;
  while (at < text.length && isNumberUnit(text.charCodeAt(at))) at += 1;
  return at;
}

function isNumberUnit(unit: number): boolean {
  // Digits, '+', '-', '.', 'e', 'E'.
  return (
    (unit >= ZERO && unit <= NINE) ||
    unit === 0x2b ||
    unit === MINUS ||
    unit === 0x2e ||
    (unit | 0x20) === 0x65
  );
}

function faultOfNumber(token: string, allowed: ScanRules['numbers']): string | undefined {
  const value = Number(token);
  if (Number.isNaN(value)) return undefined;
  if (allowed === 'finite') return Number.isFinite(value) ? undefined : 'a number is too large';
  // Such as `01` and `1.` are left to `JSON.parse`.
  if (allowed === 'kept') return numberText(token) === undefined ? 'a number is too large' : undefined;
  if (/[.eE]/.test(token)) return 'a number has a fraction or an exponent';
  if (!Number.isSafeInteger(value)) return 'a number is outside of the range of integers';
  return Object.is(value, -0) ? 'a number is negative zero' : undefined;
}

function spaceEnd(text: string, start: number): number {
  let at = start;
  while (at < text.length && isSpace(text.charCodeAt(at))) at += 1;
  return at;
}
