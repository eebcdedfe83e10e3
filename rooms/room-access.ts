import { stringAt } from '#keys/json.ts';
import * as memberships from '#storage/memberships.ts';
import * as roomMembers from '#storage/room-members.ts';
import { authStateOf } from './auth/check.ts';
import { allowsKnocks, allowsRestrictedJoins, joinRuleOf } from './auth/member.ts';
import type { RoomsContext } from './context.ts';
import { meetsCondition } from './restricted.ts';
import type { Room } from './room.ts';
import { currentStateEvents } from './state.ts';
import type { Viewer } from './visibility.ts';

/** How somebody who may know of a room could come to read it. */
export type RoomAccess = 'joined' | 'joinable' | 'knockable' | 'readable';

/**
 * How a user, or any user of a server, could come to read a room that this server is in; undefined where they could
 * not, and therefore are not to know of it. The conditions are those of
 * https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidhierarchy
 */
export async function accessOf(
  ctx: RoomsContext,
  room: Room,
  viewer: Viewer,
): Promise<RoomAccess | undefined> {
  const membership = await membershipOf(ctx, room.roomNid, viewer);
  if (membership === 'ban') return undefined;
  // "The requesting user is currently a member (their room membership is `join`)."
  if (membership === 'join') return 'joined';
  // "The user's room membership is `invite`."
  if (membership === 'invite') return 'joinable';
  const stored = await currentStateEvents(ctx, room.roomNid, [
    { type: 'm.room.join_rules', stateKey: '' },
    { type: 'm.room.history_visibility', stateKey: '' },
  ]);
  const state = authStateOf(stored.map(({ event }) => event));
  const joinRule = joinRuleOf(state);
  // "The room's join rules are set to `public`."
  if (joinRule === 'public') return 'joinable';
  // "The room's join rules are set to `restricted`, provided the user meets one of the specified conditions."
  const isRestricted = allowsRestrictedJoins(joinRule, room.rules);
  const joinRules = state.get('m.room.join_rules', '');
  if (isRestricted && (await meetsCondition(ctx, joinRules, viewer)) === 'yes') return 'joinable';
  // "The room is 'knockable' [...] in a room version that supports those settings."
  if (allowsKnocks(joinRule, room.rules)) return 'knockable';
  // "The room's `m.room.history_visibility` is set to `world_readable`."
  const visibility = state.get('m.room.history_visibility', '');
  const isOpen = stringAt(visibility?.content ?? {}, 'history_visibility') === 'world_readable';
  return isOpen ? 'readable' : undefined;
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
