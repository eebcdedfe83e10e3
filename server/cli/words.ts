/** The words of a command that follow its name. */

import { UsageError } from './usage.ts';

/** The one word that a command takes. @throws UsageError */
export function one(rest: readonly string[], what: string): string {
  const [word, extra] = rest;
  if (word === undefined) throw new UsageError(`${what} is missing: see --help`);
  if (extra !== undefined) throw new UsageError(`"${extra}" is too much: see --help`);
  return word;
}

/** For a command that takes no word. @throws UsageError */
export function none(rest: readonly string[]): void {
  if (rest[0] !== undefined) throw new UsageError(`"${rest[0]}" is too much: see --help`);
}
