/** The part of the persist transaction that moves a room's current state. */

import { belongsTo, isUserId, serverNameOf, type UserId } from '#keys/ids.ts';
import { stringAt } from '#keys/json.ts';
import * as currentState from '#storage/current-state.ts';
import type { Tx } from '#storage/database.ts';
import * as events from '#storage/events.ts';
import * as invites from '#storage/invites.ts';
import * as memberships from '#storage/memberships.ts';
import * as rooms from '#storage/rooms.ts';
import { difference, type StateGroup } from '#storage/state-groups.ts';
import { keysOf, type StateKey } from '#storage/state-keys.ts';
import type { RoomsContext } from './context.ts';
import { type Event, membershipOf, stateMapKey } from './event.ts';
import type { PersistPlan } from './persist.ts';
import type { Room } from './room.ts';
import { type StoredEvent, storedEventFrom } from './stored-event.ts';

/** What became of a head's state in memory. */
export interface CurrentStateChange {
  readonly after: Map<string, number | undefined>;
  readonly membersChanged: boolean;
}

/** A change of the current state, with the event that stands there now, where there is one. */
export interface Change extends currentState.StateDelta {
  readonly event: Event | undefined;
}

/** Moves the current state to `group`: the state of the room's row, the table, its deltas, the memberships. */
export async function writeCurrentState(
  ctx: RoomsContext,
  tx: Tx,
  room: Room,
  moved: { readonly plan: PersistPlan; readonly stored: readonly StoredEvent[]; readonly group: StateGroup },
): Promise<CurrentStateChange> {
  const { head, currentState: wanted } = moved.plan;
  if (moved.group === head.stateGroup) return { after: head.state, membersChanged: false };
  await rooms.setStateGroup(tx, room.roomNid, moved.group);
  const follows = wanted === 'last' && followsCurrentState(moved.plan);
  const changes = follows
    ? await changesOf(tx, room, moved.stored)
    : await changesBetween(ctx, tx, room, { from: head.stateGroup, to: moved.group, ...moved.plan.arrives });
  await writeChanges(ctx, tx, room, { changes, recorded: moved.plan.arrives === undefined });
  const membersChanged = changes.some((change) => change.type === 'm.room.member');
  if (!follows) return { after: new Map(), membersChanged };
  const after = new Map(head.state);
  for (const stored of moved.stored) {
    const { type, stateKey } = stored.event;
    if (stateKey !== undefined) after.set(stateMapKey(type, stateKey), stored.nid);
  }
  return { after, membersChanged };
}

/** Writes changes of the current state, and the memberships that follow from them; records them if so wished. */
async function writeChanges(
  ctx: RoomsContext,
  tx: Tx,
  room: Room,
  { changes, recorded }: { readonly changes: readonly Change[]; readonly recorded: boolean },
): Promise<void> {
  // In order: a batch may change one key twice.
  for (const change of changes) {
    await currentState.set(tx, room.roomNid, change, change.eventNid);
    if (recorded) await currentState.addDelta(tx, room.roomNid, change);
    if (change.type === 'm.room.member') await writeMembership(ctx, tx, room, change);
  }
}

/** The row of a member of the room's state; undefined for what is no membership. */
export function membershipRowOf(
  roomNid: number,
  member: { readonly event: Event; readonly eventNid: number; readonly position: number },
): memberships.NewMembership | undefined {
  const { event, eventNid, position } = member;
  const userId = event.stateKey;
  const membership = membershipOf(event);
  const serverName = isUserId(userId) ? serverNameOf(userId) : undefined;
  if (!isUserId(userId) || serverName === undefined || !isMembership(membership)) return undefined;
  const displayName = stringAt(event.content, 'displayname') ?? null;
  const avatarUrl = stringAt(event.content, 'avatar_url') ?? null;
  return { roomNid, userId, membership, eventNid, position, serverName, displayName, avatarUrl };
}

