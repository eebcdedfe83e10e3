/**
 * A room that another server lets us into: its state, its auth chains, and the join of our user.
 *
 * 1. The events are judged by their auth events; those that do not stand are left out, without harm to the others.
 * 2. The join is judged by the state; if it does not stand, nothing is written.
 * 3. The events are written as outliers, and with them, where the room is new to us, its current state and the members
 *    of other servers: in portions, so that others get their turn. All this is to be seen only in rooms that we are in.
 * 4. The state is written as a trie, in portions too: nothing refers to it yet.
 * 5. The join gets its place, and with it the room appears whole, in one transaction.
 */

import { belongsTo, type EventId, isUserId, type UserId } from '#keys/ids.ts';
import * as currentState from '#storage/current-state.ts';
import * as memberships from '#storage/memberships.ts';
import * as roomMembers from '#storage/room-members.ts';
import * as rooms from '#storage/rooms.ts';
import { apply, inParts, load, type StateGroup } from '#storage/state-groups.ts';
import { checkStateDependent } from '../auth/check.ts';
import { authEventKeys } from '../auth/select.ts';
import { closedBecause } from '../closed-room.ts';
import type { RoomsContext } from '../context.ts';
import { type Event, stateMapKey } from '../event.ts';
import { loadEvents } from '../load.ts';
import { persist } from '../persist.ts';
import { receiveLocked } from '../receive.ts';
import { pendingRedactionOf } from '../redaction.ts';
import { groupRef } from '../resolve-state.ts';
import { isInRoom, makeKnown, type Room } from '../room.ts';
import type { RoomHead } from '../room-cache.ts';
import { headOf, stateOfGroup } from '../room-head.ts';
import { isPlaced, type StoredEvent } from '../stored-event.ts';
import type { VerifiedEvent } from '../verified-event.ts';
import type { RoomVersionRules } from '../versions.ts';
import { authEventsOfOne, type Judged, judge, judgeTold, portions } from './judge-told.ts';
import { type StateNumbers, storeTold } from './store-told.ts';
import type { ToldState } from './told-state.ts';

export interface Adoption {
  readonly rules: RoomVersionRules;
  /** The join of our user, as the resident server accepted it. */
  readonly join: VerifiedEvent;
  /** The state of the room before the join, and the auth chains of the state and the join. */
  readonly told: ToldState;
}

export type Adopted =
  | { readonly kind: 'joined'; readonly position: number }
  | { readonly kind: 'refused'; readonly reason: string };

/** How many keys of a state to write before other writes, and requests, get a turn. */
const KEYS_AT_ONCE = 1_000;
const ATTEMPTS = 5;

/**
 * Takes a room over from `send_join`. Refused is only a join that the rest does not allow. Until the room appears there
 * are only events that nothing refers to, and rows that nobody sees.
 *
 * Where our server is in the room already, or has all that the join stands upon, it is received as any other event.
 */
export function adoptRoom(ctx: RoomsContext, adoption: Adoption): Promise<Adopted> {
  return ctx.roomLocks.run(adoption.join.roomId, () => adopt(ctx, adoption));
}

/** Removes what a join has left that ended with the process. Before anybody joins a room. */
export async function forgetUnfinishedJoins(ctx: RoomsContext): Promise<void> {
  // One after the other: each is a write of its own.
  for (const roomNid of await rooms.begun(ctx.db)) await forgetBegun(ctx, roomNid);
}

async function adopt(ctx: RoomsContext, { rules, join, told }: Adoption): Promise<Adopted> {
  // Asked under the lock: it may have begun since the join was sent.
  const closed = await closedBecause(ctx, join.roomId);
  if (closed !== undefined) return { kind: 'refused', reason: closed };
  const judged = await judgeTold(ctx, join, told);
  const state = stateOf(told, judged, join);
  const reason = await refusal(ctx, { join, told, judged, state });
  if (reason !== undefined) return { kind: 'refused', reason };
  logRejected(ctx, join, judged);
  const room = await makeKnown(ctx, join.roomId, rules);
  if (room === undefined) return { kind: 'refused', reason: 'The room is known by another room version' };
  const from = { join, told, accepted: judged.accepted, state };
  if (await isInRoom(ctx, room)) return joinAsAnyEvent(ctx, room, from);
  const { stateGroup } = await headOf(ctx, room.roomNid);
  if (stateGroup === 0) return arrive(ctx, room, from);
  const goesOn = (await leadsOn(ctx, room, join)) || (await haveUnheard(ctx, room, told));
  return goesOn ? joinAsAnyEvent(ctx, room, from) : comeBack(ctx, room, from);
}

/** What is to be written. */
interface Told {
  readonly join: VerifiedEvent;
  readonly told: ToldState;
  readonly accepted: Iterable<number>;
  readonly state: StateNumbers;
}

/**
 * The state before the join, which some servers tell with the join in it. Of two events with the same key the first
 * counts: there should not be a second.
 */
