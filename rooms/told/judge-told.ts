/** Many events at once, as another server tells them: which of them stand by their auth events. */

import { setImmediate } from 'node:timers/promises';
import type { EventId } from '#keys/ids.ts';
import { GrowingNumbers } from '#storage/growing-numbers.ts';
import { Lru } from '#storage/lru.ts';
import { type AuthEvents, checkStateDependent, checkStateIndependent, type Refusal } from '../auth/check.ts';
import type { RoomsContext } from '../context.ts';
import type { Event } from '../event.ts';
import { createEventIdOf, referenceHash } from '../hashes.ts';
import { loadEvents } from '../load.ts';
import type { StoredEvent } from '../stored-event.ts';
import type { VerifiedEvent } from '../verified-event.ts';
import type { ToldState } from './told-state.ts';

export interface Judged {
  /** The numbers of those accepted, each after those that authorise it. */
  readonly accepted: Iterable<number>;
  /** How many are rejected, and the first of them. */
  readonly rejected: number;
  readonly firstRejected: { readonly eventId: EventId; readonly reason: string } | undefined;
  isAccepted(number: number): boolean;
}

const ACCEPTED = 1;
const REJECTED = 2;

/** How many to judge before others get a turn: a few milliseconds of work. */
const AT_ONCE = 128;
/** Of these the text is in memory: most events cite the same few, or one just before them. */
const RECENT_EVENTS = 500;
const RECENT_LENGTH = 2 * 1024 * 1024;

/**
 * Judges events of one room by their auth events, which are among them or stored. One that fails takes those with
 * it that it authorises, and nothing else. `join` is our user's, for which they are told.
 */
export async function judgeTold(ctx: RoomsContext, join: Event, told: ToldState): Promise<Judged> {
  const { roomId } = join;
  const accepted = new GrowingNumbers();
  const verdicts = new Uint8Array(told.size);
  let rejected = 0;
  let firstRejected: Judged['firstRejected'];
  const recent = new Citable(told);
  const createId = impliedCreateId(join);
  const judgePortion = async (numbers: readonly number[]): Promise<void> => {
    const events = told.read(numbers);
    const citable = await authEventsOf(ctx, told, { numbers, createId, recent, verdicts });
    const taken = await takenIds(ctx, events);
    for (const [index, event] of events.entries()) {
      const number = numbers[index] ?? 0;
      const other = taken.get(event.eventId);
      if (other !== undefined && other.event.roomId === roomId) {
        told.replace(number, other.event);
        const stands = other.status !== 'rejected';
        verdicts[number] = stands ? ACCEPTED : REJECTED;
        citable.add(other.event, stands);
        recent.judged(number, other.event);
        if (stands) accepted.push(number);
        continue;
      }
      const isHere = event.roomId === roomId && other === undefined;
      const reason = isHere ? refusalOf(event, join, citable) : 'The event is of another room';
      verdicts[number] = reason === undefined ? ACCEPTED : REJECTED;
      recent.judged(number, event);
      citable.add(event, reason === undefined);
      if (reason === undefined) {
        accepted.push(number);
      } else {
        rejected += 1;
        firstRejected ??= { eventId: event.eventId, reason };
      }
    }
  };
  for (const numbers of portions(inAuthOrderOf(told), AT_ONCE)) {
    await setImmediate();
    // In a function of its own: what it has read would be kept while others have their turn, and grow old in V8's eyes.
    await judgePortion(numbers);
  }
  return { accepted, rejected, firstRejected, isAccepted: (number) => verdicts[number] === ACCEPTED };
}

/**
 * In versions 1 to 11 the creator's server can make as many create events as it likes, each as good as the other by
 * itself. A room has one: that which the join cites.
 */
function refusalOf(event: Event, join: Event, citable: AuthEvents): string | undefined {
  const isOther = event.type === 'm.room.create' && !join.authEvents.includes(event.eventId);
  if (isOther && event.rules.createInAuthEvents) return 'The room has another create event';
  return judge(event, citable)?.reason;
}

/**
 * v1, v2: servers choose the ids of their events, so that two events may have the same one. The first that came
 * here counts: the stored events that have the id of another that is told.
 */
