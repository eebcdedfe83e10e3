/**
 * Memberships of our users in rooms that the server is not in: invitations, knocks, and their end. Such an event has
 * no place in the graph, which we do not have.
 */

import { type EventId, isUserId, type ServerName, serverNameOf, type UserId } from '#keys/ids.ts';
import type { JsonObject } from '#keys/json.ts';
import * as arrivals from '#storage/arrivals.ts';
import type { Tx } from '#storage/database.ts';
import * as events from '#storage/events.ts';
import * as invites from '#storage/invites.ts';
import * as memberships from '#storage/memberships.ts';
import { closedBecause } from './closed-room.ts';
import type { RoomsContext } from './context.ts';
import type { Event } from './event.ts';
import { loadEvent, loadNid } from './load.ts';
import { newOutlier } from './persist.ts';
import { membershipRowOf } from './persist-state.ts';
import { ID_TAKEN } from './receive.ts';
import { getRoom, isInRoom, makeKnown, type Room } from './room.ts';
import { currentStateEvent } from './state.ts';
import type { VerifiedEvent } from './verified-event.ts';
import type { RoomVersionRules } from './versions.ts';

export type OutOfBand =
  | { readonly kind: 'recorded'; readonly position: number }
  /** The server is in the room, where it belongs. */
  | { readonly kind: 'in_room' }
  /** It is no membership of one of our users, or not of a room of this version, or there is nothing to end. */
  | { readonly kind: 'refused'; readonly reason: string };

export interface OutOfBandInvite {
  readonly rules: RoomVersionRules;
  readonly invite: VerifiedEvent;
  /** `invite_room_state`; the invitation is added to it here. */
  readonly strippedState: readonly JsonObject[];
}

/** Records the invitation of one of our users to a room that the server is not in. */
export function adoptInvite(
  ctx: RoomsContext,
  { rules, invite, strippedState }: OutOfBandInvite,
): Promise<OutOfBand> {
  return adoptMembership(ctx, { rules, member: invite, strippedState, via: serverNameOf(invite.sender) });
}

export interface OutOfBandKnock {
  readonly rules: RoomVersionRules;
  readonly knock: VerifiedEvent;
  /** `knock_room_state`; the knock is added to it here. */
  readonly strippedState: readonly JsonObject[];
  /** The server that took the knock. */
  readonly via: ServerName;
}

/**
 * Records the knock of one of our users on a room that the server is not in. Where it was answered by an invitation
 * before it was recorded, that stands.
 */
export function adoptKnock(
  ctx: RoomsContext,
  { rules, knock, strippedState, via }: OutOfBandKnock,
): Promise<OutOfBand> {
  return adoptMembership(ctx, { rules, member: knock, strippedState, via }, async (before) => {
    const answer = await loadNid(ctx, before.eventNid);
    return answer?.event.authEvents.includes(knock.eventId) === true;
  });
}

/** `isAnswered`: whether the membership that is there already says more than the one to be recorded. */
function adoptMembership(
  ctx: RoomsContext,
  {
    rules,
    member,
    strippedState,
    via,
  }: {
    readonly rules: RoomVersionRules;
    readonly member: VerifiedEvent;
    readonly strippedState: readonly JsonObject[];
    readonly via: ServerName | undefined;
  },
  isAnswered?: (before: memberships.MembershipRow) => Promise<boolean>,
): Promise<OutOfBand> {
  return ctx.roomLocks.run(member.roomId, async () => {
    const target = ourUser(ctx, member);
    if (target === undefined) return refused('The user is not of this server');
    const closed = await closedBecause(ctx, member.roomId);
    if (closed !== undefined) return refused(closed);
    const known = await makeKnown(ctx, member.roomId, rules);
    if (known !== undefined && (await isInRoom(ctx, known))) return { kind: 'in_room' };
    const before = known && (await memberships.of(ctx.db, known.roomNid, target));
    if (before !== undefined && (await isAnswered?.(before)) === true) {
      return { kind: 'recorded', position: before.position };
    }
    const state = [...strippedState.filter((event) => !isMemberOf(event, target)), stripped(member)];
    return record(ctx, rules, member, (tx, room) => invites.set(tx, room.roomNid, target, { state, via }));
  });
}

