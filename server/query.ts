/** Reading query parameters: what is wrong is told to the client with the name of the parameter. */

import { invalidParam, missingParam } from '#federation/errors.ts';
import { parseToken } from './sync/token.ts';

/** A query string as it is parsed: a parameter that is given more than once is a list. */
export type Query = Partial<Record<string, string | readonly string[]>>;

const INTEGER = /^\d{1,15}$/;

/** The value of a parameter, if it is given; the first of several. */
export function queryString(query: Query, name: string): string | undefined {
  const value = Object.hasOwn(query, name) ? query[name] : undefined;
  return typeof value === 'string' ? value : value?.[0];
}

/** The value of a parameter that must be given. */
export function requiredQuery(query: Query, name: string): string {
  const value = queryString(query, name);
  if (value === undefined || value === '') throw missingParam(name);
  return value;
}

/** All values of a parameter. */
export function queryList(query: Query, name: string): readonly string[] {
  const value = Object.hasOwn(query, name) ? query[name] : undefined;
  if (value === undefined) return [];
  return typeof value === 'string' ? [value] : value;
}

/** A number of things to answer with: `fallback` unless given, at most `most`. */
export function queryLimit(query: Query, { fallback, most }: { fallback: number; most: number }): number {
  const value = queryString(query, 'limit');
  if (value === undefined) return fallback;
  if (!INTEGER.test(value)) throw invalidParam('limit must be an integer');
  return Math.min(Number(value), most);
}

/** The position of a token, if one is given. */
export function queryPosition(query: Query, name: string): number | undefined {
  const value = queryString(query, name);
  if (value === undefined || value === '') return undefined;
  const position = parseToken(value);
  if (position === undefined) throw invalidParam(`${name} is not a token of this server`);
  return position;
}
