/** The query parameters of downloads and thumbnails, which clients and servers give alike. */

import { invalidParam, missingParam } from '../errors.ts';
import { DEFAULT_TIMEOUT_MS, LONGEST_TIMEOUT_MS } from './find.ts';
import { thumbnailMethods, type WantedThumbnail } from './thumbnail-variant.ts';

/** A query string as it is parsed: a parameter that is given more than once is a list. */
export type MediaQuery = Partial<Record<string, string | readonly string[]>>;

const INTEGER = /^\d{1,15}$/;

/** `timeout_ms`, in milliseconds. */
export function timeoutQuery(query: MediaQuery): number {
  const given = single(query, 'timeout_ms');
  if (given === undefined) return DEFAULT_TIMEOUT_MS;
  return Math.min(integer('timeout_ms', given), LONGEST_TIMEOUT_MS);
}

/** What thumbnail is asked for. */
export function thumbnailQuery(query: MediaQuery): WantedThumbnail {
  const method = single(query, 'method') ?? 'scale';
  const known = thumbnailMethods.find((name) => name === method);
  if (known === undefined) throw invalidParam(`method is neither of ${thumbnailMethods.join(', ')}`);
  const animated = single(query, 'animated') ?? 'false';
  if (animated !== 'true' && animated !== 'false') throw invalidParam('animated is neither true nor false');
  const [width, height] = [pixels(query, 'width'), pixels(query, 'height')];
  return { width, height, method: known, animated: animated === 'true' };
}

function pixels(query: MediaQuery, name: string): number {
  const given = single(query, name);
  if (given === undefined) throw missingParam(name);
  const value = integer(name, given);
  if (value === 0) throw invalidParam(`${name} must be above 0`);
  return value;
}

function integer(name: string, text: string): number {
  if (!INTEGER.test(text)) throw invalidParam(`${name} must be an integer`);
  return Number(text);
}

/** The value of a parameter, if it is given; the first of several. */
function single(query: MediaQuery, name: string): string | undefined {
  const value = Object.hasOwn(query, name) ? query[name] : undefined;
  return typeof value === 'string' ? value : value?.[0];
}
