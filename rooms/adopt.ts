/** A room that another server lets us into: its state, its auth chains, and the join of our user. */

import type { EventId } from '#keys/ids.ts';
import * as events from '#storage/events.ts';
import type { StateGroup } from '#storage/state-groups.ts';
import { nidsOf } from '#storage/state-keys.ts';
import { authStateOf, checkStateDependent } from './auth/check.ts';
import { closedBecause } from './closed-room.ts';
import type { RoomsContext } from './context.ts';
import { type Event, splitStateMapKey, stateMapKey } from './event.ts';
import { type Judged, judge, judgeTold } from './judge-told.ts';
import { loadEvents } from './load.ts';
import { groupOf, newEvent, persist } from './persist.ts';
import { restore } from './provisional.ts';
import { receiveLocked } from './receive.ts';
import { pendingRedactionOf } from './redaction.ts';
import { groupRef, refTo, type StateRef } from './resolve-state.ts';
import { isInRoom, makeKnown, type Room } from './room.ts';
import { headOf } from './room-head.ts';
import { isPlaced, type StoredEvent } from './stored-event.ts';
import type { VerifiedEvent } from './verified-event.ts';
import type { RoomVersionRules } from './versions.ts';

export interface Adoption {
  readonly rules: RoomVersionRules;
  /** The join of our user, as the resident server accepted it. */
  readonly join: VerifiedEvent;
  /** The state of the room before the join. */
  readonly state: readonly VerifiedEvent[];
  /** The auth chains of the state and the join; events of the state need not be repeated. */
  readonly authChain: readonly VerifiedEvent[];
}

export type Adopted =
  | { readonly kind: 'joined'; readonly position: number }
  | { readonly kind: 'refused'; readonly reason: string };

/** How many rows to write before other writes, and requests, get a turn. */
const ROWS_AT_ONCE = 250;
const ATTEMPTS = 5;

/**
 * Takes a room over from `send_join`. Events that do not stand by their auth events are left out, without harm to
 * the others; refused is only a join that the rest does not allow. The room appears whole, in one transaction;
 * until then there are only events that nothing refers to.
 *
 * Where our server is in the room already, the join is received as any other event.
 */
export function adoptRoom(ctx: RoomsContext, adoption: Adoption): Promise<Adopted> {
  return ctx.roomLocks.run(adoption.join.roomId, () => adopt(ctx, adoption));
}

async function adopt(ctx: RoomsContext, { rules, join, state, authChain }: Adoption): Promise<Adopted> {
  // Asked under the lock: it may have begun since the join was sent.
  const closed = await closedBecause(ctx, join.roomId);
  if (closed !== undefined) return { kind: 'refused', reason: closed };
  const judged = await judgeTold(ctx, join.roomId, [...authChain, ...state]);
  const before = stateOf(state, judged);
  const reason = refusal(join, judged, before);
  if (reason !== undefined) return { kind: 'refused', reason };
  logRejected(ctx, join, judged);
  const room = await makeKnown(ctx, join.roomId, rules);
  if (room === undefined) return { kind: 'refused', reason: 'The room is known by another room version' };
  await storeOutliers(ctx, room, judged.accepted);
  const stateIds = new Map([...before].map(([key, event]) => [key, event.eventId]));
  if (await isInRoom(ctx, room)) return joinFromInside(ctx, room, join, [...stateIds.values()]);
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const position = await placeJoin(ctx, room, join, { stateIds, events: judged.accepted });
    if (position !== undefined) return { kind: 'joined', position };
  }
  throw new Error(`the room was written by others ${ATTEMPTS} times while it was joined`);
}

/** The state by its keys. Of two events with the same key the first counts: there should not be a second. */
function stateOf(state: readonly VerifiedEvent[], judged: Judged): Map<string, Event> {
  const map = new Map<string, Event>();
  for (const { eventId } of state) {
    const event = judged.byId.get(eventId);
    if (event === undefined || event === 'rejected' || event.stateKey === undefined) continue;
    const key = stateMapKey(event.type, event.stateKey);
    if (!map.has(key)) map.set(key, event);
  }
  return map;
}

/** Why the join cannot be: by its auth events, or by the state before it. */
function refusal(join: Event, judged: Judged, state: ReadonlyMap<string, Event>): string | undefined {
  if (!state.has(stateMapKey('m.room.create', ''))) return 'The state has no valid create event';
  const refused = judge(join, judged.byId) ?? checkStateDependent(join, authStateOf(state.values()));
  return refused?.reason;
}

