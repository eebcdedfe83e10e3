/** The part of the persist transaction that moves a room's current state. */

import { belongsTo, isUserId, serverNameOf, type UserId } from '#keys/ids.ts';
import { stringAt } from '#keys/json.ts';
import * as currentState from '#storage/current-state.ts';
import type { Tx } from '#storage/database.ts';
import * as events from '#storage/events.ts';
import * as invites from '#storage/invites.ts';
import * as memberships from '#storage/memberships.ts';
import * as openRooms from '#storage/open-rooms.ts';
import * as outgoingDeviceLists from '#storage/outgoing-device-lists.ts';
import * as rooms from '#storage/rooms.ts';
import { difference, type StateGroup } from '#storage/state-groups.ts';
import { keysOf, type StateKey } from '#storage/state-keys.ts';
import type { RoomsContext } from './context.ts';
import { type Event, membershipOf, stateMapKey } from './event.ts';
import type { PersistPlan } from './persist.ts';
import type { Room } from './room.ts';
import { type StoredEvent, storedEventFrom } from './stored-event.ts';

const EVENTS_AT_ONCE = 500;

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
  const { head, currentState: wanted, arrives } = moved.plan;
  if (moved.group === head.stateGroup && arrives === undefined)
    return { after: head.state, membersChanged: false };
  await rooms.setStateGroup(tx, room.roomNid, moved.group);
  if (arrives !== undefined) await writeOurMembers(ctx, tx, room, arrives.ourMembers);
  const follows = wanted === 'last' && followsCurrentState(moved.plan);
  if (!follows) {
    const membersChanged = await writeDifference(ctx, tx, room, {
      ...{ from: head.stateGroup, to: moved.group, recorded: arrives === undefined },
    });
    return { after: new Map(), membersChanged };
  }
  const changes = await changesOf(tx, room, moved.stored);
  // Also what comes upon a state that is not recorded: a client is told that state, and these events after it.
  await writeChanges(ctx, tx, room, { changes, recorded: true });
  const membersChanged = changes.some((change) => change.type === 'm.room.member');
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
    else if (change.stateKey === '') await writeOpenness(tx, room, change);
  }
}

/** Whether everybody may enter or read the room. */
export async function writeOpenness(
  tx: Tx,
  { roomNid }: Room,
  { type, event }: Pick<Change, 'type' | 'event'>,
): Promise<void> {
  const textOf = (key: string) => event && stringAt(event.content, key);
  if (type === 'm.room.join_rules') {
    await openRooms.set(tx, roomNid, 'join_rule', textOf('join_rule') === 'public');
  } else if (type === 'm.room.history_visibility') {
    const isOpen = textOf('history_visibility') === 'world_readable';
    await openRooms.set(tx, roomNid, 'history_visibility', isOpen);
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

/** Writes what differs between two states, all at a position of its own; answers whether members do. */
async function writeDifference(
  ctx: RoomsContext,
  tx: Tx,
  room: Room,
  states: { readonly from: StateGroup; readonly to: StateGroup; readonly recorded: boolean },
): Promise<boolean> {
  const differences = await difference(tx, states.from, states.to);
  if (differences.length === 0) return false;
  const keys = await keysOf(
    tx,
    differences.map(({ key }) => key),
  );
  const position = ctx.streams.allocate(tx, [
    ...[`room:${room.roomId}`, `state:${room.roomId}`, 'memberships'],
    ...ourMembers(ctx, keys.values()).map((userId) => `user:${userId}`),
  ]);
  // Portion by portion, for the sake of memory: a state may have 100,000 members.
  for (let from = 0; from < differences.length; from += EVENTS_AT_ONCE) {
    const portion = differences.slice(from, from + EVENTS_AT_ONCE);
    const nids = portion.map(({ b: nid }) => nid).filter((nid) => nid !== undefined);
    const read = new Map<number, Event>();
    for (const row of await events.byNids(tx, nids))
      read.set(row.event_nid, storedEventFrom(row, room.rules).event);
    const changes = portion.map(({ key, a, b }) => {
      const { type, stateKey } = keys.get(key) ?? missingKey(key);
      const event = b === undefined ? undefined : read.get(b);
      return { position, type, stateKey, eventNid: b, prevEventNid: a, event };
    });
    await writeChanges(ctx, tx, room, { changes, recorded: states.recorded });
  }
  return keys.values().some(({ type }) => type === 'm.room.member');
}

function ourMembers(ctx: RoomsContext, keys: Iterable<StateKey>): string[] {
  const members = [...keys].filter(({ type }) => type === 'm.room.member').map(({ stateKey }) => stateKey);
  return members.filter((userId) => belongsTo(userId, ctx.serverName));
}

/** Writes the memberships of our users in the state that a room comes with. */
async function writeOurMembers(
  ctx: RoomsContext,
  tx: Tx,
  room: Room,
  members: readonly memberships.NewMembership[],
): Promise<void> {
  if (members.length === 0) return;
  const hint = members.map(({ userId }) => `user:${userId}`);
  const position = ctx.streams.allocate(tx, ['memberships', ...hint]);
  // Few: users who were invited, or were here before us.
  for (const member of members) await setMembership(ctx, tx, room, { ...member, position });
}

async function writeMembership(ctx: RoomsContext, tx: Tx, room: Room, change: Change): Promise<void> {
  const { event, eventNid, position, stateKey } = change;
  if (event === undefined || eventNid === undefined) {
    if (isUserId(stateKey)) await memberships.setLeft(tx, room.roomNid, stateKey, position);
    return;
  }
  const row = membershipRowOf(room.roomNid, { event, eventNid, position });
  if (row !== undefined) await setMembership(ctx, tx, room, row);
}

async function setMembership(
  ctx: RoomsContext,
  tx: Tx,
  room: Room,
  row: memberships.NewMembership,
): Promise<void> {
  const isOurs = row.serverName === ctx.serverName;
  if (isOurs && row.membership === 'join') await noteJoin(tx, row);
  await memberships.set(tx, row);
  if (isOurs) await forgetInvitation(tx, room.roomNid, row.userId);
}

/** Servers in a room that one of our users comes into may not have heard of the user's devices. */
async function noteJoin(tx: Tx, { roomNid, userId, position }: memberships.NewMembership): Promise<void> {
  const before = await memberships.of(tx, roomNid, userId);
  if (before?.membership !== 'join') await outgoingDeviceLists.addJoin(tx, userId, { roomNid, position });
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
