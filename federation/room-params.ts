/** What the routes of rooms have in common: ids in paths, and which rooms a server may name. */

import {
  type EventId,
  isEventId,
  isRoomId,
  isUserId,
  type RoomId,
  type ServerName,
  type UserId,
} from '#keys/ids.ts';
import type { Room } from '#rooms/room.ts';
import { isAllowedByAcl, roomSharedWith, roomWeAreIn } from './access.ts';
import type { FederationContext } from './context.ts';
import { forbidden, invalidParam, notFound } from './errors.ts';

export function roomIdParam(text: string): RoomId {
  if (!isRoomId(text)) throw invalidParam('Not a room id');
  return text;
}

export function eventIdParam(text: string): EventId {
  if (!isEventId(text)) throw invalidParam('Not an event id');
  return text;
}

export function userIdParam(text: string): UserId {
  if (!isUserId(text)) throw invalidParam('Not a user id');
  return text;
}

/** The room, for a server that wants to get in or out: 404 where we are not in it, 403 by its access control list. */
export async function residentRoom(
  ctx: FederationContext,
  origin: ServerName,
  roomIdText: string,
): Promise<Room> {
  const room = await roomWeAreIn(ctx, roomIdParam(roomIdText));
  if (room === undefined) throw notFound('This server is not in the room');
  if (!(await isAllowedByAcl(ctx, room, origin))) throw deniedByAcl();
  return room;
}

/** The room, for a server that is in it too: 403 for every other one, and for rooms that do not exist. */
export async function sharedRoom(
  ctx: FederationContext,
  origin: ServerName,
  roomIdText: string,
): Promise<Room> {
  const room = await roomSharedWith(ctx, origin, roomIdParam(roomIdText));
  if (room === undefined) throw forbidden('The server is not in the room');
  return room;
}

/** The one answer for an event that is not there, is of another room, or is not for this server. */
export function noSuchEvent(): Error {
  return notFound('Event not found');
}

function deniedByAcl(): Error {
  return forbidden('The server is denied access to the room');
}