async function takenIds(
  ctx: RoomsContext,
  told: readonly Event[],
): Promise<ReadonlyMap<EventId, StoredEvent>> {
  const taken = new Map<EventId, StoredEvent>();
  if (told[0]?.rules.eventIds !== 'chosen') return taken;
  const stored = await loadEvents(
    ctx,
    told.map(({ eventId }) => eventId),
  );
  for (const event of told) {
    const other = stored.get(event.eventId);
    if (other !== undefined && !isSameEvent(other.event, event)) taken.set(event.eventId, other);
  }
  return taken;
}

/** Redacted or not: the reference hash is that of the redacted form. */
function isSameEvent(a: Event, b: Event): boolean {
  if (a.roomId !== b.roomId || a.rules !== b.rules) return false;
  return referenceHash(a.pdu, a.rules).equals(referenceHash(b.pdu, b.rules));
}

/** Judged events that others still cite. Most members are never in it, since nothing cites them. */
class Citable {
  readonly #told: ToldState;
  /** By number: how many of those that cite it have been judged. */
  readonly #judgedCitations: Uint32Array;
  readonly events = new Lru<number, Event>({
    maxEntries: RECENT_EVENTS,
    maxWeight: RECENT_LENGTH,
    weigh: ({ json }) => json.length,
  });

  constructor(told: ToldState) {
    this.#told = told;
    this.#judgedCitations = new Uint32Array(told.size);
  }

