/** What names are reserved for, and what the operator's policy keeps application services from. */

import { exclusive, forbidden } from '#federation/errors.ts';
import {
  belongsTo,
  isRoomAlias,
  isRoomId,
  isUserId,
  type RoomAlias,
  type RoomId,
  type UserId,
} from '#keys/ids.ts';
import { type JsonObject, own, stringAt } from '#keys/json.ts';
import { isFederated } from '#rooms/auth/federate.ts';
import type { RoomsContext } from '#rooms/context.ts';
import type { NewRoom } from '#rooms/create-room.ts';
import { getRoom, type Room } from '#rooms/room.ts';
import { currentStateEvent } from '#rooms/state.ts';
import * as aliases from '#storage/aliases.ts';
import * as memberships from '#storage/memberships.ts';
import * as roomDirectory from '#storage/room-directory.ts';
import type { Requester } from '../auth/sessions.ts';
import type { ServerContext } from '../context.ts';
import type { Appservice } from './appservice.ts';

type MembersContext = RoomsContext & Pick<ServerContext, 'appservices'>;
type RestraintContext = Pick<ServerContext, 'appservices' | 'serverName'>;

/**
 * "An exclusive namespace prevents humans and other application services from creating/deleting entities in that
 * namespace"; and a service that acts "*outside* of their defined namespaces [...] will receive an error code
 * `M_EXCLUSIVE`".
 */
export function refuseAlias(ctx: RestraintContext, { appservice }: Requester, alias: RoomAlias): void {
  if (!belongsTo(alias, ctx.serverName)) return;
  const owner = ctx.appservices.exclusiveOwnerOfAlias(alias);
  if (owner !== undefined && owner !== appservice) {
    throw exclusive('The alias is reserved by an application service');
  }
  if (appservice !== undefined && appservice.belongingOfAlias(alias) === 'none') {
    throw exclusive('The alias is not in a namespace of the application service');
  }
}

/** A room as the policy of the service allows its users to make one; throws where it cannot be so. */
export function restrainedRoom(ctx: RestraintContext, room: NewRoom): NewRoom {
  const service = ctx.appservices.exclusiveOwnerOf(room.creator);
  if (service === undefined) return room;
  const { federation, publicRooms, maxMembers } = service.policy;
  if (!publicRooms) refusePublic(room);
  if (maxMembers !== undefined && (room.invite?.length ?? 0) + 1 > maxMembers) throw tooMany(maxMembers);
  if (federation) return room;
  const { creationContent = {} } = room;
  const isOpen = own(creationContent, 'm.federate') === true;
  if (isOpen || room.invite?.some((userId) => !belongsTo(userId, ctx.serverName)) === true)
    throw noFederation();
  return { ...room, creationContent: { ...creationContent, 'm.federate': false } };
}

/** Throws where a state event would make a room public, and the policy of its sender's service forbids that. */
export function refusePublicState(
  ctx: RestraintContext,
  sender: UserId,
  event: { readonly type: string; readonly content: JsonObject },
): void {
  if (isOpening(event) && ctx.appservices.exclusiveOwnerOf(sender)?.policy.publicRooms === false) {
    throw noPublicRooms();
  }
}

/** Throws where the room that replaces another would be one that the policy of its maker's service forbids. */
export async function refuseReplacement(ctx: MembersContext, sender: UserId, old: Room): Promise<void> {
  const policy = ctx.appservices.exclusiveOwnerOf(sender)?.policy;
  if (policy === undefined) return;
  const { roomNid } = old;
  const create = await currentStateEvent(ctx, roomNid, 'm.room.create', '');
  if (!policy.federation && create !== undefined && isFederated(create.event.content)) throw noFederation();
  if (policy.publicRooms) return;
  for (const type of OPENING_TYPES) {
    // Two of them.
    const stored = await currentStateEvent(ctx, roomNid, type, '');
    if (stored !== undefined && isOpening(stored.event)) throw noPublicRooms();
  }
  if (await roomDirectory.isPublished(ctx.db, roomNid)) throw noPublicRooms();
}

/** Throws where a user may not put a room into the directory. */
export function refusePublishing(ctx: RestraintContext, sender: UserId): void {
  if (ctx.appservices.exclusiveOwnerOf(sender)?.policy.publicRooms === false) throw noPublicRooms();
}

