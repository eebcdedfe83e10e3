/** Many events at once, as another server tells them: which of them stand by their auth events. */

import { setImmediate } from 'node:timers/promises';
import type { EventId } from '#keys/ids.ts';
import { authStateOf, checkStateDependent, checkStateIndependent, type Refusal } from './auth/check.ts';
import type { RoomsContext } from './context.ts';
import type { Event } from './event.ts';
import { createEventIdOf, referenceHash } from './hashes.ts';
import { loadEvents } from './load.ts';
import type { StoredEvent } from './stored-event.ts';
import type { VerifiedEvent } from './verified-event.ts';

export interface Judged {
  /** Each after those that authorise it. */
  readonly accepted: readonly VerifiedEvent[];
  readonly rejected: ReadonlyMap<EventId, string>;
  /** Told and stored events by id, or `rejected`. Where two have one id, the stored one. */
  readonly byId: ReadonlyMap<EventId, Event | 'rejected'>;
}

/** How many to judge before others get a turn: a few milliseconds of work. */
const AT_ONCE = 250;

/**
 * Judges events of one room by their auth events, which are among them or stored. One that fails takes those with
 * it that it authorises, and nothing else.
 */
export async function judgeTold(
  ctx: RoomsContext,
  roomId: string,
  told: readonly VerifiedEvent[],
): Promise<Judged> {
  const unique = new Map(told.map((event) => [event.eventId, event]));
  const byId = await storedAuthEvents(ctx, unique);
  const taken = await takenIds(ctx, unique);
  const accepted: VerifiedEvent[] = [];
  const rejected = new Map<EventId, string>();
  for (const [index, event] of inAuthOrder(unique).entries()) {
    if (index % AT_ONCE === AT_ONCE - 1) await setImmediate();
    const other = taken.get(event.eventId);
    if (other !== undefined && other.event.roomId === roomId) {
      byId.set(event.eventId, other.status === 'rejected' ? 'rejected' : other.event);
      continue;
    }
    const isHere = event.roomId === roomId && other === undefined;
    const reason = isHere ? judge(event, byId)?.reason : 'The event is of another room';
    byId.set(event.eventId, reason === undefined ? event : 'rejected');
    if (reason === undefined) accepted.push(event);
    else rejected.set(event.eventId, reason);
  }
  return { accepted, rejected, byId };
}

/** Why an event does not stand by its auth events, which are in `byId`; or undefined. */
export function judge(event: Event, byId: ReadonlyMap<EventId, Event | 'rejected'>): Refusal | undefined {
  const createId = event.rules.roomIdIsCreateHash ? createEventIdOf(event.roomId) : undefined;
  const implied = createId === undefined || event.type === 'm.room.create' ? undefined : byId.get(createId);
  const create = implied === 'rejected' ? undefined : implied;
  const named = new Map<EventId, Event | 'rejected'>();
  for (const eventId of event.authEvents) {
    const authEvent = byId.get(eventId);
    if (authEvent !== undefined) named.set(eventId, authEvent);
  }
  const refusal = checkStateIndependent(event, named, create);
  if (refusal !== undefined) return refusal;
  const state = [...named.values()].filter((authEvent) => authEvent !== 'rejected');
  return checkStateDependent(event, authStateOf(create === undefined ? state : [create, ...state]));
}

/**
 * v1, v2: servers choose the ids of their events, so that two events may have the same one. The first that came
 * here counts: the stored events that have the id of another that is told.
 */
async function takenIds(
  ctx: RoomsContext,
  told: ReadonlyMap<EventId, VerifiedEvent>,
): Promise<Map<EventId, StoredEvent>> {
  const taken = new Map<EventId, StoredEvent>();
  const [some] = told.values();
  if (some?.rules.eventIds !== 'chosen') return taken;
  for (const [eventId, stored] of await loadEvents(ctx, told.keys())) {
    const event = told.get(eventId);
    if (event !== undefined && !isSameEvent(stored.event, event)) taken.set(eventId, stored);
  }
  return taken;
}

/** Redacted or not: the reference hash is that of the redacted form. */
function isSameEvent(a: Event, b: Event): boolean {
  if (a.roomId !== b.roomId || a.rules !== b.rules) return false;
  return referenceHash(a.pdu, a.rules).equals(referenceHash(b.pdu, b.rules));
}

/** What the events cite and we have already, because we were in the room before. */
async function storedAuthEvents(
  ctx: RoomsContext,
  told: ReadonlyMap<EventId, VerifiedEvent>,
): Promise<Map<EventId, Event | 'rejected'>> {
  const needed = new Set<EventId>();
  for (const event of told.values()) {
    for (const eventId of event.authEvents) if (!told.has(eventId)) needed.add(eventId);
  }
  const stored = await loadEvents(ctx, needed);
  return new Map(
    [...stored].map(([eventId, { status, event }]) => [eventId, status === 'rejected' ? 'rejected' : event]),
  );
}

/** The events in an order in which each comes after its auth events. Create events, which all need, come first. */
export function inAuthOrder(told: ReadonlyMap<EventId, VerifiedEvent>): VerifiedEvent[] {
  const ordered = new Set<VerifiedEvent>();
  const begun = new Set<EventId>();
  const creates = [...told.values()].filter((event) => event.type === 'm.room.create');
  for (const start of [...creates, ...told.values()]) {
    const path = [start];
    // Depth first without recursion: a chain may be as long as the room is old.
    for (let event = path.at(-1); event !== undefined; event = path.at(-1)) {
      begun.add(event.eventId);
      const next = event.authEvents.find((eventId) => told.has(eventId) && !begun.has(eventId));
      const authEvent = next === undefined ? undefined : told.get(next);
      if (authEvent !== undefined) {
        path.push(authEvent);
        continue;
      }
      ordered.add(event);
      path.pop();
    }
  }
  return [...ordered];
}
