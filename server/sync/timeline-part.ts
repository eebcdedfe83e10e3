/** The timeline of one room in one answer: the newest events of a range that the user may and wants to see. */

import { bundlesOf } from '#rooms/relations/bundled-relations.ts';
import type { StoredEvent } from '#rooms/stored-event.ts';
import { afterGaps, page, positionBefore } from '#rooms/timeline.ts';
import { visibleTo } from '#rooms/visibility.ts';
import { bundledTextsFor, bundleReader, bundleTexts } from '../reading/bundles.ts';
import type { SyncContext, SyncRequest } from './context.ts';
import { shapedTexts } from './event-shape.ts';
import { type EventFilter, includesRoom, passes } from './filter.ts';
import { eventText, isMadeBy, renderFor, textsFor } from './format.ts';
import { isCutOff, listJson, type Range, type RecentPart, timelineJson } from './recent-timelines.ts';
import type { SyncUser } from './sync-users.ts';

export interface TimelinePart {
  /** Oldest first. */
  readonly events: readonly StoredEvent[];
  /** True where events are left out between the beginning of the range and the first one. */
  readonly limited: boolean;
  /** The position before the first event; where there is none, the end of the range. */
  readonly start: number;
  /** The events, as a JSON list. */
  readonly json: string;
}

export interface TimelineRoom {
  readonly roomNid: number;
  readonly roomId: string;
  /** Since when the user is joined without a break; undefined for one who is not. */
  readonly joinedAt: number | undefined;
}

/** Unless the client says otherwise. */
const DEFAULT_LIMIT = 20;
/** Pages of a timeline that are read in search of events that pass. */
const MOST_PAGES = 5;

/** How many events are told at most. */
export function timelineLimit({ limit = DEFAULT_LIMIT }: EventFilter): number {
  return limit;
}

/** The timeline after one position and up to another. */
export async function timelinePart(
  sync: SyncContext,
  { request, user }: { readonly request: SyncRequest; readonly user: SyncUser },
  room: TimelineRoom,
  range: Omit<Range, 'limit'>,
): Promise<TimelinePart> {
  const { timeline: filter, shape } = request.filter;
  const limit = timelineLimit(filter);
  const isPlain = filter.passesAll && shape === undefined && user.ignored.size === 0;
  if (isPlain && room.joinedAt !== undefined) {
    const part = await sync.timelines.part(room, { ...range, limit });
    // Who was joined all the time, and sees all: nothing is to be asked for each event.
    if (part?.isOpen === true && (part.events.length === 0 || room.joinedAt <= part.start + 1)) {
      return { ...part, json: (await bundledJson(sync, request, part)) ?? recentJson(sync, request, part) };
    }
  }
  return chosenPart(sync, { request, user }, room, { ...range, limit });
}

/**
 * With what relates to the events, "when the relevant section has a `limited` value of `true`": otherwise the client
 * has it, or gets it with them. Undefined where nothing does.
 */
async function bundledJson(
  { server }: SyncContext,
  { requester }: SyncRequest,
  part: RecentPart,
): Promise<string | undefined> {
  if (!part.limited) return undefined;
  const bundles = await bundlesOf(server, bundleReader(server, requester), part.events);
  if (bundles.size === 0) return undefined;
  const relations = await bundleTexts(server, requester, bundles);
  return listJson(await renderFor(server, requester, part.texts, { withRoomId: false, relations }));
}

/** The events of a recent part as the reader is shown them, who was joined at each. */
export function recentJson(
  { server }: SyncContext,
  { requester }: Pick<SyncRequest, 'requester'>,
  part: RecentPart,
): string {
  const now = server.clock.now();
  return isOfOthers(part, requester) ? part.json(now) : ownJson(part, requester, now);
}

/** `timeline` of a room with them. */
export function recentTimeline(
  { server }: SyncContext,
  { requester }: Pick<SyncRequest, 'requester'>,
  part: RecentPart,
): string {
  const now = server.clock.now();
  if (isOfOthers(part, requester)) return part.timeline(now);
  const { limited, start } = part;
  return timelineJson({ json: ownJson(part, requester, now), limited, start });
}

