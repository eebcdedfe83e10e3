/** Which state of a room a user may read: that of now, or that of when they left. */

import { forbidden } from '#federation/errors.ts';
import type { UserId } from '#keys/ids.ts';
import { stringAt } from '#keys/json.ts';
import { membershipOf } from '#rooms/event.ts';
import { loadNid } from '#rooms/load.ts';
import { getRoom, type Room } from '#rooms/room.ts';
import {
  currentState,
  currentStateEvent,
  currentStateEvents,
  currentStateOfType,
  stateAt,
} from '#rooms/state.ts';
import type { StoredEvent } from '#rooms/stored-event.ts';
import * as memberships from '#storage/memberships.ts';
import type { StateKey } from '#storage/state-keys.ts';
import type { ServerContext } from '../context.ts';
import { roomIdParam } from '../room-params.ts';

/** How many changes of a membership are looked through for the last time that the user was in the room. */
const MOST_CHANGES = 50;

export interface ReadableRoom {
  readonly room: Room;
  /** The event by which the user left; undefined for one who sees the state of now. */
  readonly left: StoredEvent | undefined;
}

/**
 * The room as far as a user may read its state: "If the user has left the room then the state is taken from the
 * state of the room when they left." Throws `M_FORBIDDEN`.
 */
export async function readableRoom(
  ctx: ServerContext,
  userId: UserId,
  roomId: string,
): Promise<ReadableRoom> {
  const readable = await findReadableRoom(ctx, userId, roomId);
  if (readable === undefined) throw forbidden('You are not in this room');
  return readable;
}

/** The same; undefined where there is nothing to read for the user. */
export async function findReadableRoom(
  ctx: ServerContext,
  userId: UserId,
  roomId: string,
): Promise<ReadableRoom | undefined> {
  const room = await getRoom(ctx, roomIdParam(roomId));
  const member = room && (await memberships.of(ctx.db, room.roomNid, userId));
  if (room !== undefined && member?.membership === 'join') return { room, left: undefined };
  if (room !== undefined && (await isWorldReadable(ctx, room))) return { room, left: undefined };
  const left = member === undefined || member.forgotten ? undefined : await lastLeaving(ctx, member);
  return room === undefined || left === undefined ? undefined : { room, left };
}

/** The readable state: all of it. */
export async function readableState(
  ctx: ServerContext,
  { room, left }: ReadableRoom,
): Promise<StoredEvent[]> {
  return left === undefined ? currentState(ctx, room.roomNid) : stateAt(ctx, left, 'after');
}

/** The readable state under some keys. */
export async function readableStateEvents(
  ctx: ServerContext,
  { room, left }: ReadableRoom,
  keys: readonly StateKey[],
): Promise<StoredEvent[]> {
  return left === undefined ? currentStateEvents(ctx, room.roomNid, keys) : stateAt(ctx, left, 'after', keys);
}

/** The members in the readable state. */
export async function readableMembers(
  ctx: ServerContext,
  { room, left }: ReadableRoom,
): Promise<StoredEvent[]> {
  const type = 'm.room.member';
  if (left === undefined) return currentStateOfType(ctx, room.roomNid, type);
  return (await stateAt(ctx, left, 'after')).filter(({ event }) => event.type === type);
}

/** True where anybody may read the room, by its state of now. */
export async function isWorldReadable(ctx: ServerContext, { roomNid }: Room): Promise<boolean> {
  const stored = await currentStateEvent(ctx, roomNid, 'm.room.history_visibility', '');
  return stored !== undefined && stringAt(stored.event.content, 'history_visibility') === 'world_readable';
}

/**
 * The event by which a user last left, whatever invitations, refusals or bans came since; undefined for one who was
 * never in the room.
 */
async function lastLeaving(
  ctx: ServerContext,
  member: memberships.MembershipRow,
): Promise<StoredEvent | undefined> {
  let stored = await loadNid(ctx, member.eventNid);
  // One after the other: each event leads to the one before it. Mostly the first step ends it.
  for (let changes = 0; changes < MOST_CHANGES && stored !== undefined; changes++) {
    const { type, stateKey = '' } = stored.event;
    const [before]: StoredEvent[] = await stateAt(ctx, stored, 'before', [{ type, stateKey }]);
    if (before !== undefined && membershipOf(before.event) === 'join') return stored;
    stored = before;
  }
  return undefined;
}
