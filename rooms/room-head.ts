import * as eventEdges from '#storage/event-edges.ts';
import * as rooms from '#storage/rooms.ts';
import { type StateGroup, get as stateGet } from '#storage/state-groups.ts';
import { findNids, type StateKey } from '#storage/state-keys.ts';
import type { RoomsReader } from './context.ts';
import { stateMapKey } from './event.ts';
import { loadNids } from './load.ts';
import type { ForwardExtremity, RoomHead } from './room-cache.ts';
import type { StoredEvent } from './stored-event.ts';

/** Where the room's graph and current state stand: from memory, or read. Throws for a room without a row. */
export async function headOf(ctx: RoomsReader, roomNid: number): Promise<RoomHead> {
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

const NOTHING: ReadonlyMap<string, number> = new Map();

/**
 * Some keys of a head's state, by `stateMapKey`; keys that the state lacks are absent. What was asked for once is
 * in memory from then on.
 */
export async function headState(
  ctx: RoomsReader,
  head: RoomHead,
  keys: readonly StateKey[],
): Promise<ReadonlyMap<string, StoredEvent>> {
  const nids = new Map<string, number | undefined>();
  const unknown: StateKey[] = [];
  for (const wanted of keys) {
    const key = stateMapKey(wanted.type, wanted.stateKey);
    // Taken now: memory may forget it while the others are read.
    if (head.state.has(key)) nids.set(key, head.state.get(key));
    else unknown.push(wanted);
  }
  const read = unknown.length === 0 ? NOTHING : await nidsOfGroup(ctx, head.stateGroup, unknown);
  for (const { type, stateKey } of unknown) {
    const key = stateMapKey(type, stateKey);
    nids.set(key, read.get(key));
    ctx.rooms.keepInHead(head, key, read.get(key));
  }
  return eventsOf(ctx, nids);
}

/** True where these are the states after the head's extremities: their resolution is its current state. */
export function haveSameStates(head: RoomHead, groups: readonly StateGroup[]): boolean {
  const ofHead = new Set(head.forwardExtremities.map(({ stateAfter }) => stateAfter));
  const others = new Set(groups);
  return ofHead.size === others.size && ofHead.isSubsetOf(others);
}

/** An event as a forward extremity. Throws for one that has no place in the graph: it cannot be one. */
export function extremityOf(stored: StoredEvent | undefined, nid: number): ForwardExtremity {
  if (stored?.stateAfter === undefined) throw new Error(`event ${nid} is no forward extremity`);
  return { nid, eventId: stored.event.eventId, depth: stored.event.depth, stateAfter: stored.stateAfter };
}

/** Some keys of any state, by `stateMapKey`; keys that the state lacks are absent. */
export async function stateOfGroup(
  ctx: RoomsReader,
  group: StateGroup,
  keys: readonly StateKey[],
): Promise<Map<string, StoredEvent>> {
  return eventsOf(ctx, await nidsOfGroup(ctx, group, keys));
}

/** Some keys of any state, by `stateMapKey`, as numeric ids. A state never changes: the answer stays true. */
async function nidsOfGroup(
  ctx: RoomsReader,
  group: StateGroup,
  keys: readonly StateKey[],
): Promise<Map<string, number>> {
  const keyNids = await findNids(ctx.db, keys);
  const known = keyNids.filter((nid) => nid !== undefined);
  const state = known.length === 0 ? undefined : await stateGet(ctx.db, group, known);
  const found = new Map<string, number>();
  for (const [index, { type, stateKey }] of keys.entries()) {
    const keyNid = keyNids[index];
    const nid = keyNid === undefined ? undefined : state?.get(keyNid);
    if (nid !== undefined) found.set(stateMapKey(type, stateKey), nid);
  }
  return found;
}

/** The events of numeric ids, from memory where they are there. */
async function eventsOf(
  ctx: RoomsReader,
  nids: ReadonlyMap<string, number | undefined>,
): Promise<Map<string, StoredEvent>> {
  const wanted = [...nids.values()].filter((nid) => nid !== undefined);
  const events = await loadNids(ctx, wanted);
  const found = new Map<string, StoredEvent>();
  for (const [key, nid] of nids) {
    const stored = nid === undefined ? undefined : events.get(nid);
    if (stored !== undefined) found.set(key, stored);
  }
  return found;
}