function stateOf(told: ToldState, judged: Judged, join: Event): StateNumbers {
  const ofJoin = told.find(join.eventId);
  const state = new Int32Array(told.keys).fill(-1);
  for (const { event, key } of told.state()) {
    if (event === ofJoin || !judged.isAccepted(event)) continue;
    if (state[key] === -1) state[key] = event;
  }
  return state;
}

/** Why the join cannot be: by its auth events, or by the state before it. */
async function refusal(
  ctx: RoomsContext,
  of: {
    readonly join: Event;
    readonly told: ToldState;
    readonly judged: Judged;
    readonly state: StateNumbers;
  },
): Promise<string | undefined> {
  const { join, told, judged, state } = of;
  const keys = [{ type: 'm.room.create', stateKey: '' }, ...authEventKeys(join, join.rules)];
  const numbers = keys.map(({ type, stateKey }) => {
    const key = told.keyNumber(type, stateKey);
    return key === undefined ? -1 : (state[key] ?? -1);
  });
  if (numbers[0] === -1) return 'The state has no valid create event';
  const events = told.read(numbers.filter((number) => number !== -1));
  const byKey = new Map(events.map((event) => [stateMapKey(event.type, event.stateKey ?? ''), event]));
  const before = { get: (type: string, stateKey: string) => byKey.get(stateMapKey(type, stateKey)) };
  const refused =
    judge(join, await authEventsOfOne(ctx, told, judged, join)) ?? checkStateDependent(join, before);
  return refused?.reason;
}

/** The room is new to us. */
async function arrive(ctx: RoomsContext, room: Room, from: Told): Promise<Adopted> {
  await forgetBegun(ctx, room.roomNid);
  try {
    const stored = await storeTold(ctx, room, { ...from, withCurrentState: true });
    const stateBefore = await storeState(ctx, 0, stored.state);
    const { ourMembers } = stored;
    const position = await placed(ctx, room, { join: from.join, stateBefore, ourMembers, isNew: true });
    return { kind: 'joined', position };
  } catch (error) {
    await forgetBegun(ctx, room.roomNid);
    throw error;
  }
}

/** We were in the room before: its current state is one that others may see, until it is another. */
async function comeBack(ctx: RoomsContext, room: Room, from: Told): Promise<Adopted> {
  const { state, ourMembers: stated } = await storeTold(ctx, room, { ...from, withCurrentState: false });
  const { stateGroup } = await headOf(ctx, room.roomNid);
  const before = await load(ctx.db, stateGroup);
  const changes = new Map<number, number | undefined>();
  for (const [key, nid] of state) if (before.get(key) !== nid) changes.set(key, nid);
  for (const key of before.keys()) if (!state.has(key)) changes.set(key, undefined);
  const stateBefore = await storeState(ctx, stateGroup, changes);
  const ourMembers = await otherwiseTold(ctx, stated);
  const position = await placed(ctx, room, { join: from.join, stateBefore, ourMembers, isNew: false });
  return { kind: 'joined', position };
}

/**
 * Our users whose last word did not reach the room: who declined an invitation, or took back a knock, while none of its
 * servers could be asked. From now on what the room says counts.
 */
async function otherwiseTold(
  ctx: RoomsContext,
  stated: readonly memberships.NewMembership[],
): Promise<memberships.NewMembership[]> {
  const known = await Promise.all(
    stated.map(({ roomNid, userId }) => memberships.of(ctx.db, roomNid, userId)),
  );
  return stated.filter(({ eventNid }, index) => known[index]?.eventNid !== eventNid);
}

async function storeState(
  ctx: RoomsContext,
  base: StateGroup,
  changes: ReadonlyMap<number, number | undefined>,
): Promise<StateGroup> {
  let group = base;
  for (const part of inParts(changes, KEYS_AT_ONCE)) {
    const from = group;
    // Part by part, so that other writes get a turn.
    group = await ctx.db.write('rooms.storeState', (tx) => apply(tx, from, part));
  }
  return group;
}

interface Placing {
  readonly join: VerifiedEvent;
  readonly stateBefore: StateGroup;
  /** Memberships of our users that the tables do not hold yet. */
  readonly ourMembers: readonly memberships.NewMembership[];
  /** The rest of its state is in the tables already. */
  readonly isNew: boolean;
}

/** The position of the join. */
async function placed(ctx: RoomsContext, room: Room, placing: Placing): Promise<number> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const position = await placeJoin(ctx, room, placing);
    if (position !== undefined) return position;
  }
  throw new Error(`the room was written by others ${ATTEMPTS} times while it was joined`);
}

