import type { EventId, UserId } from '#keys/ids.ts';
import * as currentStateTable from '#storage/current-state.ts';
import * as events from '#storage/events.ts';
import { load, type StateGroup } from '#storage/state-groups.ts';
import { keysOf, type StateKey } from '#storage/state-keys.ts';
import type { RoomsContext } from './context.ts';
import { stateMapKey } from './event.ts';
import { loadNids } from './load.ts';
import { headOf, headState, stateOfGroup } from './room-head.ts';
import type { StoredEvent } from './stored-event.ts';

/** The event under one key of the room's current state. */
export async function currentStateEvent(
  ctx: RoomsContext,
  roomNid: number,
  type: string,
  stateKey: string,
): Promise<StoredEvent | undefined> {
  const head = await headOf(ctx, roomNid);
  return (await headState(ctx, head, [{ type, stateKey }])).get(stateMapKey(type, stateKey));
}

/** The events under some keys of the room's current state; those that it lacks are left out. */
export async function currentStateEvents(
  ctx: RoomsContext,
  roomNid: number,
  keys: readonly StateKey[],
): Promise<StoredEvent[]> {
  const found = await headState(ctx, await headOf(ctx, roomNid), keys);
  return [...found.values()];
}

/** The room's whole current state, by type and state key. */
export async function currentState(ctx: RoomsContext, roomNid: number): Promise<StoredEvent[]> {
  return inOrder(ctx, await currentStateTable.all(ctx.db, roomNid));
}

/** All of the room's current state that has one type, by state key. */
export async function currentStateOfType(
  ctx: RoomsContext,
  roomNid: number,
  type: string,
): Promise<StoredEvent[]> {
  return inOrder(ctx, await currentStateTable.ofType(ctx.db, roomNid, type));
}

/**
 * The state before or after an event: all of it, or what there is under some keys. Empty for an event without a
 * place in the graph, which is `isPlaced`.
 */
export async function stateAt(
  ctx: RoomsContext,
  stored: StoredEvent,
  when: 'before' | 'after',
  keys?: readonly StateKey[],
): Promise<StoredEvent[]> {
  const group = groupAt(stored, when);
  if (group === undefined) return [];
  if (keys !== undefined) return [...(await stateOfGroup(ctx, group, keys)).values()];
  const state = await load(ctx.db, group);
  return [...(await loadNids(ctx, state.values())).values()];
}

/** The state before or after an event without its member events, but for those of some users. */
export async function stateWithoutMembersAt(
  ctx: RoomsContext,
  stored: StoredEvent,
  when: 'before' | 'after',
  kept: readonly UserId[],
): Promise<StoredEvent[]> {
  const group = groupAt(stored, when);
  if (group === undefined) return [];
  const state = await load(ctx.db, group);
  const keys = await keysOf(ctx.db, state.keys());
  const named = new Set<string>(kept);
  // Left out before they are read: of a large room they are nearly all of it.
  const nids = [...state].filter(([key]) => {
    const { type, stateKey } = keys.get(key) ?? { type: '', stateKey: '' };
    return type !== 'm.room.member' || named.has(stateKey);
  });
  const events = await loadNids(
    ctx,
    nids.map(([, nid]) => nid),
  );
  return [...events.values()];
}

/** The ids of the events in the state before or after an event. */
export async function stateIdsAt(
  ctx: RoomsContext,
  stored: StoredEvent,
  when: 'before' | 'after',
): Promise<EventId[]> {
  const group = groupAt(stored, when);
  if (group === undefined) return [];
  const state = await load(ctx.db, group);
  return [...(await events.idsOf(ctx.db, state.values())).values()];
}

function groupAt(stored: StoredEvent, when: 'before' | 'after'): StateGroup | undefined {
  return when === 'before' ? stored.stateBefore : stored.stateAfter;
}

async function inOrder(ctx: RoomsContext, rows: readonly { eventNid: number }[]): Promise<StoredEvent[]> {
  const stored = await loadNids(
    ctx,
    rows.map((row) => row.eventNid),
  );
  return rows.map((row) => stored.get(row.eventNid)).filter((event) => event !== undefined);
}