/**
 * Throws where one more member is one too many: in a room (an id or an alias) that a service has made, or into which one of its users goes
 * or invites.
 */
export async function refuseTooMany(
  ctx: MembersContext,
  room: string,
  wanted: { readonly by: UserId; readonly who: UserId },
): Promise<void> {
  const cap = await capOn(ctx, room, wanted);
  if (cap !== undefined) throw tooMany(cap);
}

/** Throws where a user of another server is invited into a room of a service whose rooms are for this server alone. */
export async function refuseOutsider(ctx: MembersContext, roomId: RoomId, who: UserId): Promise<void> {
  if (belongsTo(who, ctx.serverName) || ctx.appservices.all().every(({ policy }) => policy.federation))
    return;
  const room = await getRoom(ctx, roomId);
  const create = room && (await currentStateEvent(ctx, room.roomNid, 'm.room.create', ''));
  const maker = create && ctx.appservices.exclusiveOwnerOf(create.event.sender);
  if (maker?.policy.federation === false) throw noFederation();
}

/** The number of members above which one more would come; undefined where they may come. */
async function capOn(
  ctx: MembersContext,
  room: string,
  { by, who }: { readonly by: UserId; readonly who: UserId },
): Promise<number | undefined> {
  if (ctx.appservices.all().every(({ policy }) => policy.maxMembers === undefined)) return undefined;
  const roomId = isRoomAlias(room) ? (await aliases.get(ctx.db, room))?.roomId : room;
  const known = isRoomId(roomId) ? await getRoom(ctx, roomId) : undefined;
  if (known === undefined) return undefined;
  const { roomNid } = known;
  const create = await currentStateEvent(ctx, roomNid, 'm.room.create', '');
  const caps = [by, create?.event.sender]
    .filter((userId) => userId !== undefined)
    .map((userId) => ctx.appservices.exclusiveOwnerOf(userId)?.policy.maxMembers)
    .filter((cap) => cap !== undefined);
  if (caps.length === 0) return undefined;
  const membership = (await memberships.of(ctx.db, roomNid, who))?.membership;
  if (membership === 'join' || (membership === 'invite' && by !== who)) return undefined;
  const { joined, invited } = await memberships.countsIn(ctx.db, roomNid);
  // Who was invited has a place already.
  const taken = joined + invited - (membership === 'invite' ? 1 : 0);
  const cap = Math.min(...caps);
  return taken + 1 > cap ? cap : undefined;
}

/** Throws where a user name is a service's alone. */
export function refuseReserved(ctx: RestraintContext, userId: UserId): void {
  if (isReserved(ctx, userId)) throw exclusive('The user name is reserved by an application service');
}

/** True for the service's own user ids, which nobody else may register. */
export function isReserved({ appservices }: RestraintContext, userId: string, by?: Appservice): boolean {
  const owner = isUserId(userId) ? appservices.exclusiveOwnerOf(userId) : undefined;
  return owner !== undefined && owner !== by;
}

function refusePublic({ visibility, preset, initialState = [] }: NewRoom): void {
  const isPreset = preset === 'public_chat' || (preset === undefined && visibility === 'public');
  const opens = (initialState as readonly unknown[]).some(
    (event) =>
      typeof event === 'object' &&
      event !== null &&
      isOpening(event as { type?: unknown; content?: unknown }),
  );
  if (visibility === 'public' || isPreset || opens) throw noPublicRooms();
}

/** That guests may join says nothing where nobody may join without being invited: so it is in all private rooms. */
const OPENING_TYPES = ['m.room.join_rules', 'm.room.history_visibility'];

function isOpening({ type, content }: { readonly type?: unknown; readonly content?: unknown }): boolean {
  if (typeof content !== 'object' || content === null) return false;
  const object = content as JsonObject;
  if (type === 'm.room.join_rules') return stringAt(object, 'join_rule') === 'public';
  if (type === 'm.room.guest_access') return stringAt(object, 'guest_access') === 'can_join';
  return type === 'm.room.history_visibility' && stringAt(object, 'history_visibility') === 'world_readable';
}

function noFederation() {
  return forbidden('The policy of this service allows no federation of its rooms');
}

function noPublicRooms() {
  return forbidden('The policy of this service allows no public rooms');
}

function tooMany(cap: number) {
  return forbidden(`The policy of this service allows ${cap} members in a room`);
}
