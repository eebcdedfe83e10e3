/**
 * Events that are only parts of some state or auth chain, many of them stored in one write: a state that is told
 * across a gap may have thousands. As in `receive-run.ts`, what is simple is taken: the event is new, all that
 * authorises it is known and allows it, and nobody has waited for it. The others are for `receive.ts`.
 */

import type { EventId } from '#keys/ids.ts';
import * as events from '#storage/events.ts';
import * as provisionalRejections from '#storage/provisional-rejections.ts';
import type { RoomsContext } from './context.ts';
import type { Event } from './event.ts';
import { loadEvents } from './load.ts';
import { newOutlier } from './persist.ts';
import { pastlessBecause } from './placeless.ts';
import type { Room } from './room.ts';
import { portionsOf, Slices } from './slices.ts';
import { judge, neededBy } from './told/judge-told.ts';
import type { VerifiedEvent } from './verified-event.ts';

/** Stores those of the events that are simple, which come after what authorises them; answers which these are. */
export async function receiveOutliers(
  ctx: RoomsContext,
  room: Room,
  incoming: readonly VerifiedEvent[],
): Promise<ReadonlySet<EventId>> {
  const taken = new Set<EventId>();
  for (const portion of portionsOf(incoming)) {
    // Portion by portion: others want to write into the room too.
    await ctx.roomLocks.run(room.roomId, async () => {
      for (const eventId of await storeSimple(ctx, room, portion)) taken.add(eventId);
    });
  }
  return taken;
}

async function storeSimple(
  ctx: RoomsContext,
  room: Room,
  incoming: readonly VerifiedEvent[],
): Promise<EventId[]> {
  const eventIds = incoming.map(({ eventId }) => eventId);
  const cited = incoming.flatMap((event) => [event.eventId, ...neededBy(event)]);
  const [stored, ...awaited] = await Promise.all([
    loadEvents(ctx, new Set(cited)),
    events.pendingRedactionsAmong(ctx.db, eventIds),
    provisionalRejections.waitedForAmong(ctx.db, eventIds),
  ]);
  const skipped = new Set([...stored.keys(), ...awaited.flat()]);
  const known = new Map<EventId, Event | 'rejected'>();
  for (const [eventId, { status, event }] of stored)
    known.set(eventId, status === 'rejected' ? 'rejected' : event);
  const simple = new Map<EventId, VerifiedEvent>();
  const slices = new Slices();
  for (const event of incoming) {
    if (skipped.has(event.eventId) || !isSimple(room, event, known)) continue;
    simple.set(event.eventId, event);
    known.set(event.eventId, event);
    await slices.rest();
  }
  if (simple.size === 0) return [];
  const rows = [...simple.values()].map((event) => newOutlier(ctx, room, event));
  const inserted = await ctx.db.write('rooms.storeOutliers', (tx) => events.insertOutliers(tx, rows));
  return [...inserted.keys()];
}

/** True where check 4 can be made, and lets the event pass. */
function isSimple(room: Room, event: Event, known: ReadonlyMap<EventId, Event | 'rejected'>): boolean {
  if (event.roomId !== room.roomId || event.type === 'm.room.create') return false;
  if (![...neededBy(event)].every((eventId) => known.has(eventId))) return false;
  return judge(event, known) === undefined && pastlessBecause(event) === undefined;
}
