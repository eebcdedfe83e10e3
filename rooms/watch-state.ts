/**
 * Notices when the current state of a room moves backwards: a "state reset". It comes of states that are told wrongly
 * and of weaknesses of state resolution (MSC4297 shows some); nobody who reads the room sees why.
 *
 * - Power levels have moved back where those that count now stand in the line of those that counted before, or where
 *   there are none.
 * - A membership has moved back where that which counts now stands in the line of the one before, although the state
 *   would still allow the newer one. Where it does not, somebody took back the power for it at the same time, which is
 *   what state resolution is for; unless it is the power levels that have moved back.
 */

import type { EventId } from '#keys/ids.ts';
import { difference, type StateGroup } from '#storage/state-groups.ts';
import { keysOf, type StateKey } from '#storage/state-keys.ts';
import { checkStateDependent } from './auth/check.ts';
import { authStateIn } from './auth-state.ts';
import type { RoomsContext, RoomsReader } from './context.ts';
import type { Event } from './event.ts';
import { loadEvents, loadNids } from './load.ts';
import { groupRef } from './resolve-state.ts';
import type { Room } from './room.ts';
import { portionsOf, Slices } from './slices.ts';

/** How far to look back for what was there before, and at how many memberships: an alarm need not name them all. */
const LONGEST_LINE = 100;
const MOST_MEMBERS = 100;

interface Moved {
  readonly key: StateKey;
  readonly before: Event;
  readonly after: Event | undefined;
}

/** Raises an alarm for each power level and membership that has moved back between two states of a room. */
export async function watchState(
  ctx: RoomsContext,
  room: Room,
  { from, to }: { readonly from: StateGroup; readonly to: StateGroup },
): Promise<void> {
  if (from === 0 || from === to) return;
  const moved = await movedBetween(ctx, from, to);
  const powerLevels = moved.find(({ key }) => key.type === 'm.room.power_levels' && key.stateKey === '');
  const lost = powerLevels !== undefined && (await movedBack(ctx, powerLevels));
  if (lost) raise(ctx, room, powerLevels);
  const members = moved.filter(({ key }) => key.type === 'm.room.member').slice(0, MOST_MEMBERS);
  for (const member of members) {
    // One after the other: each is a walk of its own, and mostly a short one.
    if (member.after === undefined || !(await movedBack(ctx, member))) continue;
    if (lost || (await isStillAllowed(ctx, to, member.before))) raise(ctx, room, member);
  }
}

/** The power levels and memberships that differ, and whose event now was stored before the one that it replaces. */
async function movedBetween(ctx: RoomsContext, from: StateGroup, to: StateGroup): Promise<Moved[]> {
  const slices = new Slices();
  const moved: Moved[] = [];
  const differences = await difference(ctx.db, from, to, slices.rest);
  // What authorises an event is stored before it.
  const older = differences.filter(({ a = 0, b = 0 }) => b < a);
  for (const portion of portionsOf(older)) {
    const keys = await keysOf(
      ctx.db,
      portion.map(({ key }) => key),
    );
    const ofInterest = portion.filter(({ key }) => isOfInterest(keys.get(key)));
    const events = await loadNids(
      ctx,
      ofInterest.flatMap(({ a, b }) => [a, b]).filter((nid) => nid !== undefined),
    );
    for (const { key: keyNid, a = 0, b = 0 } of ofInterest) {
      const [key, before] = [keys.get(keyNid), events.get(a)?.event];
      if (key !== undefined && before !== undefined) moved.push({ key, before, after: events.get(b)?.event });
    }
    await slices.rest();
  }
  return moved;
}

function isOfInterest(key: StateKey | undefined): boolean {
  return key?.type === 'm.room.member' || (key?.type === 'm.room.power_levels' && key.stateKey === '');
}

/** True where the event now stands in the line of the one before, or there is none. */
async function movedBack(ctx: RoomsContext, { before, after }: Moved): Promise<boolean> {
  return after === undefined || standsUpon(ctx, before, after);
}

/** True where an event is built upon another under the same key, by what it and those before it name as such. */
export async function standsUpon(ctx: RoomsReader, event: Event, other: Event): Promise<boolean> {
  let at: Event | undefined = event;
  for (let steps = 0; at !== undefined && steps < LONGEST_LINE; steps++) {
    // One after the other: each event tells what was there before it.
    at = await sameKeyBefore(ctx, at);
    if (at?.eventId === other.eventId) return true;
  }
  return false;
}

/** The event under the same key that an event names in its `auth_events`. */
async function sameKeyBefore(ctx: RoomsReader, event: Event): Promise<Event | undefined> {
  const authEvents = await loadEvents(ctx, event.authEvents);
  return authEvents
    .values()
    .map((stored) => stored.event)
    .find(({ type, stateKey }) => type === event.type && stateKey === event.stateKey);
}

async function isStillAllowed(ctx: RoomsContext, group: StateGroup, event: Event): Promise<boolean> {
  return checkStateDependent(event, await authStateIn(ctx, groupRef(group), event)) === undefined;
}

function raise(ctx: RoomsContext, room: Room, { key, before, after }: Moved): void {
  const to: EventId | undefined = after?.eventId;
  const algorithm = room.rules.stateResolution;
  ctx.rooms.alarms.raiseStateMovedBack(ctx, {
    roomId: room.roomId,
    ...key,
    from: before.eventId,
    to,
    algorithm,
  });
}