/** True where all the events stand one upon the other, and the first upon the current state. */
function followsCurrentState({ head, placements }: PersistPlan): boolean {
  return placements.every(({ stateBefore, status }, index) => {
    if (status !== 'accepted') return false;
    if (stateBefore === 'previous') return index > 0;
    return index === 0 && stateBefore.base === head.stateGroup && stateBefore.changes.size === 0;
  });
}

/** What state events, one after the other, change. */
async function changesOf(tx: Tx, room: Room, stored: readonly StoredEvent[]): Promise<Change[]> {
  const changes: Change[] = [];
  const last = new Map<string, number>();
  for (const { event, nid, position } of stored) {
    if (event.stateKey === undefined || position === undefined) continue;
    const key = { type: event.type, stateKey: event.stateKey };
    const text = stateMapKey(key.type, key.stateKey);
    // One read for each state event; there is rarely more than one, and a new room has none to find.
    const prevEventNid = last.get(text) ?? (await currentState.get(tx, room.roomNid, key));
    last.set(text, nid);
    changes.push({ ...key, position, eventNid: nid, prevEventNid, event });
  }
  return changes;
}

/** What differs between two states, all at a position of its own. */
async function changesBetween(
  ctx: RoomsContext,
  tx: Tx,
  room: Room,
  states: {
    readonly from: StateGroup;
    readonly to: StateGroup;
    readonly inMemory?: ReadonlyMap<number, Event>;
  },
): Promise<Change[]> {
  const differences = await difference(tx, states.from, states.to);
  if (differences.length === 0) return [];
  const keys = await keysOf(
    tx,
    differences.map(({ key }) => key),
  );
  const { inMemory } = states;
  const nids = differences
    .map(({ b }) => b)
    .filter((nid) => nid !== undefined && inMemory?.has(nid) !== true);
  const rows = await events.byNids(
    tx,
    nids.filter((nid) => nid !== undefined),
  );
  const read = new Map(rows.map((row) => [row.event_nid, storedEventFrom(row, room.rules).event]));
  const position = ctx.streams.allocate(tx, [
    `room:${room.roomId}`,
    `state:${room.roomId}`,
    'memberships',
    ...ourMembers(ctx, keys.values()),
  ]);
  return differences.map(({ key, a, b }) => {
    const { type, stateKey } = keys.get(key) ?? missingKey(key);
    const event = b === undefined ? undefined : (inMemory?.get(b) ?? read.get(b));
    return { position, type, stateKey, eventNid: b, prevEventNid: a, event };
  });
}

function ourMembers(ctx: RoomsContext, keys: Iterable<StateKey>): string[] {
  const members = [...keys].filter(({ type }) => type === 'm.room.member').map(({ stateKey }) => stateKey);
  return members.filter((userId) => belongsTo(userId, ctx.serverName)).map((userId) => `user:${userId}`);
}

async function writeMembership(ctx: RoomsContext, tx: Tx, room: Room, change: Change): Promise<void> {
  const { event, eventNid, position, stateKey } = change;
  if (event === undefined || eventNid === undefined) {
    if (isUserId(stateKey)) await memberships.setLeft(tx, room.roomNid, stateKey, position);
    return;
  }
  const row = membershipRowOf(room.roomNid, { event, eventNid, position });
  if (row === undefined) return;
  await memberships.set(tx, row);
  if (row.serverName === ctx.serverName) await forgetInvitation(tx, room.roomNid, row.userId);
}

/** The stripped state of an invitation from outside is of no use once the room's own state says more. */
function forgetInvitation(tx: Tx, roomNid: number, userId: UserId): Promise<void> {
  return invites.remove(tx, roomNid, userId);
}

function isMembership(value: string | undefined): value is memberships.Membership {
  return value === 'join' || value === 'invite' || value === 'leave' || value === 'ban' || value === 'knock';
}

function missingKey(key: number): never {
  throw new Error(`the state key ${key} is not stored`);
}