  judged(number: number, event: Event): void {
    // Not every version counts what cites the create event.
    if (event.type === 'm.room.create' || this.#leftOf(number) > 0) this.events.set(number, event);
    for (const cited of this.#told.authOf(number)) {
      this.#judgedCitations[cited] = (this.#judgedCitations[cited] ?? 0) + 1;
      if (this.#leftOf(cited) === 0) this.events.delete(cited);
    }
  }

  #leftOf(number: number): number {
    return this.#told.citationsOf(number) - (this.#judgedCitations[number] ?? 0);
  }
}

/** What one event cites, of events that have been judged, or are stored. */
export async function authEventsOfOne(
  ctx: RoomsContext,
  told: ToldState,
  judged: Judged,
  event: Event,
): Promise<AuthEvents> {
  const cited = await loadEvents(ctx, neededBy(event));
  const numbers = [...neededBy(event)].map((eventId) => told.find(eventId)).filter((n) => n !== undefined);
  const found = new Map([...cited].map(([eventId, stored]) => [eventId, asAuthEvent(stored)]));
  for (const [index, toldEvent] of told.read(numbers).entries()) {
    found.set(toldEvent.eventId, judged.isAccepted(numbers[index] ?? 0) ? toldEvent : 'rejected');
  }
  return found;
}

/** Cuts what comes into lists of a length. */
export function* portions<T>(items: Iterable<T>, length: number): Generator<T[]> {
  let portion: T[] = [];
  for (const item of items) {
    portion.push(item);
    if (portion.length < length) continue;
    yield portion;
    portion = [];
  }
  if (portion.length > 0) yield portion;
}

/** The auth events of a portion: judged before, or stored. Those of the portion itself are added as they are judged. */
async function authEventsOf(
  ctx: RoomsContext,
  told: ToldState,
  of: {
    readonly numbers: readonly number[];
    /** The create event, where they do not cite it. */
    readonly createId: EventId | undefined;
    readonly recent: Citable;
    readonly verdicts: Uint8Array;
  },
): Promise<AuthEvents & { add(event: Event, isAccepted: boolean): void }> {
  const found = new Map<EventId, Event | 'rejected'>();
  const toRead: number[] = [];
  const toLoad = new Set<EventId>();
  // By their numbers: most cite the same few.
  const cited = new Set(of.numbers.flatMap((number) => told.authOf(number)));
  const create = of.createId === undefined ? undefined : told.find(of.createId);
  if (create !== undefined) cited.add(create);
  else if (of.createId !== undefined) toLoad.add(of.createId);
  for (const number of cited) {
    const verdict = of.verdicts[number];
    if (!told.isTold(number)) toLoad.add(told.idOf(number));
    else if (verdict === REJECTED) found.set(told.idOf(number), 'rejected');
    else if (verdict === ACCEPTED) {
      const event = of.recent.events.get(number);
      if (event === undefined) toRead.push(number);
      else found.set(event.eventId, event);
    }
    // Not judged yet: it is of this portion, or of a cycle, in which no event can be valid.
  }
  for (const [eventId, stored] of await loadEvents(ctx, toLoad)) found.set(eventId, asAuthEvent(stored));
  for (const [index, event] of told.read(toRead).entries()) {
    found.set(event.eventId, event);
    of.recent.events.set(toRead[index] ?? 0, event);
  }
  return {
    get: (eventId) => found.get(eventId),
    add: (event, isAccepted) => found.set(event.eventId, isAccepted ? event : 'rejected'),
  };
}

function asAuthEvent({ status, event }: StoredEvent): Event | 'rejected' {
  return status === 'rejected' ? 'rejected' : event;
}

/** What an event is judged by: what it cites, and the create event, which it does not cite in every version. */
export function neededBy(event: Event): Set<EventId> {
  const needed = new Set(event.authEvents);
  const createId = impliedCreateId(event);
  if (createId !== undefined) needed.add(createId);
  return needed;
}

function impliedCreateId(event: Event): EventId | undefined {
  if (!event.rules.roomIdIsCreateHash || event.type === 'm.room.create') return undefined;
  return createEventIdOf(event.roomId);
}

/** Why an event does not stand by its auth events, which are in `byId`; or undefined. */
export function judge(event: Event, byId: AuthEvents): Refusal | undefined {
  const createId = impliedCreateId(event);
  const implied = createId === undefined ? undefined : byId.get(createId);
  const create = implied === 'rejected' ? undefined : implied;
  const refusal = checkStateIndependent(event, byId, create);
  if (refusal !== undefined) return refusal;
  const state = create === undefined ? [] : [create];
  for (const eventId of event.authEvents) {
    const authEvent = byId.get(eventId);
    if (authEvent !== undefined && authEvent !== 'rejected') state.push(authEvent);
  }
  // Few, and none of them with the key of another: to look at each costs less than to make a text of each key.
  const get = (type: string, stateKey: string) =>
    state.find((authEvent) => authEvent.stateKey === stateKey && authEvent.type === type);
  return checkStateDependent(event, { get });
}

/** The numbers of the events that were told, in an order in which each comes after its auth events. */
function* inAuthOrderOf(told: ToldState): Generator<number> {
  const begun = new Uint8Array(told.size);
  const walk: AuthWalk<number> = {
    authOf: (number) => told.authOf(number).filter((cited) => told.isTold(cited)),
    begin: (number) => {
      const isNew = begun[number] === 0;
      begun[number] = 1;
      return isNew;
    },
  };
  yield* authOrder(told.creates, walk);
  yield* authOrder(told.told, walk);
}

/** The events in an order in which each comes after its auth events. Create events, which all need, come first. */
export function inAuthOrder(told: ReadonlyMap<EventId, VerifiedEvent>): VerifiedEvent[] {
  const creates = [...told.values()].filter((event) => event.type === 'm.room.create');
  const begun = new Set<VerifiedEvent>();
  const walk: AuthWalk<VerifiedEvent> = {
    authOf: ({ authEvents }) =>
      authEvents.map((eventId) => told.get(eventId)).filter((event) => event !== undefined),
    begin: (event) => begun.size < begun.add(event).size,
  };
  return [...authOrder(creates, walk), ...authOrder(told.values(), walk)];
}

interface AuthWalk<T> {
  authOf(item: T): readonly T[];
  /** False where it was begun before. */
  begin(item: T): boolean;
}

/** Depth first without recursion: a chain may be as long as the room is old. */
function* authOrder<T>(starts: Iterable<T>, { authOf, begin }: AuthWalk<T>): Generator<T> {
  for (const start of starts) {
    if (!begin(start)) continue;
    const path = [{ item: start, rest: authOf(start).values() }];
    for (let top = path.at(-1); top !== undefined; top = path.at(-1)) {
      const { done, value } = top.rest.next();
      if (done) {
        yield top.item;
        path.pop();
      } else if (begin(value)) {
        path.push({ item: value, rest: authOf(value).values() });
      }
    }
  }
}
