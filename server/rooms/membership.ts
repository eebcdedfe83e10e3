/** Joins, knocks, leaves and invitations of our users, wherever the room is; what is refused is thrown as the client's error. */

import {
  badJson,
  handshakeRefused,
  invalidParam,
  notFound,
  unsupportedRoomVersion,
} from '#federation/errors.ts';
import { invite, type Join, join, knock, leave, type MembershipResult } from '#federation/membership.ts';
import { ownUser } from '#federation/own-user.ts';
import {
  belongsTo,
  isRoomAlias,
  isRoomId,
  type RoomAlias,
  type RoomId,
  type ServerName,
  type UserId,
} from '#keys/ids.ts';
import type { JsonObject } from '#keys/json.ts';
import type { MemberProfile } from '#rooms/membership-local.ts';
import * as profiles from '#storage/profiles.ts';
import { refuseOutsider, refuseTooMany } from '../appservices/restraint.ts';
import type { ServerContext } from '../context.ts';

/** A room that a user wants to get into. */
export interface WantedRoom {
  /** An id or an alias. */
  readonly room: string;
  readonly via: readonly ServerName[];
  readonly content: JsonObject;
  readonly originServerTs?: number | undefined;
  readonly thirdPartySigned?: Join['thirdPartySigned'];
}

/** Joins a user to a room; answers its id. */
export async function joinRoom(ctx: ServerContext, userId: UserId, wanted: WantedRoom): Promise<RoomId> {
  const { room, ...rest } = wanted;
  await refuseTooMany(ctx, room, { by: userId, who: userId });
  return roomIdOf(await join(ctx, { userId, roomIdOrAlias: roomIdOrAlias(room), ...rest }));
}

/** Asks for a user to be let into a room; answers its id. */
export async function knockOnRoom(ctx: ServerContext, userId: UserId, wanted: WantedRoom): Promise<RoomId> {
  const { room, via, content } = wanted;
  return roomIdOf(await knock(ctx, { userId, roomIdOrAlias: roomIdOrAlias(room), via, content }));
}

/** Takes a user out of a room, declines an invitation, or takes back a knock. */
export async function leaveRoom(
  ctx: ServerContext,
  userId: UserId,
  { roomId, reason }: { readonly roomId: RoomId; readonly reason: string | undefined },
): Promise<void> {
  roomIdOf(await leave(ctx, { userId, roomId, reason }));
}

/** Invites a user, of this server or another. */
export async function inviteUser(
  ctx: ServerContext,
  sender: UserId,
  wanted: {
    readonly roomId: RoomId;
    readonly target: UserId;
    readonly content: JsonObject;
    readonly originServerTs?: number | undefined;
  },
): Promise<void> {
  await refuseOutsider(ctx, wanted.roomId, wanted.target);
  await refuseTooMany(ctx, wanted.roomId, { by: sender, who: wanted.target });
  const result = await invite(ctx, { sender, ...wanted });
  // "One or more users being invited to the room are residents of a homeserver which does not support the requested
  // room version. The `errcode` will be `M_UNSUPPORTED_ROOM_VERSION` in these cases."
  if (result.kind === 'incompatible') throw unsupportedRoomVersion(result.roomVersion, result.reason);
  roomIdOf(result);
}

/** Invites somebody by a user id that is perhaps nobody's. */
export async function inviteOther(
  ctx: ServerContext,
  sender: UserId,
  wanted: { readonly roomId: RoomId; readonly target: UserId; readonly content: JsonObject },
): Promise<void> {
  const { target } = wanted;
  ctx.limits.take('invite_user', target, sender);
  if (belongsTo(target, ctx.serverName) && (await ownUser(ctx, target)) === undefined) {
    throw notFound('There is no such user');
  }
  await inviteUser(ctx, sender, wanted);
}

/** The profile of one of our users, for a member event. */
export async function memberProfile(ctx: ServerContext, userId: UserId): Promise<MemberProfile> {
  const { displayname, avatar_url } = await profiles.of(ctx.db, userId);
  return { displayname, avatar_url };
}

function roomIdOrAlias(text: string): RoomId | RoomAlias {
  if (isRoomId(text) || isRoomAlias(text)) return text;
  throw invalidParam('Neither a room ID nor a room alias');
}

function roomIdOf(result: MembershipResult): RoomId {
  if (result.kind === 'ok') return result.roomId;
  throw result.kind === 'invalid' ? badJson(result.reason) : handshakeRefused(result);
}
