/** Joins, invitations and leaves of our users, wherever the room lives: in our own graph, or by way of others. */

import {
  belongsTo,
  isRoomAlias,
  type RoomAlias,
  type RoomId,
  type ServerName,
  serverNameOf,
  type UserId,
} from '#keys/ids.ts';
import type { JsonObject } from '#keys/json.ts';
import { canonicalContent } from '#rooms/build-event.ts';
import { carrySettingsOnJoin } from '#rooms/carry-settings.ts';
import { closedBecause } from '#rooms/closed-room.ts';
import type { RoomsContext } from '#rooms/context.ts';
import { loadNid } from '#rooms/load.ts';
import { changeMembership } from '#rooms/membership-local.ts';
import { authoriseRestrictedJoin } from '#rooms/restricted.ts';
import { getRoom, isInRoom, joinedServers, type Room } from '#rooms/room.ts';
import type { Sent } from '#rooms/send.ts';
import * as memberships from '#storage/memberships.ts';
import * as profiles from '#storage/profiles.ts';
import { roomWeAreIn } from './access.ts';
import type { FederationContext } from './context.ts';
import { resolveAlias } from './directory.ts';
import { inviteRemotely } from './handshakes/invite.ts';
import { joinRemotely } from './handshakes/join.ts';
import { whileJoining } from './handshakes/joins-under-way.ts';
import { leaveRemotely } from './handshakes/leave.ts';
import { candidatesOf, type HandshakeFailure } from './handshakes/template.ts';

export type MembershipResult =
  | { readonly kind: 'ok'; readonly roomId: RoomId }
  /** Content that cannot be in an event. */
  | { readonly kind: 'invalid'; readonly reason: string }
  | HandshakeFailure;

/** Room for the references, hashes and signatures around it. */
const MAX_CONTENT_BYTES = 50_000;

export interface Join {
  readonly userId: UserId;
  readonly roomIdOrAlias: RoomId | RoomAlias;
  /** Servers that may be in the room. */
  readonly via?: readonly ServerName[];
  readonly content?: JsonObject;
}

/** Joins one of our users to a room. To join again changes nothing. */
export async function join(ctx: FederationContext, wanted: Join): Promise<MembershipResult> {
  const result = await joinAnywhere(ctx, wanted);
  if (result.kind === 'ok') await carrySettingsOnJoin(ctx, wanted.userId, result.roomId);
  return result;
}

async function joinAnywhere(ctx: FederationContext, wanted: Join): Promise<MembershipResult> {
  const { userId, roomIdOrAlias, via = [], content = {} } = wanted;
  if (!fits(content)) return invalid;
  const resolved = isRoomAlias(roomIdOrAlias)
    ? await resolveAlias(ctx, roomIdOrAlias)
    : { roomId: roomIdOrAlias, servers: [] };
  if (resolved === undefined) return { kind: 'not_found', reason: 'The alias points to no room' };
  const { roomId } = resolved;
  const closed = await closedBecause(ctx, roomId);
  if (closed !== undefined) return { kind: 'forbidden', reason: closed };
  const room = await roomWeAreIn(ctx, roomId);
  if (room !== undefined && (await canLetIn(ctx, room, userId))) {
    return joinLocally(ctx, { roomId, userId, content });
  }
  const known = [...via, ...resolved.servers];
  return whileJoining(ctx, roomId, () => joinElsewhere(ctx, { roomId, userId, content, known }));
}

/** Under the lock of the room's joins. */
async function joinElsewhere(
  ctx: FederationContext,
  wanted: { roomId: RoomId; userId: UserId; content: JsonObject; known: readonly ServerName[] },
): Promise<MembershipResult> {
  const { roomId, userId } = wanted;
  // Another of our users may have been faster.
  const room = await roomWeAreIn(ctx, roomId);
  if (room !== undefined && (await canLetIn(ctx, room, userId))) return joinLocally(ctx, wanted);
  // Those that were there when we were, if we are no more.
  const known = await getRoom(ctx, roomId);
  const inRoom = known === undefined ? [] : await joinedServers(ctx, known.roomNid);
  const names = [...wanted.known, await inviterOf(ctx, roomId, userId), ...inRoom];
  const servers = candidatesOf(ctx.serverName, names, roomId);
  const { displayname, avatar_url } = await profiles.of(ctx.db, userId);
  const content = {
    ...(displayname !== undefined && { displayname }),
    ...(avatar_url !== undefined && { avatar_url }),
    ...wanted.content,
  };
  const joined = await joinRemotely(ctx, { roomId, userId, servers, content });
  return joined.kind === 'joined' ? { kind: 'ok', roomId } : joined;
}

