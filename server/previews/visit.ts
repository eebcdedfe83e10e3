/** How pages of the web are fetched: from addresses that are allowed, at every step, and only so long and so much. */

import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { ConsumerFailed, consumeUpTo } from '#federation/network/answer-body.ts';
import type { Dialer } from '#federation/network/dial.ts';
import { getPage } from '#federation/network/https-get.ts';
import { TimeLimit } from '#federation/network/time-limit.ts';
import { pageAddress } from './page-address.ts';

export interface Web {
  readonly dialer: Dialer;
  /** Whether a page may be visited by the operator's lists. */
  readonly mayVisit: (url: URL) => boolean;
  /** Aborted when the server stops. */
  readonly stopping: AbortSignal;
  /** For a page, in milliseconds. */
  readonly timeoutMs: number;
}

export interface Visit<T> {
  /** The types that are asked for, as in the header. */
  readonly accept: string;
  readonly maxBytes: number;
  /** Takes an answer, or as much of it as it needs. */
  readonly take: (
    body: AsyncIterable<Buffer>,
    answer: { readonly url: URL; readonly headers: IncomingHttpHeaders },
  ) => Promise<T>;
}

/**
 * - `forbidden`: by the operator's lists
 * - `failed`: the page does not answer, or not with what was asked for, or has too much of it
 */
export type Visited<T> =
  | { readonly kind: 'visited'; readonly value: T }
  | { readonly kind: 'forbidden' }
  | { readonly kind: 'failed'; readonly reason: string };

const MOST_REDIRECTS = 3;
const IDLE_MS = 5_000;

/** Fetches a page, and what it redirects to. Rejects only with what `take` throws of its own. */
export async function visit<T>(web: Web, start: URL, wanted: Visit<T>): Promise<Visited<T>> {
  using limit = new TimeLimit(web.timeoutMs, [web.stopping]);
  try {
    let url = start;
    for (let hop = 0; hop <= MOST_REDIRECTS; hop += 1) {
      if (!web.mayVisit(url)) return { kind: 'forbidden' };
      const options = { accept: wanted.accept, signal: limit.signal, idleMs: IDLE_MS };
      // One after the other: each answer says where the next one is.
      const answer = await getPage(web.dialer, url, options);
      const next = redirectOf(answer, url);
      if (next === undefined) return await taken(answer, url, wanted);
      answer.destroy();
      url = next;
    }
    return failed('too many redirects');
  } catch (error) {
    if (error instanceof ConsumerFailed) throw error.cause;
    return failed(error instanceof Error ? error.message : String(error));
  }
}

async function taken<T>(
  answer: IncomingMessage,
  url: URL,
  { maxBytes, take }: Visit<T>,
): Promise<Visited<T>> {
  const { statusCode: status, headers } = answer;
  const encoding = headers['content-encoding'] ?? 'identity';
  if (status !== 200 || encoding !== 'identity') {
    answer.destroy();
    return failed(`status ${status}, encoding ${encoding}`);
  }
  const result = await consumeUpTo(answer, maxBytes, (body) => take(body, { url, headers }));
  return result === undefined ? failed('it is too large') : { kind: 'visited', value: result.value };
}

function redirectOf({ statusCode = 0, headers: { location } }: IncomingMessage, url: URL): URL | undefined {
  if (statusCode < 300 || statusCode > 399 || location === undefined) return undefined;
  return pageAddress(location, url);
}

function failed(reason: string): { readonly kind: 'failed'; readonly reason: string } {
  return { kind: 'failed', reason };
}
