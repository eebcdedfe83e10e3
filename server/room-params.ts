/** Room and user ids of request paths, checked once for all routes. */

import { forbidden, invalidParam, notFound } from '#federation/errors.ts';
import {
  type EventId,
  isEventId,
  isRoomId,
  isServerName,
  isUserId,
  type RoomId,
  type ServerName,
  type UserId,
} from '#keys/ids.ts';
import type { RoomsContext } from '#rooms/context.ts';
import { getRoom, type Room } from '#rooms/room.ts';
import * as memberships from '#storage/memberships.ts';
import { type Query, queryList } from './query.ts';

const MOST_SERVERS = 20;

/** The room id of a path or body; throws `M_INVALID_PARAM`. */
export function roomIdParam(value: string): RoomId {
  if (!isRoomId(value)) throw invalidParam('Not a room ID');
  return value;
}

/** The event id of a path or body; throws `M_INVALID_PARAM`. */
export function eventIdParam(value: string): EventId {
  if (!isEventId(value) || value.includes('\0')) throw invalidParam('Not an event ID');
  return value;
}

/** The user id of a path or body; throws `M_INVALID_PARAM`. */
export function userIdParam(value: string): UserId {
  if (!isUserId(value)) throw invalidParam('Not a user ID');
  return value;
}

/** The servers that a client knows to be in a room. "via" took the place of "server_name"; older clients send that. */
export function viaOf(query: Query): ServerName[] {
  const via = new Set([...queryList(query, 'via'), ...queryList(query, 'server_name')]);
  const servers = [...via].slice(0, MOST_SERVERS);
  if (!servers.every(isServerName)) throw invalidParam('via is not a server name');
  return servers;
}

/** The room that a user is joined to; throws `M_FORBIDDEN` alike for an unknown room and for another's. */
export async function joinedRoom(ctx: RoomsContext, userId: UserId, roomId: string): Promise<Room> {
  const room = await findJoinedRoom(ctx, userId, roomId);
  if (room === undefined) throw forbidden('You are not in this room');
  return room;
}

/** `joinedRoom` where the answer for what is not there is `M_NOT_FOUND`. */
export async function joinedRoomOrNotFound(ctx: RoomsContext, userId: UserId, roomId: string): Promise<Room> {
  const room = await findJoinedRoom(ctx, userId, roomId);
  if (room === undefined) throw notFound('Event not found');
  return room;
}

async function findJoinedRoom(ctx: RoomsContext, userId: UserId, roomId: string): Promise<Room | undefined> {
  const room = await getRoom(ctx, roomIdParam(roomId));
  const membership = room && (await memberships.of(ctx.db, room.roomNid, userId));
  return membership?.membership === 'join' ? room : undefined;
}
