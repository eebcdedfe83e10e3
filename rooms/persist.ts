/**
 * THE transaction: whatever is to become a part of a room's graph, from our users and from other servers, is
 * written here, in this order:
 *
 * 1. compare-and-set of the room's row: what the plan rests on is still so, or nothing is written;
 * 2. for each event: its position, its row, the state after it, its transaction id, what it relates to and redacts;
 * 3. the forward and backward extremities;
 * 4. the current state, its changes, and the memberships that follow from it.
 *
 * Memory follows after the commit.
 */

import type { EventId } from '#keys/ids.ts';
import * as arrivals from '#storage/arrivals.ts';
import * as clientTransactions from '#storage/client-transactions.ts';
import type { Tx } from '#storage/database.ts';
import * as eventEdges from '#storage/event-edges.ts';
import * as events from '#storage/events.ts';
import * as memberships from '#storage/memberships.ts';
import * as provisionalRejections from '#storage/provisional-rejections.ts';
import * as relations from '#storage/relations.ts';
import * as rooms from '#storage/rooms.ts';
import * as search from '#storage/search.ts';
import { apply, type StateGroup } from '#storage/state-groups.ts';
import { nidOf, nidsOf } from '#storage/state-keys.ts';
import * as stickyEvents from '#storage/sticky-events.ts';
import type { RoomsContext } from './context.ts';
import { type Event, splitStateMapKey } from './event.ts';
import { type CurrentStateChange, writeCurrentState } from './persist-state.ts';
import { type RedactionEffect, redactedEvent } from './redaction.ts';
import { canReplace, relationOf } from './relations/relation.ts';
import type { StateRef } from './resolve-state.ts';
import type { Room } from './room.ts';
import type { ForwardExtremity, RoomHead } from './room-cache.ts';
import { extremityOf } from './room-head.ts';
import { writeSticky } from './sticky.ts';
import type { StoredEvent } from './stored-event.ts';
import type { VerifiedEvent } from './verified-event.ts';

/** An event and the place that it gets. */
export interface Placement {
  readonly event: VerifiedEvent;
  readonly status: 'accepted' | 'soft_failed' | 'rejected';
  readonly reason?: string | undefined;
  /** The state before it; `previous`: the state after the event before it in the plan. */
  readonly stateBefore: StateRef | 'previous';
  /** `live`: the next position; otherwise a position in the history, taken beforehand or, if undefined, now. */
  readonly order: 'live' | { readonly historyPosition: number | undefined };
  /** The row it has already, as an outlier. */
  readonly outlier?: StoredEvent | undefined;
  /** A redaction of it that arrived before it did. */
  readonly redactedBy?: EventId | undefined;
  readonly redacts?: RedactionEffect | undefined;
  readonly transaction?: clientTransactions.TransactionKey | undefined;
  /** Whether other servers of the room are to be sent it by us. */
  readonly outgoing: boolean;
}

/** What ties lines of the graph together and says nothing. Other servers send such events too. */
export const DUMMY_EVENT = 'org.matrix.dummy_event';

export interface PersistPlan {
  /** What the plan rests on. */
  readonly head: RoomHead;
  /** Oldest first. */
  readonly placements: readonly Placement[];
  /** The forward extremities that the events replace, and those of the events that become some. */
  readonly replaced: readonly ForwardExtremity[];
  readonly leading: readonly EventId[];
  readonly backward: { readonly added: readonly EventId[]; readonly removed: readonly EventId[] };
  /** The room's state from now on; `last`: the state after the last event. */
  readonly currentState: StateRef | 'unchanged' | 'last';
  /**
   * We come into the room: nobody has followed its state so far. Where the head's state is in the tables already, what
   * is told with it are the memberships of our users there.
   */
  readonly arrives?: { readonly ourMembers: readonly memberships.NewMembership[] };
}

export type Persisted =
  | { readonly kind: 'persisted'; readonly events: readonly StoredEvent[] }
  /** Somebody else wrote meanwhile: read the head again and build again. */
  | { readonly kind: 'conflict' };

/**
 * Writes a plan in a transaction of its own; resolves once it is on disk. `also` is written with it, or not at all.
 */
export async function persist(
  ctx: RoomsContext,
  room: Room,
  plan: PersistPlan,
  also?: (tx: Tx) => Promise<void>,
): Promise<Persisted> {
  const persisted = await ctx.db.write('rooms.persist', async (tx) => {
    const written = await writePlan(ctx, tx, room, plan);
    if (written.kind === 'persisted') await also?.(tx);
    return written;
  });
  if (persisted.kind === 'conflict') ctx.rooms.dropHead(room.roomNid);
  return persisted;
}

