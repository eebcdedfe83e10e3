/** Events and rules in words that an operator understands. */

import { type AuthState, checkStateDependent, type Refusal } from '../auth/check.ts';
import { ruleNumber } from '../auth/refusal.ts';
import { type Event, membershipOf } from '../event.ts';
import type { RoomVersionRules } from '../versions.ts';

/** One event in one line, its id last. */
export function inWords(event: Event): string {
  const { type, stateKey, sender, eventId } = event;
  const membership = type === 'm.room.member' ? membershipOf(event) : undefined;
  const what = stateKey === undefined ? type : `${type} ${JSON.stringify(stateKey)}`;
  return `${what}${membership === undefined ? '' : `, ${membership},`} by ${sender}, ${timeOf(event)}: ${eventId}`;
}

/** The key of a state event. */
export function keyInWords({ type, stateKey }: Event): string {
  return stateKey === undefined || stateKey === '' ? type : `${type} of ${JSON.stringify(stateKey)}`;
}

/** A refusal with the rule behind it, as the page of the room's version numbers it. */
export function refusalInWords({ rule, reason }: Refusal, rules: RoomVersionRules): string {
  if (rule === undefined) return `${reason}.`;
  return `${reason} (rule ${ruleNumber(rule, rules)} of the authorisation rules of room version ${rules.version}).`;
}

/** Why a state does not allow an event, and what of the state was looked at for that, in the end. */
export function judgedBy(
  event: Event,
  state: AuthState,
): { readonly refusal: Refusal; readonly decidedBy: readonly Event[] } | undefined {
  const lookedAt = new Set<Event>();
  const refusal = checkStateDependent(event, {
    get(type, stateKey) {
      const found = state.get(type, stateKey);
      // Every check begins with the create event; it rarely decides anything.
      if (found !== undefined && type !== 'm.room.create') lookedAt.add(found);
      return found;
    },
  });
  return refusal === undefined ? undefined : { refusal, decidedBy: [...lookedAt] };
}

/** The lines that name the deciding events. */
export function deciding(events: readonly Event[]): string[] {
  if (events.length === 0) return [];
  return ['  What decided:', ...events.map((event) => `    ${inWords(event)}`)];
}

function timeOf({ originServerTs }: Event): string {
  const date = new Date(originServerTs);
  // Senders may claim times that no calendar has.
  return Number.isNaN(date.getTime()) ? `at ${originServerTs} ms` : date.toISOString();
}