/** In portions: nothing refers to these events yet, so that it is no harm if the join ends here. */
async function storeOutliers(
  ctx: RoomsContext,
  room: Room,
  accepted: readonly VerifiedEvent[],
): Promise<void> {
  const stored = await loadEvents(
    ctx,
    accepted.map((event) => event.eventId),
  );
  await restoreRejected(ctx, [...stored.values()]);
  const missing = accepted.filter((event) => !stored.has(event.eventId));
  const receivedTs = ctx.clock.now();
  for (let from = 0; from < missing.length; from += ROWS_AT_ONCE) {
    const rows = missing.slice(from, from + ROWS_AT_ONCE).map((event) =>
      newEvent(room, event, {
        position: undefined,
        status: 'outlier',
        reason: undefined,
        stateBefore: undefined,
        stateAfter: undefined,
        redactedBy: undefined,
        txn: undefined,
        receivedTs,
      }),
    );
    await ctx.db.write('rooms.storeOutliers', (tx) => events.insertOutliers(tx, rows));
  }
}

/** What we had rejected by the state that we knew in an earlier stay counts again: it is in the state told now. */
async function restoreRejected(ctx: RoomsContext, stored: readonly StoredEvent[]): Promise<void> {
  const nids = stored.filter(({ status }) => status === 'rejected').map(({ nid }) => nid);
  if (nids.length === 0) return;
  await ctx.db.write('rooms.restoreRejected', (tx) => restore(tx, nids));
  for (const nid of nids) ctx.rooms.dropEvent(nid);
}

/** Undefined where another writer was faster. */
async function placeJoin(
  ctx: RoomsContext,
  room: Room,
  join: VerifiedEvent,
  told: { readonly stateIds: ReadonlyMap<string, EventId>; readonly events: readonly VerifiedEvent[] },
): Promise<number | undefined> {
  const head = await headOf(ctx, room.roomNid);
  const cited = await loadEvents(ctx, [join.eventId, ...join.prevEvents]);
  const stateBefore = await storeState(ctx, await refTo(ctx, head.stateGroup, told.stateIds));
  const nids = await events.nidsOf(ctx.db, told.stateIds.values());
  const inMemory = new Map<number, Event>();
  for (const event of told.events) {
    const nid = nids.get(event.eventId);
    if (nid !== undefined) inMemory.set(nid, event);
  }
  const persisted = await persist(ctx, room, {
    head,
    placements: [
      {
        event: join,
        status: 'accepted',
        stateBefore: groupRef(stateBefore),
        order: 'live',
        outlier: cited.get(join.eventId),
        redactedBy: await pendingRedactionOf(ctx, join),
        outgoing: false,
      },
    ],
    // What was there of an earlier stay leads no further.
    replaced: head.forwardExtremities,
    isExtremity: true,
    backward: {
      added: join.prevEvents.filter((eventId) => !isPlaced(cited.get(eventId))),
      removed: [],
    },
    currentState: 'last',
    arrives: { inMemory },
  });
  return persisted.kind === 'conflict' ? undefined : persisted.events[0]?.position;
}

/** The group of the state. In portions too, as far as it goes: nothing refers to it yet. */
async function storeState(ctx: RoomsContext, state: StateRef): Promise<StateGroup> {
  const keys = [...state.changes.keys()].map(splitStateMapKey);
  for (let from = 0; from < keys.length; from += ROWS_AT_ONCE) {
    const portion = keys.slice(from, from + ROWS_AT_ONCE);
    await ctx.db.write('rooms.storeStateKeys', (tx) => nidsOf(tx, portion));
  }
  return ctx.db.write('rooms.storeState', (tx) => groupOf(tx, state));
}

/** Another of our users was faster: the room is ours to follow already. */
async function joinFromInside(
  ctx: RoomsContext,
  room: Room,
  join: VerifiedEvent,
  stateBefore: readonly EventId[],
): Promise<Adopted> {
  const received = await receiveLocked(ctx, room, join, { as: 'live', stateBefore });
  if (received.kind === 'missing')
    return { kind: 'refused', reason: 'The join cites events that are not known' };
  const stored = (await loadEvents(ctx, [join.eventId])).get(join.eventId);
  if (stored?.position !== undefined) return { kind: 'joined', position: stored.position };
  return { kind: 'refused', reason: received.reason ?? 'The room does not allow the join' };
}

/** One line for a join, whatever its size. */
function logRejected(ctx: RoomsContext, join: Event, { rejected }: Judged): void {
  if (rejected.size === 0) return;
  const [first] = rejected;
  ctx.log.warn(
    { roomId: join.roomId, events: rejected.size, eventId: first?.[0], reason: first?.[1] },
    'events of the state of a joined room were rejected',
  );
}
