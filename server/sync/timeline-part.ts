/** The timeline of one room in one answer: the newest events of a range that the user may and wants to see. */

import { bundlesOf } from '#rooms/bundled-relations.ts';
import type { StoredEvent } from '#rooms/stored-event.ts';
import { page, positionBefore } from '#rooms/timeline.ts';
import { visibleTo } from '#rooms/visibility.ts';
import { bundledTextsFor, bundleReader, bundleTexts } from '../bundles.ts';
import type { SyncContext, SyncRequest } from './context.ts';
import { includesRoom, passes } from './filter.ts';
import { eventText, isMadeBy, renderFor, textsFor } from './format.ts';
import { isCutOff, type Range, type RecentPart, timelineJson } from './recent-timelines.ts';
import type { SyncUser } from './sync-users.ts';

export interface TimelinePart {
  /** Oldest first. */
  readonly events: readonly StoredEvent[];
  /** True where events are left out between the beginning of the range and the first one. */
  readonly limited: boolean;
  /** The position before the first event; where there is none, the end of the range. */
  readonly start: number;
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

/** The timeline after one position and up to another. */
export async function timelinePart(
  sync: SyncContext,
  { request, user }: { readonly request: SyncRequest; readonly user: SyncUser },
  room: TimelineRoom,
  range: Omit<Range, 'limit'>,
): Promise<TimelinePart> {
  const { timeline: filter } = request.filter;
  const limit = filter.limit ?? DEFAULT_LIMIT;
  if (filter.passesAll && user.ignored.size === 0 && room.joinedAt !== undefined) {
    const part = await sync.timelines.part(room.roomNid, { ...range, limit });
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
  return timelineJson(await renderFor(server, requester, part.texts, { withRoomId: false, relations }), part);
}

function recentJson({ server }: SyncContext, { requester }: SyncRequest, part: RecentPart): string {
  const now = server.clock.now();
  if (!part.events.some((stored) => isMadeBy(stored, requester))) return part.json(now);
  const shown = { now, membership: 'join', showsPrevContent: true, device: requester };
  return timelineJson(
    part.texts.map((text) => eventText(text, shown)),
    part,
  );
}

/** Looks through the range from its end, page by page, for what the user may and wants to see. */
async function chosenPart(
  { server }: SyncContext,
  { request, user }: { readonly request: SyncRequest; readonly user: SyncUser },
  { roomNid, roomId }: TimelineRoom,
  { after, upto, limit }: Range,
): Promise<TimelinePart> {
  const { timeline: filter } = request.filter;
  if (!includesRoom(filter.rooms, roomId)) return partOf([], { limited: false, start: upto, json: [] });
  const chosen: StoredEvent[] = [];
  let from: number | undefined = upto;
  let limited = false;
  for (let pages = 0; from !== undefined && pages < MOST_PAGES && chosen.length < limit; pages++) {
    // Where a page begins depends on the page before it.
    const read: Awaited<ReturnType<typeof page>> = await page(server, roomNid, {
      ...{ from, to: after, direction: 'b', limit },
    });
    const visible = await visibleTo(server, roomNid, { userId: user.userId }, read.events);
    for (const [index, stored] of read.events.entries()) {
      const { event } = stored;
      const isWanted = event.stateKey !== undefined || !user.ignored.has(event.sender);
      if (visible[index] !== true || !isWanted || !passes(filter, event)) continue;
      if (chosen.length < limit) chosen.push(stored);
      else limited = true;
    }
    from = read.end;
  }
  const oldest = chosen.at(-1);
  limited ||= from !== undefined || isCutOff(after, oldest);
  // A full page ends at its oldest event; another where the search did.
  const isFull = chosen.length === limit || from === undefined;
  const start = isFull && oldest !== undefined ? positionBefore(oldest) : (from ?? upto);
  const events = chosen.reverse();
  const json = await (limited ? bundledTextsFor : textsFor)(server, request.requester, events, {
    withRoomId: false,
  });
  return partOf(events, { limited, start, json });
}

function partOf(
  events: readonly StoredEvent[],
  { json, ...where }: { readonly limited: boolean; readonly start: number; readonly json: readonly string[] },
): TimelinePart {
  return { events, ...where, json: timelineJson(json, where) };
}
