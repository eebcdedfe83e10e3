/** What stands in the query of a /sync: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3sync */

import { invalidParam } from '#federation/errors.ts';
import type { PresenceState } from '#storage/presences.ts';
import type { SyncRequest } from './context.ts';
import { LONGEST_WAIT_MS } from './wait.ts';

export type Query = Partial<Record<string, unknown>>;

/** What came before `use_state_after`, and is still sent by older clients. */
const MSC4222 = 'org.matrix.msc4222';
const TIMEOUT = /^\d{1,15}$/;

/** Under which name, and thereby of which moment, the state of rooms is told. */
export function stateMemberOf(query: Query): SyncRequest['stateMember'] {
  if (flagOf(query.use_state_after, 'use_state_after')) return 'state_after';
  return query[`${MSC4222}.use_state_after`] === 'true' ? `${MSC4222}.state_after` : 'state';
}

/** A parameter that is `true` or `false`, or not there. */
export function flagOf(value: unknown, name: string): boolean {
  if (value === undefined || value === '' || value === 'false') return false;
  if (value === 'true') return true;
  throw invalidParam(`${name} is neither true nor false`);
}

/** "If this parameter is omitted then the client is automatically marked as online when it uses this API." */
export function presenceOf({ set_presence: value }: Query): PresenceState {
  if (value === undefined || value === '' || value === 'online') return 'online';
  if (value === 'offline' || value === 'unavailable') return value;
  throw invalidParam('set_presence is neither online, unavailable nor offline');
}

/** How long a client wants to wait, or may. */
export function timeoutOf({ timeout: value }: Query): number {
  if (value === undefined) return 0;
  if (typeof value !== 'string' || !TIMEOUT.test(value)) throw invalidParam('timeout must be an integer');
  return Math.min(Number(value), LONGEST_WAIT_MS);
}
