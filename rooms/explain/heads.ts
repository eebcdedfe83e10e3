import type { EventId } from '#keys/ids.ts';
import * as timeline from '#storage/timeline.ts';
import type { RoomsReader } from '../context.ts';
import { loadEvents, loadNids } from '../load.ts';
import { isAccepted, type StoredEvent } from '../stored-event.ts';

/** How far to look back: what is newest is rarely older. */
const LONGEST_LOOK = 2_000;
const AT_ONCE = 500;

/**
 * The events that were the newest of a room (its forward extremities) when its events went up to a position: those
 * that none of them followed, directly or over events that were not accepted.
 */
export async function headsAt(ctx: RoomsReader, roomNid: number, position: number): Promise<StoredEvent[]> {
  const followed = new Set<EventId>();
  const heads: StoredEvent[] = [];
  let upto = position;
  for (let looked = 0; looked < LONGEST_LOOK; looked += AT_ONCE) {
    // Page by page, from the newest on: what follows an event comes after it.
    const nids = await timeline.eventNids(ctx.db, roomNid, {
      after: 0,
      upto,
      direction: 'b',
      limit: AT_ONCE,
    });
    const page = await loadNids(ctx, nids);
    for (const nid of nids) {
      const stored = page.get(nid);
      if (stored?.position === undefined) continue;
      upto = stored.position - 1;
      if (!followed.has(stored.event.eventId)) heads.push(stored);
      await follow(ctx, stored.event.prevEvents, followed);
    }
    if (nids.length < AT_ONCE) break;
  }
  return heads;
}

/** Notes what is followed, and what lies behind that of it which was not accepted. */
async function follow(
  ctx: RoomsReader,
  prevEvents: readonly EventId[],
  followed: Set<EventId>,
): Promise<void> {
  let level = prevEvents.filter((eventId) => !followed.has(eventId));
  for (const eventId of level) followed.add(eventId);
  while (level.length > 0 && followed.size < 2 * LONGEST_LOOK) {
    const unaccepted = [...(await loadEvents(ctx, level)).values()].filter((stored) => !isAccepted(stored));
    level = unaccepted.flatMap(({ event }) => event.prevEvents).filter((eventId) => !followed.has(eventId));
    for (const eventId of level) followed.add(eventId);
  }
}