/** True where no event says more to the device that reads than to others. */
function isOfOthers({ events }: RecentPart, requester: SyncRequest['requester']): boolean {
  return !events.some((stored) => isMadeBy(stored, requester));
}

function ownJson({ texts }: RecentPart, device: SyncRequest['requester'], now: number): string {
  const shown = { now, membership: 'join', showsPrevContent: true, device };
  return listJson(texts.map((text) => eventText(text, shown)));
}

/** Looks through the range from its end, page by page, for what the user may and wants to see. */
async function chosenPart(
  sync: SyncContext,
  asked: { readonly request: SyncRequest; readonly user: SyncUser },
  room: TimelineRoom,
  range: Range,
): Promise<TimelinePart> {
  const { server } = sync;
  const { request } = asked;
  const { after, upto, limit } = range;
  if (!includesRoom(request.filter.timeline.rooms, room.roomId))
    return partOf([], { limited: false, start: upto, json: [] });
  if (limit === 0) return emptyPart(sync, room, range);
  const found = await search(sync, asked, room, range);
  const oldest = found.events.at(-1);
  const limited = found.isCut || found.from !== undefined || isCutOff(after, oldest);
  // A full page ends at its oldest event; another where the search did.
  const isFull = found.events.length === limit || found.from === undefined;
  const start = isFull && oldest !== undefined ? positionBefore(oldest) : (found.from ?? upto);
  const events = found.events.toReversed();
  const texts = await (limited ? bundledTextsFor : textsFor)(server, request.requester, events, {
    withRoomId: false,
  });
  return partOf(events, { limited, start, json: shapedTexts(request.filter.shape, events, texts) });
}

/** For a client that wants no events: whether there are some. */
async function emptyPart(
  { server }: SyncContext,
  { roomNid }: TimelineRoom,
  { after, upto }: Range,
): Promise<TimelinePart> {
  const { events } = await page(server, roomNid, { from: upto, to: after, direction: 'b', limit: 1 });
  return partOf([], { limited: events.length > 0, start: upto, json: [] });
}

interface Found {
  /** Newest first. */
  readonly events: readonly StoredEvent[];
  /** True where there are more. */
  readonly isCut: boolean;
  /** Where the search ended before the range did. */
  readonly from: number | undefined;
}

async function search(
  { server }: SyncContext,
  { request, user }: { readonly request: SyncRequest; readonly user: SyncUser },
  { roomNid }: TimelineRoom,
  { after, upto, limit }: Range,
): Promise<Found> {
  const events: StoredEvent[] = [];
  let from: number | undefined = upto;
  for (let pages = 0; from !== undefined && pages < MOST_PAGES && events.length < limit; pages++) {
    // Where a page begins depends on the page before it.
    const read: Awaited<ReturnType<typeof page>> = await page(server, roomNid, {
      ...{ from, to: after, direction: 'b', limit },
    });
    const visible = await visibleTo(server, roomNid, { userId: user.userId }, read.events);
    const gapped = await afterGaps(server, read.events);
    for (const [index, stored] of read.events.entries()) {
      const { event } = stored;
      const isWanted = event.stateKey !== undefined || !user.ignored.has(event.sender);
      if (visible[index] === true && isWanted && passes(request.filter.timeline, event)) {
        if (events.length === limit) return { events, isCut: true, from };
        events.push(stored);
      }
      // Clients show what is in one timeline as one line: what came before a gap of the graph is not in it.
      if (gapped.has(stored.nid)) return { events, isCut: true, from: positionBefore(stored) };
    }
    from = read.end;
  }
  return { events, isCut: false, from };
}

function partOf(
  events: readonly StoredEvent[],
  { json, ...where }: { readonly limited: boolean; readonly start: number; readonly json: readonly string[] },
): TimelinePart {
  return { events, ...where, json: listJson(json) };
}