/** Writes a plan in a transaction that does more than that. */
export async function writePlan(
  ctx: RoomsContext,
  tx: Tx,
  room: Room,
  plan: PersistPlan,
): Promise<Persisted> {
  if (!(await rooms.advance(tx, room.roomNid, plan.head.rowVersion))) return { kind: 'conflict' };
  const stored: StoredEvent[] = [];
  let group = plan.head.stateGroup;
  // In order: each may be built upon the one before.
  for (const placement of plan.placements) {
    if (placement.stateBefore !== 'previous') group = await groupOf(tx, placement.stateBefore);
    const placed = await writeEvent(ctx, tx, room, { placement, stateBefore: group });
    stored.push(placed);
    group = placed.stateAfter ?? group;
  }
  const extremities = await writeExtremities(tx, room, plan, stored);
  const current = await currentGroupOf(tx, plan, group);
  const state = await writeCurrentState(ctx, tx, room, { plan, stored, group: current });
  tx.afterCommit(() => remember(ctx, room, plan, { stored, extremities, group: current, state }));
  return { kind: 'persisted', events: stored };
}

async function currentGroupOf(tx: Tx, plan: PersistPlan, last: StateGroup): Promise<StateGroup> {
  if (plan.currentState === 'unchanged') return plan.head.stateGroup;
  return plan.currentState === 'last' ? last : groupOf(tx, plan.currentState);
}

/** Where states are stored that were computed: several events may rest on one. */
const storedGroups = new WeakMap<StateRef, StateGroup>();

/** The group of a state, stored where it was not. */
export async function groupOf(tx: Tx, state: StateRef): Promise<StateGroup> {
  if (state.changes.size === 0) return state.base;
  const known = storedGroups.get(state);
  if (known !== undefined) return known;
  const group = await apply(tx, state.base, await changesByNid(tx, state));
  tx.afterCommit(() => storedGroups.set(state, group));
  return group;
}

async function changesByNid(tx: Tx, state: StateRef): Promise<Map<number, number | undefined>> {
  const keys = await nidsOf(tx, [...state.changes.keys()].map(splitStateMapKey));
  const eventIds = [...state.changes.values()];
  const nids = await events.nidsOf(
    tx,
    eventIds.filter((eventId) => eventId !== undefined),
  );
  const changes = new Map<number, number | undefined>();
  for (const [index, key] of keys.entries()) {
    const eventId = eventIds[index];
    const nid = eventId === undefined ? undefined : nids.get(eventId);
    if (eventId !== undefined && nid === undefined)
      throw new Error(`a state holds ${eventId}, which is not stored`);
    changes.set(key, nid);
  }
  return changes;
}

async function writeEvent(
  ctx: RoomsContext,
  tx: Tx,
  room: Room,
  { placement, stateBefore }: { placement: Placement; stateBefore: StateGroup },
): Promise<StoredEvent> {
  const { status, outlier, reason } = placement;
  const redactedBy = placement.redactedBy ?? outlier?.redactedBy;
  const whole = wholeOf(placement);
  const event = redactedBy === undefined ? whole : redactedEvent(whole);
  const changesState = status !== 'rejected' && event.stateKey !== undefined;
  const fields = {
    position: positionFor(ctx, tx, placement),
    status,
    reason,
    stateBefore,
    stateAfter: changesState ? undefined : stateBefore,
    redactedBy,
    txn: placement.transaction && {
      deviceId: placement.transaction.deviceId,
      txnId: placement.transaction.txnId,
    },
    receivedTs: ctx.clock.now(),
  };
  const nid = outlier?.nid ?? (await events.insert(tx, newEvent(room, event, fields)));
  if (outlier !== undefined) {
    await events.place(tx, nid, { ...fields, json: event.json });
    if (outlier.status === 'rejected') await provisionalRejections.drop(tx, [nid]);
  }
  let stateAfter = stateBefore;
  if (changesState && event.stateKey !== undefined) {
    const key = await nidOf(tx, event.type, event.stateKey);
    stateAfter = await apply(tx, stateBefore, new Map([[key, nid]]));
    await events.setStateAfter(tx, nid, stateAfter);
  }
  const stored: StoredEvent = { nid, roomNid: room.roomNid, event, ...fields, stateAfter };
  await writeConsequences(tx, placement, stored);
  if (placement.order === 'live') await writeSticky(ctx, tx, stored);
  if (stored.position !== undefined && stored.position < 0) {
    await arrivals.addHistory(tx, { arrived: ctx.streams.allocate(tx, ['events']), nid });
  }
  return stored;
}

/** A copy whose content hash is wrong counts as redacted; of two copies of an event the other is the longer. */
function wholeOf({ event, outlier }: Placement): Event {
  return outlier !== undefined && outlier.event.json.length > event.json.length ? outlier.event : event;
}

/** The columns of an event's row. */
export function newEvent(
  room: Room,
  event: Event,
  fields: Omit<StoredEvent, 'nid' | 'roomNid' | 'event'>,
): events.NewEvent {
  const { eventId, depth, type, stateKey, sender, originServerTs, json } = event;
  return { eventId, roomNid: room.roomNid, depth, type, stateKey, sender, originServerTs, json, ...fields };
}

