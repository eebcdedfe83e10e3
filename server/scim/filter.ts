/**
 * Filters, and the paths of PATCH operations that hold them: https://www.rfc-editor.org/rfc/rfc7644#section-3.4.2.2
 *
 *     FILTER    = attrExp / logExp / valuePath / *1"not" "(" FILTER ")"
 *     valuePath = attrPath "[" valFilter "]"
 *     attrExp   = (attrPath SP "pr") / (attrPath SP compareOp SP compValue)
 *     attrPath  = [URI ":"] ATTRNAME *1subAttr
 *
 * "not" binds tighter than "and", and that tighter than "or".
 */

import { invalidFilter, invalidPath, type ScimError } from './errors.ts';

/** The name of an attribute, as it was written but for its case. */
export interface AttributePath {
  /** In lower case; undefined for an attribute of the resource's own schema that names none. */
  readonly urn: string | undefined;
  readonly name: string;
  readonly sub: string | undefined;
}

export const compareOps = ['eq', 'ne', 'co', 'sw', 'ew', 'gt', 'lt', 'ge', 'le'] as const;
export type CompareOp = (typeof compareOps)[number];

export type Filter =
  | { readonly kind: 'and' | 'or'; readonly left: Filter; readonly right: Filter }
  | { readonly kind: 'not'; readonly filter: Filter }
  | { readonly kind: 'present'; readonly path: AttributePath }
  | {
      readonly kind: 'compare';
      readonly path: AttributePath;
      readonly op: CompareOp;
      readonly value: string | number | boolean | null;
    }
  /** One value of the attribute fulfils all of `filter`. */
  | { readonly kind: 'values'; readonly path: AttributePath; readonly filter: Filter };

/** `members`, `name.familyName`, `emails[type eq "work"].value` */
export interface PatchPath {
  readonly path: AttributePath;
  readonly filter: Filter | undefined;
}

const MAX_CHARACTERS = 4_096;
const MAX_TERMS = 100;
const MAX_DEPTH = 20;

const TOKEN = /\s*(?:([()[\]])|("(?:[^"\\]|\\.)*")|([A-Za-z0-9_$:.%+-]+))/y;
const NAME = /^(?:(urn:[A-Za-z0-9:._%+-]+):)?([A-Za-z$][\w$-]*)(?:\.([A-Za-z$][\w$-]*))?$/i;
const NUMBER = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/;

/** @throws ScimError `invalidFilter` */
export function parseFilter(text: string): Filter {
  const parser = new Parser(text, invalidFilter);
  const filter = parser.filter(0);
  parser.end();
  return filter;
}

/** @throws ScimError `invalidPath`, or `invalidFilter` for what stands in brackets */
export function parsePath(text: string): PatchPath {
  const parser = new Parser(text, invalidPath);
  const found = parser.patchPath();
  parser.end();
  return found;
}

/** The name of an attribute; undefined for what is none. */
export function attributePath(text: string): AttributePath | undefined {
  const [match, urn, name, sub] = NAME.exec(text) ?? [];
  if (match === undefined || name === undefined) return undefined;
  return { urn: urn?.toLowerCase(), name: name.toLowerCase(), sub: sub?.toLowerCase() };
}

class Parser {
  readonly #tokens: readonly string[];
  readonly #fault: (detail: string) => ScimError;
  #at = 0;
  #terms = 0;

  constructor(text: string, fault: (detail: string) => ScimError) {
    this.#fault = fault;
    if (text.length > MAX_CHARACTERS) throw fault(`It is longer than ${MAX_CHARACTERS} characters`);
    this.#tokens = tokensOf(text, fault);
  }

