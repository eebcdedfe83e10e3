/** Events from memory or from the database, in bulk; however many they are, others get their turn in between. */

import type { EventId } from '#keys/ids.ts';
import * as events from '#storage/events.ts';
import type { RoomsReader } from './context.ts';
import { getRoomByNid } from './room.ts';
import { portionsOf, Slices } from './slices.ts';
import { type StoredEvent, storedEventFrom } from './stored-event.ts';

/** The event of an id, whatever its status; undefined where it is not stored. */
export async function loadEvent(ctx: RoomsReader, eventId: EventId): Promise<StoredEvent | undefined> {
  return ctx.rooms.eventById(eventId) ?? (await loadEvents(ctx, [eventId])).get(eventId);
}

/** The events of many ids, whatever their status; those that are not stored are absent. */
export async function loadEvents(
  ctx: RoomsReader,
  eventIds: Iterable<EventId>,
): Promise<Map<EventId, StoredEvent>> {
  const found = new Map<EventId, StoredEvent>();
  const slices = new Slices();
  for (const portion of portionsOf(eventIds)) {
    const missing = new Set<EventId>();
    for (const eventId of portion) {
      const stored = ctx.rooms.eventById(eventId);
      if (stored !== undefined) found.set(eventId, stored);
      else if (!found.has(eventId)) missing.add(eventId);
    }
    if (missing.size > 0) {
      const { changes } = ctx.rooms;
      const rows = await events.byIds(ctx.db, missing);
      for (const stored of await decode(ctx, rows, changes)) found.set(stored.event.eventId, stored);
    }
    await slices.rest();
  }
  return found;
}

/** The event of a numeric id. */
export async function loadNid(ctx: RoomsReader, nid: number): Promise<StoredEvent | undefined> {
  return ctx.rooms.event(nid) ?? (await loadNids(ctx, [nid])).get(nid);
}

/** The events of many numeric ids, by numeric id. */
export async function loadNids(ctx: RoomsReader, nids: Iterable<number>): Promise<Map<number, StoredEvent>> {
  const found = new Map<number, StoredEvent>();
  const slices = new Slices();
  for (const portion of portionsOf(nids)) {
    const missing = new Set<number>();
    for (const nid of portion) {
      const stored = ctx.rooms.event(nid);
      if (stored !== undefined) found.set(nid, stored);
      else if (!found.has(nid)) missing.add(nid);
    }
    if (missing.size > 0) {
      const { changes } = ctx.rooms;
      const rows = await events.byNids(ctx.db, missing);
      for (const stored of await decode(ctx, rows, changes)) found.set(stored.nid, stored);
    }
    await slices.rest();
  }
  return found;
}

/**
 * Decodes rows that a query of another table module has read, so that they come from memory where they can.
 * `changes` is `ctx.rooms.changes` from before the query.
 */
export async function decode(
  ctx: RoomsReader,
  rows: readonly events.EventRow[],
  changes: number,
): Promise<StoredEvent[]> {
  const decoded: StoredEvent[] = [];
  for (const row of rows) {
    // From memory but for the first event of a room.
    const room = await getRoomByNid(ctx, row.room_nid);
    if (room === undefined) throw new Error(`event ${row.event_nid} is of a room that is not known`);
    const stored = ctx.rooms.event(row.event_nid) ?? storedEventFrom(row, room.rules);
    decoded.push(stored);
    if (ctx.rooms.changes === changes) ctx.rooms.keepEvent(stored);
  }
  return decoded;
}
