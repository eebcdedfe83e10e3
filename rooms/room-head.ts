import * as eventEdges from '#storage/event-edges.ts';
import * as rooms from '#storage/rooms.ts';
import { type StateGroup, get as stateGet } from '#storage/state-groups.ts';
import { findNids, type StateKey } from '#storage/state-keys.ts';
import type { RoomsContext } from './context.ts';
import { stateMapKey } from './event.ts';
import { loadNids } from './load.ts';
import type { ForwardExtremity, RoomHead } from './room-cache.ts';
import type { StoredEvent } from './stored-event.ts';

/** Where the room's graph and current state stand: from memory, or read. Throws for a room without a row. */
export async function headOf(ctx: RoomsContext, roomNid: number): Promise<RoomHead> {
  const known = ctx.rooms.head(roomNid);
  if (known !== undefined) return known;
  const { changes } = ctx.rooms;
  const row = await rooms.byNid(ctx.db, roomNid);
  if (row === undefined) throw new Error(`room ${roomNid} has no row`);
  const nids = await eventEdges.forwardExtremities(ctx.db, roomNid);
  const events = await loadNids(ctx, nids);
  const head: RoomHead = {
    rowVersion: row.rowVersion,
    stateGroup: row.stateGroup,
    forwardExtremities: nids.map((nid) => extremityOf(events.get(nid), nid)),
    state: new Map(),
  };
  if (ctx.rooms.changes === changes) ctx.rooms.keepHead(roomNid, head);
  return head;
}

/**
 * Some keys of a head's state, by `stateMapKey`; keys that the state lacks are undefined in the answer. What
 * was asked for once is in memory from then on.
 */
export async function headState(
  ctx: RoomsContext,
  head: RoomHead,
  keys: readonly StateKey[],
): Promise<ReadonlyMap<string, StoredEvent | undefined>> {
  const found = new Map<string, StoredEvent | undefined>();
  const missing: StateKey[] = [];
  for (const key of keys) {
    const text = stateMapKey(key.type, key.stateKey);
    if (head.state.has(text)) found.set(text, head.state.get(text));
    else missing.push(key);
  }
  if (missing.length === 0) return found;
  const { changes } = ctx.rooms;
  const read = await stateOfGroup(ctx, head.stateGroup, missing);
  for (const key of missing) {
    const text = stateMapKey(key.type, key.stateKey);
    const stored = read.get(text);
    found.set(text, stored);
    if (ctx.rooms.changes === changes) ctx.rooms.keepInHead(head, text, stored);
  }
  return found;
}

/** An event as a forward extremity. Throws for one that has no place in the graph: it cannot be one. */
export function extremityOf(stored: StoredEvent | undefined, nid: number): ForwardExtremity {
  if (stored?.stateAfter === undefined) throw new Error(`event ${nid} is no forward extremity`);
  return { nid, eventId: stored.event.eventId, depth: stored.event.depth, stateAfter: stored.stateAfter };
}

/** Some keys of any state, by `stateMapKey`; keys that the state lacks are absent. */
export async function stateOfGroup(
  ctx: RoomsContext,
  group: StateGroup,
  keys: readonly StateKey[],
): Promise<Map<string, StoredEvent>> {
  const nids = await findNids(ctx.db, keys);
  const known = nids.filter((nid) => nid !== undefined);
  const state = known.length === 0 ? new Map<number, number>() : await stateGet(ctx.db, group, known);
  const events = await loadNids(ctx, state.values());
  const found = new Map<string, StoredEvent>();
  for (const [index, key] of keys.entries()) {
    const stored = events.get(state.get(nids[index] ?? -1) ?? -1);
    if (stored !== undefined) found.set(stateMapKey(key.type, key.stateKey), stored);
  }
  return found;
}
