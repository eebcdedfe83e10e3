/**
 * What clients see of a room, in the order in which the server came to know it.
 *
 * A position here is a point between events: the one just after the event that has it. Going back from a
 * position gives events at or before it, going forward events after it, so that one token serves both ways.
 * Only accepted events have a position: no outlier, rejected or soft-failed event appears, nor one that only ties
 * lines of the graph together. That of history which was fetched later is negative.
 */
import * as timeline from '#storage/timeline.ts';
import type { RoomsContext } from './context.ts';
import { loadEvents, loadNids } from './load.ts';
import { isPlaced, type StoredEvent } from './stored-event.ts';

/** Before the oldest event there can be. */
const BEGINNING = Number.MIN_SAFE_INTEGER;
const END = Number.MAX_SAFE_INTEGER;

/**
 * The newest `limit` events after one position and up to another, oldest first; `limited` tells that there are
 * more. The position before the first of them is `positionBefore` of it.
 */
export async function eventsBetween(
  ctx: RoomsContext,
  roomNid: number,
  range: { readonly after: number; readonly upto: number; readonly limit: number },
): Promise<{ events: StoredEvent[]; limited: boolean }> {
  const { limit } = range;
  const nids = await timeline.eventNids(ctx.db, roomNid, { ...range, direction: 'b', limit: limit + 1 });
  const events = await inOrder(ctx, nids.slice(0, limit));
  return { events: events.reverse(), limited: nids.length > limit };
}

/** From where, in which direction, up to where and how many. */
export interface PageRange {
  readonly from: number;
  readonly to?: number | undefined;
  readonly direction: 'b' | 'f';
  readonly limit: number;
}

/**
 * The events from a position on, backwards or forwards, in that direction, at most `limit` and not beyond `to`.
 * `end` is where the next page begins; undefined where the server has no more events in the range.
 */
export async function page(
  ctx: RoomsContext,
  roomNid: number,
  range: PageRange,
): Promise<{ events: StoredEvent[]; end: number | undefined }> {
  return pageOf(ctx, range, (part) => timeline.eventNids(ctx.db, roomNid, part));
}

/** A page of some of the events of a timeline: `read` answers the numeric ids of those in a range. */
export async function pageOf(
  ctx: RoomsContext,
  { from, to, direction, limit }: PageRange,
  read: (range: Parameters<typeof timeline.eventNids>[2]) => Promise<number[]>,
): Promise<{ events: StoredEvent[]; end: number | undefined }> {
  const between =
    direction === 'b' ? { after: to ?? BEGINNING, upto: from } : { after: from, upto: to ?? END };
  const nids = await read({ ...between, direction, limit: limit + 1 });
  const events = await inOrder(ctx, nids.slice(0, limit));
  const more = nids.length > limit;
  const last = events.at(-1);
  if (last === undefined) return { events, end: more ? from : undefined };
  return { events, end: more ? endAfter(last, direction) : undefined };
}

/** Where the page after one begins that ends with an event. */
export function endAfter(last: StoredEvent, direction: 'b' | 'f'): number {
  return direction === 'b' ? positionBefore(last) : positionBefore(last) + 1;
}

/** An event and what is around it. */
export interface Surroundings {
  /** Newest first. */
  readonly before: StoredEvent[];
  /** Oldest first. */
  readonly after: StoredEvent[];
  /** The position before the oldest event of `before`. */
  readonly start: number;
  /** The position after the newest event of `after`. */
  readonly end: number;
}

/**
 * The events around one: `limit` "applies to the sum of the events_before and events_after arrays". Undefined
 * for an event that clients do not see.
 */
export async function around(
  ctx: RoomsContext,
  roomNid: number,
  event: StoredEvent,
  limit: number,
): Promise<Surroundings | undefined> {
  if (event.position === undefined || event.roomNid !== roomNid) return undefined;
  const half = Math.floor(limit / 2);
  return surroundings(ctx, event, { before: half, after: limit - half });
}

/** So many events before and after one that clients see. */
export async function surroundings(
  ctx: RoomsContext,
  event: StoredEvent,
  limits: { readonly before: number; readonly after: number },
): Promise<Surroundings> {
  const { roomNid } = event;
  const from = positionBefore(event);
  const position = from + 1;
  const older = await page(ctx, roomNid, { from, direction: 'b', limit: limits.before });
  const newer = await page(ctx, roomNid, { from: position, direction: 'f', limit: limits.after });
  return {
    before: older.events,
    after: newer.events,
    start: positionBefore(older.events.at(-1) ?? event),
    end: newer.events.at(-1)?.position ?? position,
  };
}

/**
 * The numeric ids of those of the events, all of them live, before which there is a gap: they follow an event that the
 * server does not have, or that it fetched only later, as history.
 */
export async function afterGaps(
  ctx: RoomsContext,
  events: readonly StoredEvent[],
): Promise<ReadonlySet<number>> {
  const here = new Set(events.map(({ event }) => event.eventId));
  const cited = events.flatMap(({ event }) => event.prevEvents).filter((eventId) => !here.has(eventId));
  const known = await loadEvents(ctx, cited);
  for (const [eventId, stored] of known) {
    const isHistory = stored.position !== undefined && stored.position < 0;
    if (isPlaced(stored) && !isHistory) here.add(eventId);
  }
  const gapped = events.filter(({ event }) => event.prevEvents.some((eventId) => !here.has(eventId)));
  return new Set(gapped.map(({ nid }) => nid));
}

/** The position just before an event of the timeline. */
export function positionBefore(event: StoredEvent): number {
  if (event.position === undefined) throw new TypeError('the event has no place in the timeline');
  return event.position - 1;
}

async function inOrder(ctx: RoomsContext, nids: readonly number[]): Promise<StoredEvent[]> {
  const loaded = await loadNids(ctx, nids);
  return nids.map((nid) => loaded.get(nid)).filter((event) => event !== undefined);
}
