/** Where an oracle and we disagree about a room. */

import type { EventId } from '#keys/ids.ts';
import type { AuthState } from '#rooms/auth/check.ts';
import type { Event } from '#rooms/event.ts';
import type { OracleName } from './oracle.ts';
import { authEventStateOf, type OurRoom } from './ours.ts';
import { type EventFacts, type Failure, isFailure, type RoomAnswer, type Verdict } from './protocol.ts';

/** One thing that an oracle and we answer otherwise. */
export type Difference =
  | (About & {
      readonly what: 'facts';
      readonly event: Event;
      readonly fact: keyof EventFacts | 'unreadable';
    })
  /** By the state that its auth events make, as on receipt, or by a state of the room. */
  | (About & {
      readonly what: 'verdict';
      readonly event: Event;
      readonly by: 'auth events' | 'state';
      readonly state: AuthState;
    })
  | (About & { readonly what: 'resolved' })
  /** The oracle gave no answer at all. */
  | (About & { readonly what: 'failure' });

interface About {
  readonly oracle: OracleName;
  readonly ours: string;
  readonly theirs: string;
}

const ALLOWED = 'allowed';

/** All differences about a room. A reason is not compared, only whether there is one. */
export function differencesOf(oracle: OracleName, ours: OurRoom, theirs: RoomAnswer | Failure): Difference[] {
  if (isFailure(theirs)) return [{ oracle, what: 'failure', ours: 'an answer', theirs: theirs.error }];
  const events = [...ours.events.values()];
  return [
    ...events.flatMap((event, at) => eventDifferences(oracle, { event, at }, ours, theirs)),
    ...resolvedDifferences(oracle, ours, theirs),
  ];
}

function eventDifferences(
  oracle: OracleName,
  { event, at }: { readonly event: Event; readonly at: number },
  ours: OurRoom,
  theirs: RoomAnswer,
): Difference[] {
  const [we, they] = [ours.answer.events[at], theirs.events[at]];
  if (we === undefined || they === undefined) throw new Error('an answer lacks an event');
  const found: Difference[] = [];
  if ('unreadable' in they.facts) {
    const reason = they.facts.unreadable;
    // What it cannot read it refuses.
    const isRefused = (we.independent ?? we.dependent) !== null;
    return isRefused
      ? []
      : [{ oracle, what: 'facts', event, fact: 'unreadable', ours: ALLOWED, theirs: reason }];
  }
  if ('unreadable' in we.facts) throw new Error('an event that we cannot read');
  for (const [fact, value] of Object.entries(we.facts) as [keyof EventFacts, string][]) {
    const other = they.facts[fact];
    if (!isSameFact(value, other)) {
      found.push({
        oracle,
        what: 'facts',
        event,
        fact,
        ours: value,
        theirs: isFailure(other) ? other.error : other,
      });
    }
  }
  // Which of the two kinds of rules refuses an event does not matter, nor what one that is refused would meet later.
  const onReceipt = said(we.independent ?? we.dependent, they.independent ?? they.dependent);
  if (onReceipt !== undefined) {
    found.push({
      oracle,
      what: 'verdict',
      event,
      by: 'auth events',
      state: authEventStateOf(event, ours.events),
      ...onReceipt,
    });
  }
  if ([we.independent, we.dependent, they.independent, they.dependent].some((verdict) => verdict !== null))
    return found;
  for (const [index, state] of ours.states.entries()) {
    const inState = said(we.in_states[index] ?? null, they.in_states[index] ?? null);
    if (inState !== undefined) found.push({ oracle, what: 'verdict', event, by: 'state', state, ...inState });
  }
  return found;
}

function resolvedDifferences(oracle: OracleName, ours: OurRoom, theirs: RoomAnswer): Difference[] {
  if (isFailure(ours.answer.resolved)) throw new Error(ours.answer.resolved.error);
  if (theirs.resolved === null) return [];
  const mine = new Set(ours.answer.resolved);
  if (isFailure(theirs.resolved)) {
    return [{ oracle, what: 'resolved', ours: `${mine.size} events`, theirs: theirs.resolved.error }];
  }
  const other = new Set(theirs.resolved);
  const [onlyOurs, onlyTheirs] = [mine.difference(other), other.difference(mine)];
  if (onlyOurs.size === 0 && onlyTheirs.size === 0) return [];
  return [{ oracle, what: 'resolved', ours: listed(onlyOurs), theirs: listed(onlyTheirs) }];
}

/** Hashes may be in the alphabet of ids or in that of hashes. */
function isSameFact(ours: string, theirs: string | Failure): boolean {
  return (
    !isFailure(theirs) &&
    theirs.replaceAll('-', '+').replaceAll('_', '/') === ours.replaceAll('-', '+').replaceAll('_', '/')
  );
}

/** What is said where one allows what the other refuses. */
function said(ours: Verdict, theirs: Verdict): { ours: string; theirs: string } | undefined {
  return (ours === null) === (theirs === null)
    ? undefined
    : { ours: ours ?? ALLOWED, theirs: theirs ?? ALLOWED };
}

function listed(ids: ReadonlySet<EventId>): string {
  return [...ids].join(', ') || 'nothing else';
}
