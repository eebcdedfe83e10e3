/**
 * "Move URL parameters to the request body", which is new with the stable face. Some clients of the other one did so
 * before.
 */

import { invalidParam } from '#federation/errors.ts';
import type { PresenceState } from '#storage/presences.ts';
import { type Query, queryString } from '../query.ts';
import { LONGEST_WAIT_MS } from '../sync/wait.ts';
import type { SlidingBody, SlidingRequest } from './request.ts';

/** What the URL says; each undefined where it says nothing. */
export interface UrlParameters {
  readonly pos: string | undefined;
  readonly timeoutMs: number | undefined;
  readonly presence: PresenceState | undefined;
}

const TIMEOUT = /^\d{1,15}$/;
export const NO_PARAMETERS: UrlParameters = { pos: undefined, timeoutMs: undefined, presence: undefined };

export function urlParameters(query: Query): UrlParameters {
  const timeout = queryString(query, 'timeout');
  if (timeout !== undefined && !TIMEOUT.test(timeout)) throw invalidParam('timeout must be an integer');
  const presence = queryString(query, 'set_presence');
  return {
    pos: queryString(query, 'pos'),
    timeoutMs: timeout === undefined ? undefined : Number(timeout),
    presence: presence === undefined ? undefined : presenceOf(presence),
  };
}

/** "An unknown value will result in a 400 error response with code `M_INVALID_PARAM`." */
export function presenceOf(value: unknown): PresenceState {
  if (value === undefined || value === null || value === '' || value === 'online') return 'online';
  if (value === 'offline' || value === 'unavailable') return value;
  throw invalidParam('set_presence is neither online, unavailable nor offline');
}

/** The request as a whole: where the URL and the body both say something, the URL counts. */
export function slidingRequest(
  body: SlidingBody,
  who: Pick<SlidingRequest, 'requester' | 'face'>,
  url: UrlParameters,
): SlidingRequest {
  const pos = url.pos ?? body.pos;
  return {
    ...body,
    ...who,
    pos: pos === '' ? undefined : pos,
    timeoutMs: Math.min(url.timeoutMs ?? body.timeoutMs, LONGEST_WAIT_MS),
    presence: url.presence ?? body.presence,
  };
}
