/** Walks of the event graph: level by level, each level in one query, and bounded. */

import type { EventId } from '#keys/ids.ts';
import type { RoomsContext, RoomsReader } from './context.ts';
import { loadEvents } from './load.ts';
import type { Room } from './room.ts';
import { portionsOf, Slices } from './slices.ts';
import { isPlaced, type StoredEvent } from './stored-event.ts';

/** No room comes near; a graph that does is made by somebody. */
const LONGEST_AUTH_CHAIN = 200_000;
/** How many events `missingEvents` looks at, whatever it may return. */
const LONGEST_WALK = 256;

/**
 * The auth chains of some events: all that is reached by their `auth_events`, without the events themselves
 * unless another's chain holds them. Rejected events are in it; ones that are not stored are left out.
 */
export async function authChain(ctx: RoomsReader, eventIds: Iterable<EventId>): Promise<StoredEvent[]> {
  const begun = new Set(eventIds);
  const chain = new Map<EventId, StoredEvent>();
  await loadAuthChains(ctx, begun, chain);
  const slices = new Slices();
  for (const portion of portionsOf(chain.values())) {
    for (const { event } of portion) for (const authEventId of event.authEvents) begun.delete(authEventId);
    await slices.rest();
  }
  // Those are left that no other cites.
  for (const eventId of begun) chain.delete(eventId);
  return [...chain.values()];
}

/**
 * Loads events with their auth chains, level by level, into `loaded`. What that holds is there with its chain already;
 * of what `known` holds only the chain is loaded.
 */
export async function loadAuthChains(
  ctx: RoomsReader,
  eventIds: Iterable<EventId>,
  loaded: Map<EventId, StoredEvent>,
  known: ReadonlyMap<EventId, StoredEvent> = new Map(),
): Promise<void> {
  const slices = new Slices();
  // Of all that is reached, once; those that are not stored too.
  const reached = new Set<EventId>();
  let level: Iterable<EventId> = eventIds;
  for (let found = 1; found > 0; ) {
    const next: StoredEvent[] = [];
    for (const portion of portionsOf(level)) {
      const fresh = portion.filter((eventId) => !loaded.has(eventId) && !reached.has(eventId));
      for (const eventId of fresh) reached.add(eventId);
      const read = await loadEvents(
        ctx,
        fresh.filter((eventId) => !known.has(eventId)),
      );
      for (const eventId of fresh) {
        const stored = known.get(eventId) ?? read.get(eventId);
        if (stored === undefined) continue;
        loaded.set(eventId, stored);
        next.push(stored);
      }
      await slices.rest();
    }
    if (loaded.size > LONGEST_AUTH_CHAIN)
      throw new Error(`an auth chain has more than ${LONGEST_AUTH_CHAIN} events`);
    found = next.length;
    level = next.values().flatMap(({ event }) => event.authEvents);
  }
}

export interface MissingEventsQuery {
  /** From here backwards; these are not in the answer. */
  readonly latest: readonly EventId[];
  /** As far as these; they are not in the answer. */
  readonly earliest: readonly EventId[];
  readonly limit: number;
  readonly minDepth: number;
}

/**
 * What lies between two rims of the graph, breadth first from `latest`, at most `limit` events; answered oldest
 * first. https://spec.matrix.org/v1.19/server-server-api/#post_matrixfederationv1get_missing_eventsroomid
 */
export async function missingEvents(
  ctx: RoomsContext,
  room: Room,
  query: MissingEventsQuery,
): Promise<StoredEvent[]> {
  const seen = new Set<EventId>([...query.latest, ...query.earliest]);
  const found: StoredEvent[] = [];
  let level = inRoom(room, await loadEvents(ctx, query.latest));
  let walked = 0;
  while (level.length > 0 && found.length < query.limit && walked < LONGEST_WALK) {
    const next = unseenPrevEvents(level, seen);
    level = inRoom(room, await loadEvents(ctx, next)).filter(
      (stored) => stored.event.depth >= query.minDepth,
    );
    walked += level.length;
    found.push(...level.filter(isServed));
  }
  return oldestFirst(found.slice(0, query.limit));
}

/**
 * Events of the room from some of them backwards, these among them, newest first, at most `limit`.
 * https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1backfillroomid
 */
export async function backfillEvents(
  ctx: RoomsContext,
  room: Room,
  from: readonly EventId[],
  limit: number,
): Promise<StoredEvent[]> {
  const seen = new Set<EventId>(from);
  const found: StoredEvent[] = [];
  let level = inRoom(room, await loadEvents(ctx, from));
  // Rejected events are walked through and not answered, so that both are counted.
  for (let walked = 0; level.length > 0 && found.length < limit && walked < limit + LONGEST_WALK; ) {
    walked += level.length;
    found.push(...level.filter(isServed));
    level = inRoom(room, await loadEvents(ctx, unseenPrevEvents(level, seen)));
  }
  return oldestFirst(found.slice(0, limit)).reverse();
}

/** Sorted so that each event comes after those it cites; of events that do not, by depth and time. */
export function oldestFirst(events: readonly StoredEvent[]): StoredEvent[] {
  return [...events].sort(
    (a, b) =>
      a.event.depth - b.event.depth || a.event.originServerTs - b.event.originServerTs || a.nid - b.nid,
  );
}

/** Notes what a level cites and nobody has looked at. */
function unseenPrevEvents(level: readonly StoredEvent[], seen: Set<EventId>): EventId[] {
  const next: EventId[] = [];
  for (const { event } of level) {
    for (const prevEventId of event.prevEvents) {
      if (seen.has(prevEventId)) continue;
      seen.add(prevEventId);
      next.push(prevEventId);
    }
  }
  return next;
}

function inRoom(room: Room, events: ReadonlyMap<EventId, StoredEvent>): StoredEvent[] {
  return [...events.values()].filter((stored) => stored.roomNid === room.roomNid && isPlaced(stored));
}

/**
 * Rejected events are not relayed. "Soft failed events are returned in `/backfill` and `/get_missing_events` responses
 * only if the requests include events referencing the soft failed events", from where alone a walk comes to them.
 */
function isServed(stored: StoredEvent): boolean {
  return stored.status !== 'rejected';
}
