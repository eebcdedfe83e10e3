/** Writes what another server told of a room's state, in portions: events as outliers, and where wished the tables. */

import type { EventId } from '#keys/ids.ts';
import * as currentState from '#storage/current-state.ts';
import type { Tx } from '#storage/database.ts';
import * as events from '#storage/events.ts';
import * as memberships from '#storage/memberships.ts';
import { nidsOfEvents } from '#storage/state-keys.ts';
import type { RoomsContext } from '../context.ts';
import type { Event } from '../event.ts';
import { newOutlier } from '../persist.ts';
import { membershipRowOf } from '../persist-state.ts';
import { restore } from '../provisional.ts';
import type { Room } from '../room.ts';
import { portions } from './judge-told.ts';
import type { ToldState } from './told-state.ts';

/** The numbers of the events of a state, by the numbers of their keys; -1 where there is none. */
export type StateNumbers = Int32Array;

export interface StoredTold {
  /** The state: numeric ids of state keys and events. */
  readonly state: ReadonlyMap<number, number>;
  /** Memberships of our own users, which are not written: only with the room itself are they to be seen. */
  readonly ourMembers: readonly memberships.NewMembership[];
}

/**
 * How many events to write before other writes, and requests, get a turn: some 8 ms of work. Each transaction writes a
 * page of an index for nearly each of its events, as their ids are random; the more they are, the more pages they
 * share, and the more is in memory at once.
 */
const EVENTS_AT_ONCE = 250;

/** Writes events by their numbers. With the current state only for a room that has none yet. */
export async function storeTold(
  ctx: RoomsContext,
  room: Room,
  of: {
    readonly told: ToldState;
    readonly accepted: Iterable<number>;
    readonly state: StateNumbers;
    readonly withCurrentState: boolean;
  },
): Promise<StoredTold> {
  const inState = new Uint8Array(of.told.size);
  for (const number of of.state) if (number !== -1) inState[number] = 1;
  const state = new Map<number, number>();
  const ourMembers: memberships.NewMembership[] = [];
  for (const numbers of portions(of.accepted, EVENTS_AT_ONCE)) {
    // Portion by portion: each is a write of its own.
    const told = of.told.read(numbers);
    const stateEvents = told.filter(
      ({ stateKey }, index) => stateKey !== undefined && inState[numbers[index] ?? -1] === 1,
    );
    const written = await ctx.db.write('rooms.storeTold', async (tx) => {
      const nids = await storeOutliers(ctx, tx, room, told);
      const entries = await stateEntries(tx, stateEvents, nids.stored);
      const members = Map.groupBy(
        membersOf(room, entries),
        ({ serverName }) => serverName === ctx.serverName,
      );
      if (of.withCurrentState) await writeEntries(ctx, tx, { entries, members: members.get(false) ?? [] });
      return { entries, ourMembers: members.get(true) ?? [], restored: nids.restored };
    });
    for (const { keyNid, nid } of written.entries) state.set(keyNid, nid);
    ourMembers.push(...written.ourMembers);
    for (const nid of written.restored) ctx.rooms.dropEvent(nid);
  }
  return { state, ourMembers };
}

/** Numeric ids of all of the events that are stored as events of this room, and which of them were restored. */
async function storeOutliers(
  ctx: RoomsContext,
  tx: Tx,
  room: Room,
  told: readonly Event[],
): Promise<{ readonly stored: ReadonlyMap<EventId, number>; readonly restored: readonly number[] }> {
  const ids = told.map(({ eventId }) => eventId);
  const known = await events.nidsOf(tx, ids);
  const rows = told.filter(({ eventId }) => !known.has(eventId)).map((event) => newOutlier(ctx, room, event));
  const stored = await events.insertOutliers(tx, rows);
  if (known.size === 0) return { stored, restored: [] };
  const restored: number[] = [];
  for (const row of await events.byNids(tx, known.values())) {
    // An id of the first versions may be that of an event of another room.
    if (row.room_nid !== room.roomNid) continue;
    stored.set(row.event_id, row.event_nid);
    if (row.status === 'rejected') restored.push(row.event_nid);
  }
  // What we had rejected by the state that we knew in an earlier stay counts again: it is in the state told now.
  if (restored.length > 0) await restore(tx, restored);
  return { stored, restored };
}

interface Entry {
  readonly event: Event;
  readonly keyNid: number;
  readonly nid: number;
}

async function stateEntries(
  tx: Tx,
  stateEvents: readonly Event[],
  stored: ReadonlyMap<EventId, number>,
): Promise<Entry[]> {
  const nids = stateEvents.map(({ eventId }) => stored.get(eventId));
  const keyNids = await nidsOfEvents(
    tx,
    nids.filter((nid) => nid !== undefined),
  );
  return stateEvents.flatMap((event, index) => {
    const nid = nids[index];
    const keyNid = nid === undefined ? undefined : keyNids.get(nid);
    return keyNid === undefined || nid === undefined ? [] : [{ event, keyNid, nid }];
  });
}

/** The current state, and the memberships of the users of other servers that follow from it. */
async function writeEntries(
  ctx: RoomsContext,
  tx: Tx,
  of: { readonly entries: readonly Entry[]; readonly members: readonly memberships.NewMembership[] },
): Promise<void> {
  const position = ctx.streams.allocate(tx, []);
  await currentState.setToEvents(
    tx,
    of.entries.map(({ nid }) => nid),
  );
  await memberships.setAll(tx, of.members, position);
}

/** Without their position, which they get as they are written. */
function membersOf(room: Room, entries: readonly Entry[]): memberships.NewMembership[] {
  return entries
    .filter(({ event }) => event.type === 'm.room.member')
    .map(({ event, nid }) => membershipRowOf(room.roomNid, { event, eventNid: nid, position: 0 }))
    .filter((row) => row !== undefined);
}