  filter(depth: number): Filter {
    let left = this.#conjunction(depth);
    while (this.#takeWord('or')) left = { kind: 'or', left, right: this.#conjunction(depth) };
    return left;
  }

  patchPath(): PatchPath {
    const path = this.#path();
    if (!this.#take('[')) return { path, filter: undefined };
    if (path.sub !== undefined) throw this.#fault('A sub-attribute has no values to choose from');
    const filter = this.filter(1);
    this.#expect(']');
    const next = this.#tokens[this.#at];
    if (next === undefined) return { path, filter };
    const sub = next.startsWith('.') ? attributePath(next.slice(1)) : undefined;
    if (sub === undefined || sub.urn !== undefined || sub.sub !== undefined) {
      throw this.#fault(`"${next}" is no sub-attribute`);
    }
    this.#at += 1;
    return { path: { ...path, sub: sub.name }, filter };
  }

  end(): void {
    const next = this.#tokens[this.#at];
    if (next !== undefined) throw this.#fault(`"${next}" is not expected there`);
  }

  #conjunction(depth: number): Filter {
    let left = this.#term(depth);
    while (this.#takeWord('and')) left = { kind: 'and', left, right: this.#term(depth) };
    return left;
  }

  #term(depth: number): Filter {
    this.#terms += 1;
    if (this.#terms > MAX_TERMS) throw invalidFilter(`It has more than ${MAX_TERMS} terms`);
    if (depth > MAX_DEPTH) throw invalidFilter(`It is nested deeper than ${MAX_DEPTH}`);
    if (this.#tokens[this.#at + 1] === '(' && this.#takeWord('not')) {
      return { kind: 'not', filter: this.#inParentheses(depth) };
    }
    if (this.#tokens[this.#at] === '(') return this.#inParentheses(depth);
    const path = this.#path();
    if (this.#take('[')) {
      const filter = this.filter(depth + 1);
      this.#expect(']');
      return { kind: 'values', path, filter };
    }
    const word = this.#tokens[this.#at]?.toLowerCase();
    this.#at += 1;
    if (word === 'pr') return { kind: 'present', path };
    const op = compareOps.find((known) => known === word);
    if (op === undefined) throw invalidFilter(`"${word ?? ''}" is no operator`);
    return { kind: 'compare', path, op, value: this.#value() };
  }

  #inParentheses(depth: number): Filter {
    this.#expect('(');
    const filter = this.filter(depth + 1);
    this.#expect(')');
    return filter;
  }

  #path(): AttributePath {
    const token = this.#tokens[this.#at] ?? '';
    const path = attributePath(token);
    if (path === undefined) throw this.#fault(`"${token}" is no name of an attribute`);
    this.#at += 1;
    return path;
  }

  #value(): string | number | boolean | null {
    const token = this.#tokens[this.#at] ?? '';
    this.#at += 1;
    if (token.startsWith('"')) return stringOf(token);
    if (NUMBER.test(token)) return Number(token);
    switch (token.toLowerCase()) {
      case 'true':
        return true;
      case 'false':
        return false;
      case 'null':
        return null;
      default:
        throw invalidFilter(`"${token}" is no value: texts stand in double quotes`);
    }
  }

  #take(token: string): boolean {
    const isNext = this.#tokens[this.#at] === token;
    if (isNext) this.#at += 1;
    return isNext;
  }

  #takeWord(word: string): boolean {
    const isNext = this.#tokens[this.#at]?.toLowerCase() === word;
    if (isNext) this.#at += 1;
    return isNext;
  }

  #expect(token: string): void {
    if (!this.#take(token)) throw this.#fault(`"${token}" is missing`);
  }
}

function tokensOf(text: string, fault: (detail: string) => ScimError): string[] {
  const trimmed = text.trim();
  if (trimmed === '') throw fault('It is empty');
  const tokens: string[] = [];
  TOKEN.lastIndex = 0;
  while (TOKEN.lastIndex < trimmed.length) {
    const { lastIndex } = TOKEN;
    const match = TOKEN.exec(trimmed);
    if (match === null) throw fault(`It is not understood from character ${lastIndex + 1} on`);
    tokens.push(match[1] ?? match[2] ?? match[3] ?? '');
  }
  return tokens;
}

function stringOf(token: string): string {
  try {
    const value: unknown = JSON.parse(token);
    if (typeof value === 'string') return value;
  } catch (cause) {
    throw Object.assign(invalidFilter('A text in it is not JSON'), { cause });
  }
  throw invalidFilter('A text in it is not JSON');
}
