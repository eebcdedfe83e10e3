/**
 * The event nearest to a time: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidtimestamp_to_event
 *
 * Events stand in the order in which the server came to know them, which is nearly that of their times. So the
 * place where the time is passed is searched for by halves, and of the events around it the nearest is taken: in a
 * room of up to 10,000 events that is the nearest of all.
 */
import * as eventEdges from '#storage/event-edges.ts';
import * as eventTimes from '#storage/event-times.ts';
import type { RoomsContext } from './context.ts';
import { loadNids } from './load.ts';
import type { StoredEvent } from './stored-event.ts';
import { type Viewer, visibleTo } from './visibility.ts';

export interface TimeQuery {
  readonly viewer: Viewer;
  /** In milliseconds since 1970. */
  readonly ts: number;
  /** `f`: the first event at that time or later; `b`: the last one at that time or earlier. */
  readonly direction: 'f' | 'b';
}

/** Of the events looked at, half on each side. */
const AROUND = 5_000;
/** Events of which it is asked at once whether the viewer may see them, and how often. */
const JUDGED_AT_ONCE = 50;
const MOST_JUDGED = 500;
/** Events after the time among which a gap is looked for. */
const NEAR_GAP = 10;

/** The nearest event that the viewer may see; undefined where there is none. */
export async function eventAtTime(
  ctx: RoomsContext,
  roomNid: number,
  { viewer, ts, direction }: TimeQuery,
): Promise<StoredEvent | undefined> {
  const at = await placeOf(ctx, roomNid, ts);
  const older = await eventTimes.before(ctx.db, roomNid, at, AROUND);
  const newer = await eventTimes.from(ctx.db, roomNid, at, AROUND);
  const near = nearestFirst([...older, ...newer], ts, direction).slice(0, MOST_JUDGED);
  for (let start = 0; start < near.length; start += JUDGED_AT_ONCE) {
    const some = near.slice(start, start + JUDGED_AT_ONCE);
    // A few at a time: mostly the first is visible.
    const loaded = await loadNids(
      ctx,
      some.map(({ nid }) => nid),
    );
    const events = some.map(({ nid }) => loaded.get(nid)).filter((event) => event !== undefined);
    const visible = await visibleTo(ctx, roomNid, viewer, events);
    const found = events.find((_, index) => visible[index]);
    if (found !== undefined) return found;
  }
  return undefined;
}

/**
 * An event near the time, or the first one after it, that follows events which the server does not have: one of those
 * may be nearer to the time than any that is here. Undefined where there is no such gap.
 */
export async function gapAt(
  ctx: RoomsContext,
  roomNid: number,
  ts: number,
): Promise<StoredEvent | undefined> {
  const newer = await eventTimes.from(ctx.db, roomNid, await placeOf(ctx, roomNid, ts), NEAR_GAP);
  const loaded = await loadNids(
    ctx,
    newer.map(({ nid }) => nid),
  );
  for (const { nid } of newer) {
    const stored = loaded.get(nid);
    for (const eventId of stored?.event.prevEvents ?? []) {
      // One after the other: nearly all events have one, and mostly the first tells.
      if (await eventEdges.isBackwardExtremity(ctx.db, roomNid, eventId)) return stored;
    }
  }
  return undefined;
}

/** Those on the wanted side of the time. Of the same time, in the order of the timeline seen from there. */
export function nearestFirst(
  times: readonly eventTimes.EventTime[],
  ts: number,
  direction: 'f' | 'b',
): eventTimes.EventTime[] {
  const sign = direction === 'f' ? 1 : -1;
  return times
    .filter((time) => (time.ts - ts) * sign >= 0)
    .sort((a, b) => sign * (a.ts - b.ts || a.position - b.position));
}

/** A position in the room before which events are older than the time, and after which they are newer, roughly. */
async function placeOf(ctx: RoomsContext, roomNid: number, ts: number): Promise<number> {
  const [first] = await eventTimes.from(ctx.db, roomNid, Number.MIN_SAFE_INTEGER, 1);
  const [last] = await eventTimes.before(ctx.db, roomNid, Number.MAX_SAFE_INTEGER, 1);
  if (first === undefined || last === undefined) return 0;
  let [low, high] = [first.position, last.position + 1];
  // At most 53 times: a position is a safe integer.
  while (low < high) {
    const middle = low + Math.floor((high - low) / 2);
    const [event] = await eventTimes.from(ctx.db, roomNid, middle, 1);
    if (event === undefined || event.ts >= ts) high = middle;
    else low = event.position + 1;
  }
  return low;
}