async function joinLocally(
  ctx: FederationContext,
  { roomId, userId, content }: { roomId: RoomId; userId: UserId; content: JsonObject },
): Promise<MembershipResult> {
  const profile = await profiles.of(ctx.db, userId);
  const change = { roomId, sender: userId, target: userId, membership: 'join', content, profile } as const;
  return resultOf(await changeMembership(ctx, change), roomId);
}

/** False for a restricted room of which only another server can tell whether the user may join. */
async function canLetIn(ctx: FederationContext, room: Room, userId: UserId): Promise<boolean> {
  const { kind } = await authoriseRestrictedJoin(ctx, room, userId);
  if (kind !== 'unable_to_authorise' && kind !== 'unable_to_grant') return true;
  return (await joinedServers(ctx, room.roomNid)).length < 2;
}

/** Makes one of our users leave a room, or decline an invitation. */
export async function leave(
  ctx: FederationContext,
  { userId, roomId, reason }: { userId: UserId; roomId: RoomId; reason?: string | undefined },
): Promise<MembershipResult> {
  const content = reason === undefined ? {} : { reason };
  if (!fits(content)) return invalid;
  const room = await getRoom(ctx, roomId);
  if (room === undefined) return { kind: 'not_found', reason: 'Unknown room' };
  if (await isInRoom(ctx, room)) {
    const change = { roomId, sender: userId, target: userId, membership: 'leave', content } as const;
    return resultOf(await changeMembership(ctx, change), roomId);
  }
  const member = await memberships.of(ctx.db, room.roomNid, userId);
  if (member?.membership === 'leave') return { kind: 'ok', roomId };
  const invite = member?.membership === 'invite' ? await loadNid(ctx, member.eventNid) : undefined;
  if (invite === undefined) return { kind: 'forbidden', reason: 'The user is not in the room' };
  const servers = candidatesOf(ctx.serverName, [serverNameOf(invite.event.sender)], roomId);
  const { rules } = room;
  const declined = await leaveRemotely(ctx, { roomId, userId, content, rules, invite, servers });
  return declined ? { kind: 'ok', roomId } : { kind: 'forbidden', reason: 'The invitation is no more' };
}

/** Invites a user, of this server or another, to a room that this server is in. */
export async function invite(
  ctx: FederationContext,
  wanted: { sender: UserId; target: UserId; roomId: RoomId; content?: JsonObject },
): Promise<MembershipResult> {
  const { sender, target, roomId, content = {} } = wanted;
  if (!fits(content)) return invalid;
  const closed = await closedBecause(ctx, roomId);
  if (closed !== undefined) return { kind: 'forbidden', reason: closed };
  if (belongsTo(target, ctx.serverName)) {
    const profile = await profiles.of(ctx.db, target);
    const change = { roomId, sender, target, membership: 'invite', content, profile } as const;
    return resultOf(await changeMembership(ctx, change), roomId);
  }
  const room = await roomWeAreIn(ctx, roomId);
  if (room === undefined) return { kind: 'not_found', reason: 'Unknown room' };
  const invited = await inviteRemotely(ctx, { room, sender, target, content });
  return invited.kind === 'invited' ? { kind: 'ok', roomId } : invited;
}

/** The server of whoever invited the user to the room, where there is an invitation. */
export async function inviterOf(
  ctx: RoomsContext,
  roomId: RoomId,
  userId: UserId,
): Promise<ServerName | undefined> {
  const room = await getRoom(ctx, roomId);
  const member = room === undefined ? undefined : await memberships.of(ctx.db, room.roomNid, userId);
  const event = member?.membership === 'invite' ? await loadNid(ctx, member.eventNid) : undefined;
  return event === undefined ? undefined : serverNameOf(event.event.sender);
}

function resultOf(sent: Sent, roomId: RoomId): MembershipResult {
  switch (sent.kind) {
    case 'sent':
      return { kind: 'ok', roomId };
    case 'unknown_room':
      return { kind: 'not_found', reason: 'Unknown room' };
    case 'forbidden':
    case 'invalid':
      return sent;
    case 'duplicate_annotation':
    case 'bad_relation':
      return { kind: 'invalid', reason: sent.reason };
  }
}

function fits(content: JsonObject): boolean {
  const text = canonicalContent(content)?.text;
  return text !== undefined && Buffer.byteLength(text) <= MAX_CONTENT_BYTES;
}

const invalid: MembershipResult = {
  kind: 'invalid',
  reason: 'The content cannot be in an event: it is too large, or not canonical JSON',
};
