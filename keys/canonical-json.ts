/**
 * Canonical JSON and the two ways to read JSON from the wire.
 * https://spec.matrix.org/v1.19/appendices/#canonical-json
 */

import { isUtf8 } from 'node:buffer';
import { rankOf } from './canonical-text.ts';
import { isObject, type Json, type JsonObject } from './json.ts';
import { isRawNumber, keepNumber } from './json-number.ts';
import { itemsOf, membersOf, type ScanRules, scan } from './json-scan.ts';

export type Parsed =
  | { readonly kind: 'ok'; readonly value: Json }
  | { readonly kind: 'invalid'; readonly reason: string };

/** How deep a PDU or the body of a client's request may be. */
export const MAX_DEPTH = 100;
/** How many values the body of a client's request may hold. */
export const MAX_NODES = 200_000;
/**
 * How deep a transaction or another answer of a peer may be as a whole, so that one deep event fails alone and
 * not together with its neighbours. More than other servers can relay; less than `JSON.stringify` can write.
 */
export const RELAYED_MAX_DEPTH = 1_000;

/** Keys that a plain object does not keep in the order of their insertion, or that sort differently in UTF-16. */
const NEEDS_WRITER = /^\d{1,10}$|^__proto__$|[\ud800-\uffff]/;
const SURROGATE_ESCAPE = /\\u[dD][89a-fA-F]/;

/**
 * The canonical JSON of a value: keys sorted by code point, no white space, nothing escaped but quotes,
 * backslashes and control characters. Encode the string as UTF-8 to get the bytes that are hashed and signed.
 */
export function encodeCanonical(value: Json): string {
  const ordered = isInKeyOrder(value) ? value : inKeyOrder(value);
  return ordered === undefined ? write(value) : JSON.stringify(ordered);
}

/**
 * Reads one PDU from what was sent. Refuses what canonical JSON cannot hold, because the sender and we would
 * hash different texts: invalid UTF-8, a byte order mark, duplicate keys, lone surrogates, numbers other than
 * integers in +-(2^53-1) (so `1.0`, `1e3` and `-0` too), and depth over `maxDepth`, which is 100 unless given.
 *
 * With `anyNumbers`, as room versions 1 to 5 are read, numbers may be written in any way, and are kept such that
 * they are hashed as other servers hash them (`json-number.ts`).
 */
export function parseStrict(
  input: Uint8Array | string,
  options: { readonly maxDepth?: number; readonly anyNumbers?: boolean } = {},
): Parsed {
  const maxDepth = options.maxDepth ?? MAX_DEPTH;
  const numbers = options.anyNumbers === true ? 'kept' : 'canonical';
  const read = parse(input, { maxDepth, maxNodes: Number.POSITIVE_INFINITY, numbers });
  if (read.kind === 'invalid') return read;
  if (countMembers(read.value) !== read.members) return { kind: 'invalid', reason: 'duplicate keys' };
  if (read.mayHaveLoneSurrogates && !isWellFormed(read.value)) return loneSurrogate;
  return { kind: 'ok', value: read.value };
}

export interface LooseOptions {
  /** 100 unless given. */
  readonly maxDepth?: number;
  /** 200,000 unless given. */
  readonly maxNodes?: number;
  /** Whether a string with half a surrogate pair is refused; false unless given. */
  readonly refuseLoneSurrogates?: boolean;
}

/**
 * Reads the body of a request or an answer. Refuses invalid UTF-8, a byte order mark, numbers that overflow, and
 * more depth or more values than allowed. Accepts fractions, and duplicate keys, of which the last counts. A key
 * `__proto__` stays an own key.
 */
export function parseLoose(input: Uint8Array | string, options: LooseOptions = {}): Parsed {
  const maxDepth = options.maxDepth ?? MAX_DEPTH;
  const read = parse(input, { maxDepth, maxNodes: options.maxNodes ?? MAX_NODES, numbers: 'finite' });
  if (read.kind === 'invalid') return read;
  const suspicious = options.refuseLoneSurrogates === true && read.mayHaveLoneSurrogates;
  return suspicious && !isWellFormed(read.value) ? loneSurrogate : { kind: 'ok', value: read.value };
}

/**
 * The raw text of each item of the array that stands under `key` in a top-level object: a peer's PDUs are judged
 * one by one on what was sent. Undefined where the text is no object or `key` holds no array. The text must be
 * JSON (see `parseLoose`); of duplicate keys the last counts, as for `JSON.parse`.
 */
export function splitArrayAt(text: string, key: string): string[] | undefined {
  let items: string[] | undefined;
  for (const [name, start, end] of membersOf(text)) {
    if (name === key) items = text.startsWith('[', start) ? itemsOf(text, start, end) : undefined;
  }
  return items;
}