export interface OutOfBandLeave {
  readonly rules: RoomVersionRules;
  readonly leave: VerifiedEvent;
  /** The invitation or knock that it ends. Where another has come meanwhile that it does not name, that stands. */
  readonly ended: EventId;
}

/**
 * Records that one of our users declined an invitation or took back a knock, or that the room did, in a room that the
 * server is not in, or that has not heard of it.
 */
export function recordOutOfBandLeave(
  ctx: RoomsContext,
  { rules, leave, ended }: OutOfBandLeave,
): Promise<OutOfBand> {
  return ctx.roomLocks.run(leave.roomId, async () => {
    const target = ourUser(ctx, leave);
    if (target === undefined) return refused('The user is not of this server');
    const room = await getRoom(ctx, leave.roomId);
    const before = room && (await memberships.of(ctx.db, room.roomNid, target));
    if (room === undefined || before === undefined) return refused('The user has no membership of the room');
    if ((await isInRoom(ctx, room)) && (await isInState(ctx, room, before))) return { kind: 'in_room' };
    const lastId = (await loadNid(ctx, before.eventNid))?.event.eventId ?? ended;
    if (lastId !== ended && !leave.authEvents.includes(lastId)) {
      return { kind: 'recorded', position: before.position };
    }
    return record(ctx, rules, leave, (tx, { roomNid }) => invites.remove(tx, roomNid, target));
  });
}

/** True where a user is invited, or has knocked, and the room that the server is in has not heard of it. */
export async function isUnheard(ctx: RoomsContext, room: Room, userId: UserId): Promise<boolean> {
  const member = await memberships.of(ctx.db, room.roomNid, userId);
  if (member?.membership !== 'invite' && member?.membership !== 'knock') return false;
  return !(await isInState(ctx, room, member));
}

async function isInState(
  ctx: RoomsContext,
  room: Room,
  { userId, eventNid }: memberships.MembershipRow,
): Promise<boolean> {
  return (await currentStateEvent(ctx, room.roomNid, 'm.room.member', userId))?.nid === eventNid;
}

async function record(
  ctx: RoomsContext,
  rules: RoomVersionRules,
  event: VerifiedEvent,
  beside: (tx: Tx, room: Room) => Promise<void>,
): Promise<OutOfBand> {
  const room = await getRoom(ctx, event.roomId);
  if (room?.rules.version !== rules.version) return refused('The room is known by another room version');
  const stored = await loadEvent(ctx, event.eventId);
  if (stored !== undefined && stored.roomNid !== room.roomNid) return refused(ID_TAKEN);
  const row = newOutlier(ctx, room, event);
  return ctx.db.write('rooms.outOfBand', async (tx) => {
    await events.insertOutliers(tx, [row]);
    const eventNid = (await events.nidsOf(tx, [event.eventId])).get(event.eventId);
    if (eventNid === undefined) throw new Error('a stored event has no numeric id');
    await beside(tx, room);
    const position = ctx.streams.allocate(tx, ['events', `room:${room.roomId}`, `user:${event.stateKey}`]);
    // It has no place among the events; who follows them all, as application services do, finds it by this.
    await arrivals.addHistory(tx, { arrived: position, nid: eventNid });
    const membership = membershipRowOf(room.roomNid, { event, eventNid, position });
    if (membership === undefined) return refused('The event is no membership');
    await memberships.set(tx, membership);
    return { kind: 'recorded', position };
  });
}

function ourUser(ctx: RoomsContext, { type, stateKey }: Event): UserId | undefined {
  if (type !== 'm.room.member' || !isUserId(stateKey)) return undefined;
  return serverNameOf(stateKey) === ctx.serverName ? stateKey : undefined;
}

function isMemberOf(event: JsonObject, userId: UserId): boolean {
  return event.type === 'm.room.member' && event.state_key === userId;
}

/** https://spec.matrix.org/v1.19/client-server-api/#stripped-state */
function stripped({ type, stateKey, sender, content }: Event): JsonObject {
  return { type, state_key: stateKey ?? '', sender, content };
}

function refused(reason: string): OutOfBand {
  return { kind: 'refused', reason };
}