/** The columns of an event that is known only as a part of some state. */
export function newOutlier(ctx: RoomsContext, room: Room, event: Event): events.NewOutlier {
  const { eventId, depth, type, stateKey, sender, originServerTs, json } = event;
  const receivedTs = ctx.clock.now();
  return { eventId, roomNid: room.roomNid, depth, type, stateKey, sender, originServerTs, receivedTs, json };
}

function positionFor(ctx: RoomsContext, tx: Tx, placement: Placement): number | undefined {
  const { event, status, order, outgoing } = placement;
  if (status !== 'accepted') return undefined;
  // Clients have nothing to see.
  if (event.type === DUMMY_EVENT && event.stateKey === undefined) return undefined;
  if (order !== 'live') return order.historyPosition ?? ctx.streams.allocateHistory(tx);
  const hint = ['events', `room:${event.roomId}`];
  if (outgoing) hint.push('outgoing');
  if (event.stateKey !== undefined) hint.push(`state:${event.roomId}`);
  if (event.type === 'm.room.member' && event.stateKey !== undefined) {
    hint.push('memberships', `user:${event.stateKey}`);
  }
  return ctx.streams.allocate(tx, hint);
}

async function writeConsequences(tx: Tx, placement: Placement, stored: StoredEvent): Promise<void> {
  const { transaction, redacts, redactedBy } = placement;
  const { nid, position, roomNid } = stored;
  const { eventId } = stored.event;
  if (transaction !== undefined) {
    await clientTransactions.insert(tx, transaction, { eventId, ts: stored.receivedTs });
  }
  if (placement.outgoing && position !== undefined) {
    await events.insertOutgoing(tx, { position, roomNid, nid });
  }
  await writeRelation(tx, stored);
  if (redactedBy !== undefined) await events.dropPendingRedactions(tx, eventId);
  if (redacts?.kind === 'wait') await events.addPendingRedaction(tx, redacts.target, nid);
  if (redacts?.kind === 'redact') {
    await events.redact(tx, redacts.nid, { json: redacts.redacted.json, by: eventId });
    await relations.remove(tx, [redacts.nid]);
    await search.remove(tx, [redacts.nid]);
    await stickyEvents.remove(tx, redacts.nid);
    if (redacts.member !== undefined) await memberships.redact(tx, roomNid, redacts.member, redacts.nid);
  }
}

/** Of what clients see; the redacted form of an event relates to nothing. */
async function writeRelation(tx: Tx, { nid, roomNid, position, event }: StoredEvent): Promise<void> {
  const relation = relationOf(event.content);
  if (relation === undefined || position === undefined) return;
  const { type, sender, originServerTs, content } = event;
  const isState = event.stateKey !== undefined;
  await relations.insert(tx, {
    ...{ nid, roomNid, position, ...relation, type, sender, originServerTs },
    canReplace: canReplace({ type, isState, content }),
  });
}

async function writeExtremities(
  tx: Tx,
  room: Room,
  plan: PersistPlan,
  stored: readonly StoredEvent[],
): Promise<readonly ForwardExtremity[]> {
  const { replaced, leading, backward } = plan;
  const added = stored
    .filter(({ event }) => leading.includes(event.eventId))
    .map((leader) => extremityOf(leader, leader.nid));
  if (replaced.length > 0 || added.length > 0) {
    await eventEdges.moveForwardExtremities(tx, room.roomNid, {
      removed: replaced.map(({ nid }) => nid),
      added: added.map(({ nid }) => nid),
    });
  }
  // Few: what one event cites.
  for (const eventId of backward.removed) await eventEdges.removeBackwardExtremity(tx, room.roomNid, eventId);
  await eventEdges.addBackwardExtremities(tx, room.roomNid, backward.added);
  const gone = new Set(replaced.map(({ nid }) => nid));
  return [...plan.head.forwardExtremities.filter(({ nid }) => !gone.has(nid)), ...added];
}

/** What memory holds of the room after the commit. */
function remember(
  ctx: RoomsContext,
  room: Room,
  plan: PersistPlan,
  written: {
    readonly stored: readonly StoredEvent[];
    readonly extremities: readonly ForwardExtremity[];
    readonly group: StateGroup;
    readonly state: CurrentStateChange;
  },
): void {
  for (const { outlier, redacts } of plan.placements) {
    if (outlier !== undefined) ctx.rooms.dropEvent(outlier.nid);
    if (redacts?.kind === 'redact') ctx.rooms.dropEvent(redacts.nid);
  }
  for (const stored of written.stored) ctx.rooms.keepEvent(stored);
  if (written.state.membersChanged) ctx.rooms.dropJoinedServers(room.roomNid);
  ctx.rooms.keepHead(room.roomNid, {
    rowVersion: plan.head.rowVersion + 1,
    stateGroup: written.group,
    forwardExtremities: written.extremities,
    state: written.state.after,
  });
}
