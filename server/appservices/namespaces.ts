/**
 * What an application service has named: https://spec.matrix.org/v1.19/application-service-api/#registration
 *
 * The expressions are the operator's, and what they are held against is anybody's: so they run on RE2, whose time is
 * linear in the text. It knows neither lookarounds nor references to groups, which are refused when a service is added.
 */

import { Lru } from '#storage/lru.ts';

/** One entry of a list of namespaces, as it is written. */
export interface NamespaceEntry {
  readonly regex: string;
  readonly exclusive: boolean;
}

/** Whether an id is in a namespace, and whether nobody else may have it. */
export type Belonging = 'exclusive' | 'shared' | 'none';

interface Expression extends NamespaceEntry {
  /** What every match begins with; spares most ids the machine. */
  readonly prefix: string;
  /** True where the expression matches at the beginning of the text. */
  readonly matches: (text: string) => boolean;
}

const LONGEST_EXPRESSION = 1_000;
/** Instructions of the compiled expression: what a step over one character may cost. */
const LARGEST_PROGRAM = 1_000;
const MOST_EXPRESSIONS = 100;
const MOST_KNOWN = 20_000;
const LITERAL = /^\^?([@#!][A-Za-z0-9_-]*)/;

/** The namespaces of one kind, of users, aliases or rooms. */
export class Namespaces {
  readonly entries: readonly NamespaceEntry[];
  readonly #expressions: readonly Expression[];
  readonly #known = new Lru<string, Belonging>({ maxEntries: MOST_KNOWN });

  /** @throws SyntaxError for an expression that is none, or too large, with a reason for the operator */
  static async compile(entries: readonly NamespaceEntry[]): Promise<Namespaces> {
    if (entries.length > MOST_EXPRESSIONS) throw new SyntaxError(`more than ${MOST_EXPRESSIONS} expressions`);
    return new Namespaces(await Promise.all(entries.map(compile)));
  }

  private constructor(expressions: readonly Expression[]) {
    this.entries = expressions;
    this.#expressions = expressions;
  }

  get isEmpty(): boolean {
    return this.#expressions.length === 0;
  }

  /** The same id is asked for again and again: by every event of its room. */
  of(id: string): Belonging {
    if (this.#expressions.length === 0) return 'none';
    const known = this.#known.get(id);
    if (known !== undefined) return known;
    const matching = this.#expressions.filter(({ prefix, matches }) => id.startsWith(prefix) && matches(id));
    const belonging = matching.some(({ exclusive }) => exclusive)
      ? 'exclusive'
      : matching.length > 0
        ? 'shared'
        : 'none';
    this.#known.set(id, belonging);
    return belonging;
  }

  has(id: string): boolean {
    return this.of(id) !== 'none';
  }
}

async function compile({ regex, exclusive }: NamespaceEntry): Promise<Expression> {
  if (regex.length > LONGEST_EXPRESSION) {
    throw new SyntaxError(`an expression is longer than ${LONGEST_EXPRESSION} characters`);
  }
  // Loaded here only: most servers bridge nothing, and start faster without the machine.
  const { RE2JS } = await import('re2js');
  const compiled = (() => {
    try {
      return RE2JS.compile(regex);
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new SyntaxError(`${JSON.stringify(regex)}: ${reason} (RE2 has no lookarounds or references)`, {
        cause,
      });
    }
  })();
  if (compiled.programSize() > LARGEST_PROGRAM)
    throw new SyntaxError(`${JSON.stringify(regex)} is too large`);
  // "@_irc_.*" is meant to stand for all that begins so: bridges write their expressions with and without `^` and `$`.
  const matches = (text: string): boolean => compiled.matcher(text).lookingAt();
  return { regex, exclusive, prefix: prefixOf(regex), matches };
}

/** The literal beginning of an expression, but for its last character, which may be repeated or left out. */
function prefixOf(regex: string): string {
  if (regex.includes('|')) return '';
  const literal = LITERAL.exec(regex)?.[1] ?? '';
  return literal.slice(0, -1);
}
