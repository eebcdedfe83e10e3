import type { SqlValue, Statement } from './database.ts';

const statements = new Map<string, Statement<readonly SqlValue[], unknown>>();

/**
 * Names a SQL statement. The text is the same for both databases: `?` for parameters, and these words where
 * the dialects differ:
 *
 * - `{anyOf}`: `x {anyOf}` tests x against a parameter that is a JSON array of strings (`anyOf(list)`)
 * - `{anyInt}`: the same for a JSON array of integers
 * - `{greatest}`: the scalar maximum, `{greatest}(a, b)`
 * - `{forUpdate}`: at the end of a SELECT that takes the row's lock
 *
 * Migrations also use `{id} {int} {text} {bytes} {strict}`.
 */
export function sql<Params extends readonly SqlValue[], Row = never>(
  name: string,
  text: string,
): Statement<Params, Row> {
  if (statements.has(name)) throw new Error(`two SQL statements are named ${name}`);
  const statement: Statement<Params, Row> = { name, text };
  statements.set(name, statement);
  return statement;
}

/** Every statement named so far, for the test that prepares each of them on both databases. */
export function namedStatements(): readonly Statement<readonly SqlValue[], unknown>[] {
  return [...statements.values()];
}

/** The parameter for `{anyOf}` and `{anyInt}`. */
export function anyOf(values: Iterable<string | number>): string {
  return JSON.stringify([...values]);
}
