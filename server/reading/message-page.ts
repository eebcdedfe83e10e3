/** Pages of a room's history as one user may and wants to see them. */

import { fillHistory } from '#federation/history/backfill.ts';
import type { UserId } from '#keys/ids.ts';
import { isUserId } from '#keys/ids.ts';
import type { Room } from '#rooms/room.ts';
import { stateAt } from '#rooms/state.ts';
import type { StoredEvent } from '#rooms/stored-event.ts';
import { endAfter, type PageRange, page, positionBefore } from '#rooms/timeline.ts';
import { visibleTo } from '#rooms/visibility.ts';
import * as eventEdges from '#storage/event-edges.ts';
import type { ServerContext } from '../context.ts';
import { type EventFilter, includesRoom, passes } from '../sync/filter.ts';
import { ignoredBy, isFromOthers } from './ignored-users.ts';
import type { relationFilterOf } from './relation-filter.ts';

export interface MessagePage {
  /** In the direction of the page. */
  readonly events: readonly StoredEvent[];
  /** With lazy-loading: the member events of those who sent them. */
  readonly members: readonly StoredEvent[];
  /** Where the next page begins; undefined where there is none. */
  readonly end: number | undefined;
}

/** What of a room's history is wanted; `relates` looks at what an event says of its relation to another. */
export type HistoryFilter = EventFilter & { readonly relates?: ReturnType<typeof relationFilterOf> };

/** Pages that are read in search of events that the user may see and wants to. */
const MOST_PAGES = 3;

/** The next events from a position on. May be empty although more follow: then `end` says where. */
export async function readPage(
  ctx: ServerContext,
  { room, userId }: { readonly room: Room; readonly userId: UserId },
  filter: HistoryFilter,
  range: PageRange,
): Promise<MessagePage> {
  if (!includesRoom(filter.rooms, room.roomId)) return { events: [], members: [], end: undefined };
  const ignored = await ignoredBy(ctx.db, userId);
  const isWanted = ({ event }: StoredEvent) => passes(filter, event) && (filter.relates?.(event) ?? true);
  const events: StoredEvent[] = [];
  let beyond: StoredEvent | undefined;
  let from: number | undefined = range.from;
  for (let pages = 0; from !== undefined && events.length === 0 && pages < MOST_PAGES; pages++) {
    // Where a page begins depends on the page before it.
    const read = await pageWithHistory(ctx, room, { ...range, from });
    const visible = await visibleTo(ctx, room.roomNid, { userId }, read.events);
    const available = read.events.filter(
      (stored, index) => visible[index] === true && isFromOthers(stored.event, ignored),
    );
    events.push(...available.filter(isWanted));
    beyond = available.at(-1);
    from = read.end;
  }
  const members = filter.lazyLoadMembers ? await sendersOf(ctx, events) : [];
  const last = events.at(-1);
  // "A token corresponding to the end of chunk": what is beyond it is there for who asks with another filter.
  if (from === undefined && last !== undefined && last !== beyond) from = endAfter(last, range.direction);
  return { events, members, end: from };
}

/** A page; where what the server has ends within it, and other servers have more, with some of that. */
async function pageWithHistory(
  ctx: ServerContext,
  room: Room,
  range: PageRange,
): Promise<{ events: StoredEvent[]; end: number | undefined }> {
  const { roomNid } = room;
  const known = await page(ctx, roomNid, range);
  if (known.end !== undefined || range.direction === 'f' || range.to !== undefined) return known;
  if (!(await hasMoreElsewhere(ctx, roomNid))) return known;
  const isFilled = await fillHistory(ctx, room, range.from, range.limit);
  const read = isFilled ? await page(ctx, roomNid, range) : known;
  const oldest = read.events.at(-1);
  if (read.end !== undefined || oldest === undefined) return read;
  // Whether the others have still more shows when the client asks on from here.
  return { ...read, end: (await hasMoreElsewhere(ctx, roomNid)) ? positionBefore(oldest) : undefined };
}

/** True where events are cited that the server does not have. */
async function hasMoreElsewhere(ctx: ServerContext, roomNid: number): Promise<boolean> {
  return (await eventEdges.backwardExtremities(ctx.db, roomNid, { limit: 1 })).length > 0;
}

/**
 * The member events of those who sent the events: as they were at the last of them, or, of those who came later than
 * that, at the first.
 */
export async function sendersOf(ctx: ServerContext, events: readonly StoredEvent[]): Promise<StoredEvent[]> {
  const [first, last] = [events[0], events.at(-1)];
  if (first === undefined || last === undefined) return [];
  const senders = new Set(events.map(({ event }) => event.sender).filter(isUserId));
  const members = await membersAfter(ctx, last, senders);
  const found = new Set(members.map(({ event }) => event.stateKey));
  const missing = [...senders].filter((userId) => !found.has(userId));
  return [...members, ...(await membersAfter(ctx, first, missing))];
}

async function membersAfter(
  ctx: ServerContext,
  event: StoredEvent,
  userIds: Iterable<UserId>,
): Promise<StoredEvent[]> {
  const keys = [...userIds].map((stateKey) => ({ type: 'm.room.member', stateKey }));
  return keys.length === 0 ? [] : stateAt(ctx, event, 'after', keys);
}