const loneSurrogate: Parsed = { kind: 'invalid', reason: 'a string has a lone surrogate' };

type Read =
  | {
      readonly kind: 'ok';
      readonly value: Json;
      readonly members: number;
      readonly mayHaveLoneSurrogates: boolean;
    }
  | { readonly kind: 'invalid'; readonly reason: string };

function parse(input: Uint8Array | string, rules: ScanRules): Read {
  const text = typeof input === 'string' ? input : decodeUtf8(input);
  if (text === undefined) return { kind: 'invalid', reason: 'not UTF-8' };
  const scanned = scan(text, rules);
  if (scanned.kind === 'invalid') return scanned;
  const value = parsedValue(text, rules.numbers === 'kept' && !scanned.hasCanonicalNumbers);
  if (value === undefined) return { kind: 'invalid', reason: 'not JSON' };
  const escaped = SURROGATE_ESCAPE.test(text);
  const mayHaveLoneSurrogates = escaped || (typeof input === 'string' && !text.isWellFormed());
  return { kind: 'ok', value, members: scanned.members, mayHaveLoneSurrogates };
}

/** Keeps a byte order mark, for `JSON.parse` to refuse. */
function decodeUtf8(bytes: Uint8Array): string | undefined {
  if (!isUtf8(bytes)) return undefined;
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8');
}

/** What `JSON.parse` makes of a text; undefined where it is no JSON. */
export function parsedValue(text: string, keepsNumbers: boolean): Json | undefined {
  try {
    const value: Json = keepsNumbers ? JSON.parse(text, keepNumber) : JSON.parse(text);
    return value;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

function countMembers(value: Json): number {
  if (typeof value !== 'object' || value === null) return 0;
  if (isRawNumber(value)) return 0;
  const inner = Object.values(value);
  return inner.reduce(
    (sum: number, item: Json) => sum + countMembers(item),
    isObject(value) ? inner.length : 0,
  );
}

function isWellFormed(value: Json): boolean {
  if (typeof value === 'string') return value.isWellFormed();
  if (typeof value !== 'object' || value === null || isRawNumber(value)) return true;
  if (!isObject(value)) return value.every(isWellFormed);
  return Object.entries(value).every(([key, item]) => key.isWellFormed() && isWellFormed(item));
}

/** True where all keys are in order already, as in most of what was canonical when it was read. */
function isInKeyOrder(value: Json): boolean {
  if (typeof value !== 'object' || value === null || isRawNumber(value)) return true;
  if (!isObject(value)) return value.every(isInKeyOrder);
  let last = '';
  for (const key of Object.keys(value)) {
    if (key < last || NEEDS_WRITER.test(key)) return false;
    last = key;
    const item = value[key];
    if (item !== undefined && !isInKeyOrder(item)) return false;
  }
  return true;
}

/** The value with all keys in order, for `JSON.stringify`; undefined where a plain object cannot hold them so. */
function inKeyOrder(value: Json): Json | undefined {
  if (typeof value !== 'object' || value === null || isRawNumber(value)) return value;
  return isObject(value) ? objectInKeyOrder(value) : arrayInKeyOrder(value);
}

function objectInKeyOrder(object: JsonObject): JsonObject | undefined {
  const keys = Object.keys(object);
  if (keys.some((key) => NEEDS_WRITER.test(key))) return undefined;
  const copy: Record<string, Json> = {};
  for (const key of keys.sort()) {
    const value = object[key];
    if (value === undefined) continue;
    const ordered = inKeyOrder(value);
    if (ordered === undefined) return undefined;
    copy[key] = ordered;
  }
  return copy;
}

function arrayInKeyOrder(array: readonly Json[]): Json[] | undefined {
  const copy: Json[] = [];
  for (const item of array) {
    const ordered = inKeyOrder(item);
    if (ordered === undefined) return undefined;
    copy.push(ordered);
  }
  return copy;
}

/** Writes member by member: slower, and right for every key. */
function write(value: Json): string {
  if (typeof value !== 'object' || value === null || isRawNumber(value)) return JSON.stringify(value);
  if (!isObject(value)) return `[${value.map(write).join(',')}]`;
  const members: string[] = [];
  for (const key of Object.keys(value).sort(byCodePoint)) {
    const item = value[key];
    if (item !== undefined) members.push(`${JSON.stringify(key)}:${write(item)}`);
  }
  return `{${members.join(',')}}`;
}

/** `sort()` compares UTF-16 units, which are in another order. */
function byCodePoint(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let at = 0; at < length; at += 1) {
    const difference = rankOf(a.charCodeAt(at)) - rankOf(b.charCodeAt(at));
    if (difference !== 0) return difference;
  }
  return a.length - b.length;
}
