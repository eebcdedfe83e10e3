/** The events that relate to one, in pages: https://spec.matrix.org/v1.19/client-server-api/#relationships-api */

import type { UserId } from '#keys/ids.ts';
import * as relations from '#storage/relations.ts';
import type { RoomsContext } from '../context.ts';
import type { StoredEvent } from '../stored-event.ts';
import { endAfter, type PageRange, pageOf } from '../timeline.ts';
import { visibleTo } from '../visibility.ts';

/** "Homeservers SHOULD traverse at least 3 levels of relationships." */
export const RECURSION_DEPTH = 3;
/** Pages that are read in search of events that are asked for. */
const MOST_PAGES = 5;
const FEWEST_READ = 50;

/** Which children of an event are asked for, and by whom. */
export interface RelatedTo extends relations.ChildrenOf {
  readonly eventType: string | undefined;
  /** With the children of children, three generations together. */
  readonly recurse: boolean;
  readonly userId: UserId;
  readonly ignored: ReadonlySet<string>;
}

/**
 * The next children of an event from a position on, those that the user may see and that nobody has sent whom they
 * ignore. May be empty although more follow: then `end` says where.
 */
export async function relatedPage(
  ctx: RoomsContext,
  of: RelatedTo,
  range: PageRange,
): Promise<{ events: StoredEvent[]; end: number | undefined }> {
  const { limit, direction } = range;
  const chosen: StoredEvent[] = [];
  let from: number | undefined = range.from;
  for (let pages = 0; from !== undefined && chosen.length < limit && pages < MOST_PAGES; pages++) {
    const part = { ...range, from, limit: Math.max(limit, FEWEST_READ) };
    // Where a page begins depends on the page before it.
    const read: Awaited<ReturnType<typeof pageOf>> = await pageOf(ctx, part, (between) =>
      of.recurse
        ? relations.descendants(ctx.db, of, RECURSION_DEPTH, between)
        : relations.children(ctx.db, of, between),
    );
    const wanted = await wantedOf(ctx, of, read.events);
    from = read.end;
    const left = limit - chosen.length;
    chosen.push(...wanted.slice(0, left));
    const last = chosen.at(-1);
    if (wanted.length > left && last !== undefined) from = endAfter(last, direction);
  }
  return { events: chosen, end: from };
}

async function wantedOf(
  ctx: RoomsContext,
  { roomNid, eventType, userId, ignored }: RelatedTo,
  events: readonly StoredEvent[],
): Promise<StoredEvent[]> {
  const visible = await visibleTo(ctx, roomNid, { userId }, events);
  return events.filter(
    ({ event }, index) =>
      visible[index] === true &&
      (eventType === undefined || event.type === eventType) &&
      (event.stateKey !== undefined || !ignored.has(event.sender)),
  );
}
