/**
 * A large JSON object cut into pieces while it arrives: each item of some of its lists, and some of its other
 * members. What is wanted of it is never in memory as a whole.
 *
 * It works on bytes, of which those that structure JSON are never part of a longer UTF-8 character. It judges only
 * the outermost object and the lists; whoever takes a piece parses it. What is not wanted need not even be JSON, but
 * its strings and brackets must close.
 */

import {
  BACKSLASH,
  CLOSE_ARRAY,
  CLOSE_OBJECT,
  COLON,
  COMMA,
  isSpace,
  OPEN_ARRAY,
  OPEN_OBJECT,
  QUOTE,
} from './json-units.ts';

export type Piece =
  /** A wanted list begins. */
  | { readonly kind: 'list'; readonly key: string }
  /** An item of a wanted list; without bytes where it is longer than allowed. */
  | { readonly kind: 'item'; readonly key: string; readonly bytes: Buffer | undefined }
  /** A wanted member, or a wanted list that is no list. */
  | { readonly kind: 'member'; readonly key: string; readonly bytes: Buffer | undefined };

export interface WantedPieces {
  readonly lists: readonly string[];
  readonly members: readonly string[];
  /** The longest piece; of a longer one no more is kept, but for its place. */
  readonly maxBytes: number;
  /** The object is the second item of a list of two; false unless given. */
  readonly isPair?: boolean;
}

/** What may come next, outside of values. */
type Expected =
  | 'pair'
  | 'first of pair'
  | 'comma of pair'
  | 'end of pair'
  | 'object'
  | 'first key'
  | 'key'
  | 'colon'
  | 'value'
  | 'comma'
  | 'first item'
  | 'item'
  | 'item comma'
  | 'nothing';

/** What the value that is being read is. */
type Reading = 'key' | 'member' | 'item' | 'first of pair';

const NOTHING = Buffer.alloc(0);
/** Of a key; the names that are wanted are short. */
const MAX_KEY_BYTES = 1_024;

export class JsonPieces {
  readonly #wanted: WantedPieces;
  readonly #seen = new Set<string>();
  #expected: Expected = 'object';
  #key = '';
  #reading: Reading | undefined;
  /** Inside the value that is read: how many brackets are open, and whether a string is. */
  #depth = 0;
  #inString = false;
  #escaped = false;
  /** The part of the value that earlier chunks have brought; undefined where it is not kept. */
  #kept: Buffer[] | undefined;
  #length = 0;
  #fault: string | undefined;

  constructor(wanted: WantedPieces) {
    this.#wanted = wanted;
    if (wanted.isPair === true) this.#expected = 'pair';
  }

  /** Why the text is not what was announced; undefined as long as it may be. */
  get fault(): string | undefined {
    return this.#fault;
  }

  /** The pieces that this chunk completes, in their order. After a fault there are no more. */
  push(chunk: Buffer): Piece[] {
    const pieces: Piece[] = [];
    let at = 0;
    while (at < chunk.length && this.#fault === undefined) {
      at = this.#reading === undefined ? this.#step(chunk, at, pieces) : this.#value(chunk, at, pieces);
    }
    return pieces;
  }

  /** At the end of the text: why it is none, or undefined. */
  end(): string | undefined {
    if (this.#fault === undefined && this.#expected !== 'nothing') this.#fault = 'it ends early';
    return this.#fault;
  }

  /** One byte between values; answers where to go on. */
  #step(chunk: Buffer, at: number, pieces: Piece[]): number {
    const byte = chunk[at] ?? 0;
    if (isSpace(byte)) return at + 1;
    switch (this.#expected) {
      case 'pair':
        return this.#take(byte === OPEN_ARRAY, 'first of pair', at);
      case 'first of pair':
        return this.#begin('first of pair', at);
      case 'comma of pair':
        return this.#take(byte === COMMA, 'object', at);
      case 'end of pair':
        return this.#take(byte === CLOSE_ARRAY, 'nothing', at);
      case 'object':
        return this.#take(byte === OPEN_OBJECT, 'first key', at);
      case 'first key':
      case 'key':
        if (byte === CLOSE_OBJECT && this.#expected === 'first key')
          return this.#take(true, this.#afterObject, at);
        return byte === QUOTE ? this.#begin('key', at) : this.#fail('a key is missing', at);
      case 'colon':
        return this.#take(byte === COLON, 'value', at);
      case 'value':
        if (byte !== OPEN_ARRAY || !this.#wanted.lists.includes(this.#key)) return this.#begin('member', at);
        pieces.push({ kind: 'list', key: this.#key });
        return this.#take(true, 'first item', at);
      case 'comma':
        return this.#take(
          byte === COMMA || byte === CLOSE_OBJECT,
          byte === COMMA ? 'key' : this.#afterObject,
          at,
        );
      case 'first item':
        return byte === CLOSE_ARRAY ? this.#take(true, 'comma', at) : this.#begin('item', at);
      case 'item':
        return this.#begin('item', at);
      case 'item comma':
        return this.#take(byte === COMMA || byte === CLOSE_ARRAY, byte === COMMA ? 'item' : 'comma', at);
      case 'nothing':
        return this.#fail('something follows it', at);
    }
  }

  get #afterObject(): Expected {
    return this.#wanted.isPair === true ? 'end of pair' : 'nothing';
  }

  #take(fits: boolean, expected: Expected, at: number): number {
    if (!fits) return this.#fail('its outermost object is no JSON', at);
    this.#expected = expected;
    return at + 1;
  }

  #fail(reason: string, at: number): number {
    this.#fault = reason;
    return at;
  }

