import type { ServerName, UserId } from '#keys/ids.ts';
import { stringAt } from '#keys/json.ts';
import * as memberships from '#storage/memberships.ts';
import * as roomMembers from '#storage/room-members.ts';
import { type AuthState, authStateOf } from '../auth/check.ts';
import { isFederated } from '../auth/federate.ts';
import { allowsKnocks, allowsRestrictedJoins, joinRuleOf } from '../auth/member.ts';
import type { RoomsContext } from '../context.ts';
import { isMemberOfAny, meetsCondition } from '../restricted.ts';
import { getRoom, type Room } from '../room.ts';
import { isServerAllowed } from '../server-acl.ts';
import { currentStateEvents } from '../state.ts';
import type { Viewer } from '../visibility.ts';
import type { ToldRoom } from './told-room.ts';

/** How somebody who may know of a room could come to read it. */
export type RoomAccess = 'joined' | 'joinable' | 'knockable' | 'readable';

/**
 * How a user could come to read a room that this server is in; undefined where they could not, and therefore are not
 * to know of it. Without a user: how anybody could. The conditions are those of
 * https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidhierarchy
 */
export async function accessOf(
  ctx: RoomsContext,
  room: Room,
  viewer: { readonly userId: UserId } | undefined,
): Promise<RoomAccess | undefined> {
  const access = await judge(ctx, room, await accessState(ctx, room), viewer);
  return access === 'unknown' ? undefined : access;
}

/**
 * The same for the users of a server; `unknown` where they could come in if they are in a room that we are not in. One
 * that the room's access control list keeps out, or that is not to be in the room at all, has no access.
 */
export async function accessOfServer(
  ctx: RoomsContext,
  room: Room,
  server: ServerName,
): Promise<RoomAccess | 'unknown' | undefined> {
  const state = await accessState(ctx, room);
  if (!isServerAllowed(state.get('m.room.server_acl', ''), server)) return undefined;
  if (!isFederated(state.get('m.room.create', '')?.content ?? {})) return undefined;
  return judge(ctx, room, state, { server });
}

/**
 * How a user, or anybody, could come to read a room that this server is not in, by what another server says of it.
 * What was said to this server is not for each of its users.
 */
export async function accessByWord(
  ctx: RoomsContext,
  told: ToldRoom,
  viewer: { readonly userId: UserId } | undefined,
): Promise<RoomAccess | undefined> {
  const room = await getRoom(ctx, told.room_id);
  const member =
    room === undefined || viewer === undefined
      ? undefined
      : await memberships.of(ctx.db, room.roomNid, viewer.userId);
  if (member?.membership === 'ban') return undefined;
  if (member?.membership === 'invite') return 'joinable';
  const allowed = told.allowed_room_ids ?? [];
  // "When not present, the room is assumed to be `public`."
  const joinRule = told.join_rule ?? 'public';
  if (joinRule === 'public') return 'joinable';
  if (viewer !== undefined && (await isMemberOfAny(ctx, allowed, viewer)) === 'yes') return 'joinable';
  if (joinRule === 'knock' || joinRule === 'knock_restricted') return 'knockable';
  return told.world_readable ? 'readable' : undefined;
}

function accessState(ctx: RoomsContext, room: Room): Promise<AuthState> {
  const types = ['m.room.create', 'm.room.join_rules', 'm.room.history_visibility', 'm.room.server_acl'];
  const keys = types.map((type) => ({ type, stateKey: '' }));
  return currentStateEvents(ctx, room.roomNid, keys).then((stored) =>
    authStateOf(stored.map(({ event }) => event)),
  );
}

async function judge(
  ctx: RoomsContext,
  room: Room,
  state: AuthState,
  viewer: Viewer | undefined,
): Promise<RoomAccess | 'unknown' | undefined> {
  const membership = viewer === undefined ? undefined : await membershipOf(ctx, room.roomNid, viewer);
  if (membership === 'ban') return undefined;
  // "The requesting user is currently a member (their room membership is `join`)."
  if (membership === 'join') return 'joined';
  // "The user's room membership is `invite`."
  if (membership === 'invite') return 'joinable';
  const joinRule = joinRuleOf(state);
  // "The room's join rules are set to `public`."
  if (joinRule === 'public') return 'joinable';
  // "The room's join rules are set to `restricted`, provided the user meets one of the specified conditions."
  const isRestricted = viewer !== undefined && allowsRestrictedJoins(joinRule, room.rules);
  const joinRules = state.get('m.room.join_rules', '');
  const verdict = isRestricted ? await meetsCondition(ctx, joinRules, viewer) : 'no';
  if (verdict === 'yes') return 'joinable';
  // "The room is 'knockable' [...] in a room version that supports those settings."
  if (allowsKnocks(joinRule, room.rules)) return 'knockable';
  // "The room's `m.room.history_visibility` is set to `world_readable`."
  const visibility = state.get('m.room.history_visibility', '');
  const isOpen = stringAt(visibility?.content ?? {}, 'history_visibility') === 'world_readable';
  if (isOpen) return 'readable';
  return verdict === 'unknown' ? 'unknown' : undefined;
}

async function membershipOf(
  ctx: RoomsContext,
  roomNid: number,
  viewer: Viewer,
): Promise<memberships.Membership | undefined> {
  if ('userId' in viewer) return (await memberships.of(ctx.db, roomNid, viewer.userId))?.membership;
  if (await memberships.serverIsIn(ctx.db, roomNid, viewer.server)) return 'join';
  return (await roomMembers.serverIsInvited(ctx.db, roomNid, viewer.server)) ? 'invite' : undefined;
}
