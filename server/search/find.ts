/** The events that a search finds, as far as the user may see them. */

import type { UserId } from '#keys/ids.ts';
import { loadEvents, loadNids } from '#rooms/load.ts';
import { relationOf } from '#rooms/relations/relation.ts';
import type { StoredEvent } from '#rooms/stored-event.ts';
import { visibleTo } from '#rooms/visibility.ts';
import * as search from '#storage/search.ts';
import type { ServerContext } from '../context.ts';
import { ignoredBy } from '../reading/ignored-users.ts';
import { NO_FILTER, passes } from '../sync/filter.ts';
import type { SearchRequest } from './request.ts';
import { roomsToSearch } from './scope.ts';
import type { SearchToken } from './token.ts';

export interface FoundEvent {
  readonly stored: StoredEvent;
  readonly rank: number;
}

export interface Found {
  readonly events: readonly FoundEvent[];
  /** Of all pages, as far as they were looked at: never of events that the user may not see. */
  readonly count: number;
  /** Where the next page begins; undefined where there is none. */
  readonly next: SearchToken | undefined;
}

/** What the index is asked for at once. */
const MOST_MATCHES = 1_000;
/** Events that are looked at for one page, and to count. */
const MOST_LOOKED_AT = 400;
const AT_ONCE = 50;
/** How long a search waits for the newest events to come into the index. */
const INDEX_WITHIN_MS = 2_000;

const NOTHING: Found = { events: [], count: 0, next: undefined };

export async function findEvents(ctx: ServerContext, userId: UserId, request: SearchRequest): Promise<Found> {
  const { from, orderBy } = request;
  const upto = from?.upto ?? ctx.streams.upto();
  if (from === undefined) await ctx.search?.reached(upto, INDEX_WITHIN_MS);
  const ignored = await ignoredBy(ctx.db, userId);
  const query = await queryFor(ctx, userId, request, ignored);
  if (query === undefined) return NOTHING;
  const before = orderBy === 'recent' && from !== undefined ? from.place : upto + 1;
  const read = orderBy === 'recent' ? search.newest : search.best;
  const matches = await read(ctx.db, { ...query, before, limit: MOST_MATCHES });
  const begin = orderBy === 'rank' ? (from?.place ?? 0) : 0;
  const walked = await walk(ctx, userId, request, { matches, begin });
  const count = from?.count ?? walked.count;
  const place = placeAfter(orderBy, matches, walked.end);
  const next =
    walked.isMore && place !== undefined ? { orderBy, upto, place, count, group: from?.group } : undefined;
  return { events: walked.events, count, next };
}

/** What the index is asked; undefined where nothing can be found. */
async function queryFor(
  ctx: ServerContext,
  userId: UserId,
  { phrases, types, filter, from }: SearchRequest,
  ignored: ReadonlySet<string>,
): Promise<Omit<search.SearchQuery, 'before' | 'limit'> | undefined> {
  // Once for each type, and not for each event: a filter may name a great many.
  const ofAnyone = { ...filter, senders: undefined, notSenders: [], containsUrl: undefined };
  const wanted = types.filter((type) => passes(ofAnyone, { type }));
  if (phrases.length === 0 || wanted.length === 0) return undefined;
  const { group } = from ?? {};
  const inRoom = group?.key === 'room_id' ? new Set([group.value]) : undefined;
  const rooms = inRoom === undefined ? filter.rooms : { not: filter.rooms.not, only: inRoom };
  const roomNids = await roomsToSearch(ctx, userId, { rooms });
  const senders = sendersOf(filter.senders, group);
  if (roomNids.length === 0 || senders?.length === 0) return undefined;
  return { phrases, types: wanted, roomNids, senders, notSenders: [...filter.notSenders, ...ignored] };
}

function sendersOf(
  senders: readonly string[] | undefined,
  group: SearchToken['group'],
): readonly string[] | undefined {
  if (group?.key !== 'sender') return senders;
  return senders?.includes(group.value) === false ? [] : [group.value];
}

interface Walked {
  readonly events: readonly FoundEvent[];
  readonly count: number;
  /** The index after the last match that the page holds, or that was looked at for it. */
  readonly end: number;
  readonly isMore: boolean;
}

/** Looks at the matches in their order: until the page is full, and for the first page a while longer, to count. */
async function walk(
  ctx: ServerContext,
  userId: UserId,
  request: SearchRequest,
  { matches, begin }: { readonly matches: readonly search.Match[]; readonly begin: number },
): Promise<Walked> {
  const { limit, from } = request;
  const events: FoundEvent[] = [];
  const last = Math.min(matches.length, begin + MOST_LOOKED_AT);
  let count = 0;
  let end = last;
  for (let at = begin; at < last; at += AT_ONCE) {
    const part = matches.slice(at, Math.min(at + AT_ONCE, last));
    // Portion by portion: mostly the first is enough.
    const seen = await seenAmong(ctx, userId, request, part);
    for (const [index, { position, rank }] of part.entries()) {
      const stored = seen.get(position);
      if (stored === undefined) continue;
      count += 1;
      if (events.length === limit) continue;
      events.push({ stored, rank });
      if (events.length === limit) end = at + index + 1;
    }
    if (events.length === limit && from !== undefined) break;
  }
  const isCut = last < matches.length || matches.length === MOST_MATCHES;
  return { events, count, end, isMore: events.length === limit || (isCut && end > begin) };
}

function placeAfter(
  orderBy: SearchRequest['orderBy'],
  matches: readonly search.Match[],
  end: number,
): number | undefined {
  return orderBy === 'rank' ? end : matches[end - 1]?.position;
}

/** Those of some matches that the user may see and wants to, by position. */
async function seenAmong(
  ctx: ServerContext,
  userId: UserId,
  { filter }: SearchRequest,
  matches: readonly search.Match[],
): Promise<Map<number, StoredEvent>> {
  const nids = await search.nidsAt(
    ctx.db,
    matches.map(({ position }) => position),
  );
  const loaded = [...(await loadNids(ctx, nids.values())).values()];
  // The index was asked for the rest of the filter.
  const { containsUrl } = filter;
  const ofUrl = { ...NO_FILTER.timeline, containsUrl, passesAll: containsUrl === undefined };
  const wanted = loaded.filter((stored) => stored.redactedBy === undefined && passes(ofUrl, stored.event));
  const seen = new Map<number, StoredEvent>();
  for (const [roomNid, events] of Map.groupBy(wanted, (stored) => stored.roomNid)) {
    // Room by room, as visibility is decided.
    const visible = await visibleTo(ctx, roomNid, { userId }, events);
    for (const [index, stored] of events.entries()) {
      if (visible[index] === true && stored.position !== undefined) seen.set(stored.position, stored);
    }
  }
  return withoutEditsOfRedacted(ctx, seen);
}

/** Whoever has a message redacted means its edits too, which nobody is shown any more. */
async function withoutEditsOfRedacted(
  ctx: ServerContext,
  seen: Map<number, StoredEvent>,
): Promise<Map<number, StoredEvent>> {
  const edits = new Map(
    [...seen].map(([position, { event }]) => [position, relationOf(event.content)] as const),
  );
  const parents = [...edits.values()]
    .filter((relation) => relation?.relType === 'm.replace')
    .map((relation) => relation?.parentId)
    .filter((eventId) => eventId !== undefined);
  if (parents.length === 0) return seen;
  const loaded = await loadEvents(ctx, parents);
  for (const [position, relation] of edits) {
    if (relation?.relType !== 'm.replace') continue;
    if (loaded.get(relation.parentId)?.redactedBy !== undefined) seen.delete(position);
  }
  return seen;
}