  /** A value begins at this byte, which is still to be read. */
  #begin(reading: Reading, at: number): number {
    this.#reading = reading;
    const { lists, members } = this.#wanted;
    const isKept =
      reading === 'key' || reading === 'item' || members.includes(this.#key) || lists.includes(this.#key);
    this.#kept = isKept ? [] : undefined;
    this.#length = 0;
    return at;
  }

  /** Reads on in a value; answers the index after its end, or after the chunk's. */
  #value(chunk: Buffer, start: number, pieces: Piece[]): number {
    const end = this.#valueEnd(chunk, start);
    const isWhole = end !== undefined;
    this.#keep(chunk.subarray(start, end));
    if (!isWhole) return chunk.length;
    const bytes = this.#kept === undefined ? undefined : joined(this.#kept);
    const reading = this.#reading;
    this.#reading = undefined;
    this.#kept = undefined;
    if (reading === 'key') this.#endKey(bytes, end);
    else if (reading === 'first of pair') this.#take(this.#length > 0, 'comma of pair', end);
    else this.#endValue(reading === 'item', bytes, pieces);
    return end;
  }

  /** The index after the value's end; undefined where it goes on in the next chunk. */
  #valueEnd(chunk: Buffer, start: number): number | undefined {
    let depth = this.#depth;
    let inString = this.#inString;
    let at = this.#escaped ? start + 1 : start;
    this.#escaped = false;
    while (at < chunk.length) {
      if (inString) {
        at = stringStop(chunk, at);
        if (at === chunk.length) break;
        inString = chunk[at] === BACKSLASH;
        if (inString) {
          // What follows is none of the string's end; it may be the next chunk's first.
          at += 2;
          this.#escaped = at > chunk.length;
          continue;
        }
        at += 1;
        if (depth === 0) return this.#valueOver(at);
        continue;
      }
      switch (chunk[at]) {
        case QUOTE:
          inString = true;
          break;
        case OPEN_OBJECT:
        case OPEN_ARRAY:
          depth += 1;
          break;
        case CLOSE_OBJECT:
        case CLOSE_ARRAY:
          // At depth 0 the bracket, as a comma, belongs to what is around a number or a word.
          if (depth === 0) return this.#valueOver(at);
          depth -= 1;
          if (depth === 0) return this.#valueOver(at + 1);
          break;
        default:
          if (depth === 0 && endsWord(chunk[at] ?? 0)) return this.#valueOver(at);
      }
      at += 1;
    }
    this.#depth = depth;
    this.#inString = inString;
    return undefined;
  }

  #valueOver(end: number): number {
    this.#depth = 0;
    this.#inString = false;
    return end;
  }

  #keep(part: Buffer): void {
    this.#length += part.length;
    if (this.#kept === undefined) return;
    const most = this.#reading === 'key' ? MAX_KEY_BYTES : this.#wanted.maxBytes;
    if (this.#length > most) this.#kept = undefined;
    else this.#kept.push(part);
  }

  #endKey(bytes: Buffer | undefined, end: number): void {
    const key = bytes === undefined ? undefined : stringOf(bytes);
    this.#key = key ?? '';
    this.#expected = 'colon';
    if (key === undefined) return;
    const { lists, members } = this.#wanted;
    if (!lists.includes(key) && !members.includes(key)) return;
    // Which of the two to go by would be a matter of taste.
    if (this.#seen.has(key)) this.#fail(`it has two members ${key}`, end);
    this.#seen.add(key);
  }

  #endValue(isItem: boolean, bytes: Buffer | undefined, pieces: Piece[]): void {
    const { lists, members } = this.#wanted;
    const key = this.#key;
    if (this.#length === 0) this.#fail('a value is missing', 0);
    else if (isItem) pieces.push({ kind: 'item', key, bytes });
    else if (members.includes(key) || lists.includes(key)) pieces.push({ kind: 'member', key, bytes });
    this.#expected = isItem ? 'item comma' : 'comma';
  }
}

/** The index of the next quote or backslash; the chunk's length where there is none. */
function stringStop(chunk: Buffer, start: number): number {
  let at = start;
  for (; at < chunk.length; at += 1) {
    const byte = chunk[at];
    if (byte === QUOTE || byte === BACKSLASH) break;
  }
  return at;
}

/** True for what stands between values outside of brackets. */
function endsWord(byte: number): boolean {
  return byte === COMMA || byte === COLON || isSpace(byte);
}

function joined(parts: readonly Buffer[]): Buffer {
  const [first = NOTHING] = parts;
  return parts.length === 1 ? first : Buffer.concat(parts);
}

function stringOf(bytes: Buffer): string | undefined {
  try {
    const value: unknown = JSON.parse(bytes.toString());
    return typeof value === 'string' ? value : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}