/** Undefined where another writer was faster. */
async function placeJoin(
  ctx: RoomsContext,
  room: Room,
  { join, stateBefore, ourMembers, isNew }: Placing,
): Promise<number | undefined> {
  const known = await headOf(ctx, room.roomNid);
  const cited = await loadEvents(ctx, [join.eventId, ...join.prevEvents]);
  // What the tables hold already is what the room's row will say.
  const head: RoomHead = isNew ? { ...known, stateGroup: stateBefore } : known;
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
    leading: [join.eventId],
    backward: {
      added: join.prevEvents.filter((eventId) => !isPlaced(cited.get(eventId))),
      removed: [],
    },
    currentState: 'last',
    arrives: { ourMembers },
  });
  return persisted.kind === 'conflict' ? undefined : persisted.events[0]?.position;
}

async function forgetBegun(ctx: RoomsContext, roomNid: number): Promise<void> {
  await ctx.db.write('rooms.forgetBegun', async (tx) => {
    await currentState.clear(tx, roomNid);
    await memberships.clearOthers(tx, roomNid, ctx.serverName);
  });
  ctx.rooms.dropJoinedServers(roomNid);
}

/**
 * True where the join stands upon events that we have. What the other server has not heard of yet, such as that others
 * of our users have just left, then stays a part of the room.
 */
async function leadsOn(ctx: RoomsContext, room: Room, join: VerifiedEvent): Promise<boolean> {
  if (join.prevEvents.length === 0) return false;
  const cited = await loadEvents(ctx, join.prevEvents);
  return join.prevEvents.every((eventId) => {
    const stored = cited.get(eventId);
    return stored?.roomNid === room.roomNid && isPlaced(stored);
  });
}

/**
 * True where the other server has not heard how our users left, since we were cut off from it: whatever has come after
 * such an event would cite it, so that it would be among what is told.
 */
async function haveUnheard(ctx: RoomsContext, room: Room, told: ToldState): Promise<boolean> {
  const { stateGroup } = await headOf(ctx, room.roomNid);
  const users = await roomMembers.ofServer(ctx.db, room.roomNid, ctx.serverName);
  for (const portion of portions(users, KEYS_AT_ONCE)) {
    // Portion by portion: a server may have thousands of users.
    const members = await stateOfGroup(ctx, stateGroup, portion.map(memberKey));
    const isUnheard = (stored: StoredEvent) =>
      isPlaced(stored) &&
      belongsTo(stored.event.sender, ctx.serverName) &&
      told.find(stored.event.eventId) === undefined;
    if (members.values().some(isUnheard)) return true;
  }
  return false;
}

function memberKey(userId: UserId) {
  return { type: 'm.room.member', stateKey: userId };
}

/**
 * The room is ours to follow already: another of our users was faster, or nothing is missing between; or some of it is
 * known only here.
 */
async function joinAsAnyEvent(ctx: RoomsContext, room: Room, from: Told): Promise<Adopted> {
  const { join, told } = from;
  const { ourMembers: stated } = await storeTold(ctx, room, { ...from, withCurrentState: false });
  const stateBefore: EventId[] = [];
  for (const number of from.state) if (number !== -1) stateBefore.push(told.idOf(number));
  const how = { as: 'live', stateBefore, isAdmitted: true } as const;
  const received = await receiveLocked(ctx, room, join, {
    ...how,
    ...(!(await isInRoom(ctx, room)) && { arrives: { ourMembers: await sameAsBefore(ctx, room, stated) } }),
  });
  if (received.kind === 'missing')
    return { kind: 'refused', reason: 'The join cites events that are not known' };
  const stored = (await loadEvents(ctx, [join.eventId])).get(join.eventId);
  const isJoined = await isJoinedBy(ctx, room, join);
  if (isJoined && stored?.position !== undefined) return { kind: 'joined', position: stored.position };
  return { kind: 'refused', reason: received.reason ?? 'The room does not allow the join' };
}

/** Of `otherwiseTold` those of whom the room said the same when we left: no change of its state will tell of them. */
async function sameAsBefore(
  ctx: RoomsContext,
  room: Room,
  stated: readonly memberships.NewMembership[],
): Promise<memberships.NewMembership[]> {
  const others = await otherwiseTold(ctx, stated);
  const { stateGroup } = await headOf(ctx, room.roomNid);
  const before = await stateOfGroup(
    ctx,
    stateGroup,
    others.map(({ userId }) => memberKey(userId)),
  );
  const nids = new Set(before.values().map(({ nid }) => nid));
  return others.filter(({ eventNid }) => nids.has(eventNid));
}

async function isJoinedBy(ctx: RoomsContext, room: Room, { stateKey }: VerifiedEvent): Promise<boolean> {
  const member = isUserId(stateKey) ? await memberships.of(ctx.db, room.roomNid, stateKey) : undefined;
  return member?.membership === 'join';
}

/** One line for a join, whatever its size. */
function logRejected(ctx: RoomsContext, join: Event, { rejected, firstRejected }: Judged): void {
  if (firstRejected === undefined) return;
  ctx.log.warn(
    { roomId: join.roomId, events: rejected, ...firstRejected },
    'events of the state of a joined room were rejected',
  );
}
