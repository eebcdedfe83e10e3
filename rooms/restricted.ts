/** Restricted rooms: https://spec.matrix.org/v1.19/server-server-api/#restricted-rooms */
import { isRoomId, type RoomId, type ServerName, serverNameOf, type UserId } from '#keys/ids.ts';
import { isObject, type Json, objectAt, own, stringAt } from '#keys/json.ts';
import * as memberships from '#storage/memberships.ts';
import { authStateOf } from './auth/check.ts';
import { allowsRestrictedJoins, joinRuleOf } from './auth/member.ts';
import type { RoomsContext } from './context.ts';
import { type Event, membershipOf } from './event.ts';
import { creatorsOf, powerOf } from './power.ts';
import { getRoom, isInRoom, type Room } from './room.ts';
import { currentStateEvents } from './state.ts';
import type { Viewer } from './visibility.ts';

/** Whether a user may join a room for being in another one, and who of ours says so. */
export type RestrictedJoin =
  /** The join needs nobody's word: another join rule, or the user is invited or in the room. */
  | { readonly kind: 'not_needed' }
  /** For `join_authorised_via_users_server`. */
  | { readonly kind: 'authorised'; readonly by: UserId }
  /** No condition is met. */
  | { readonly kind: 'refused' }
  /** A condition may be met, but in a room that we are not in: `M_UNABLE_TO_AUTHORISE_JOIN`. */
  | { readonly kind: 'unable_to_authorise' }
  /** A condition is met, but none of our users may invite: `M_UNABLE_TO_GRANT_JOIN`. */
  | { readonly kind: 'unable_to_grant' };

/** What restricted joins are judged by. */
const JUDGED_BY = ['m.room.create', 'm.room.power_levels', 'm.room.join_rules'].map((type) => ({
  type,
  stateKey: '',
}));
/** Whoever may be asked: more are in no room's power levels. */
const MOST_INVITERS = 100;

/** Judges a join to a room that we are in, by its current state. */
export async function authoriseRestrictedJoin(
  ctx: RoomsContext,
  room: Room,
  userId: UserId,
): Promise<RestrictedJoin> {
  const stored = await currentStateEvents(ctx, room.roomNid, JUDGED_BY);
  const state = authStateOf(stored.map(({ event }) => event));
  if (!allowsRestrictedJoins(joinRuleOf(state), room.rules)) return { kind: 'not_needed' };
  const current = await memberships.of(ctx.db, room.roomNid, userId);
  if (current?.membership === 'join' || current?.membership === 'invite') return { kind: 'not_needed' };

  const verdict = await meetsCondition(ctx, state.get('m.room.join_rules', ''), { userId });
  if (verdict === 'no') return { kind: 'refused' };
  if (verdict === 'unknown') return { kind: 'unable_to_authorise' };

  const power = powerOf(state.get('m.room.create', ''), state.get('m.room.power_levels', ''));
  const ours = await memberships.joinedLocalUsers(ctx.db, room.roomNid, ctx.serverName);
  const by = ours.find((ourUser) => power.of(ourUser) >= power.invite);
  return by === undefined ? { kind: 'unable_to_grant' } : { kind: 'authorised', by };
}

/** Servers of members who may invite, as the room's power levels name them, those with the most power first. */
export async function serversThatMayInvite(ctx: RoomsContext, room: Room): Promise<ServerName[]> {
  const stored = await currentStateEvents(ctx, room.roomNid, JUDGED_BY);
  const state = authStateOf(stored.map(({ event }) => event));
  const [create, levels] = [state.get('m.room.create', ''), state.get('m.room.power_levels', '')];
  const power = powerOf(create, levels);
  const users = Object.keys((levels && objectAt(levels.content, 'users')) ?? {});
  const named = new Set([...(create === undefined ? [] : creatorsOf(create)), ...users]);
  const inviters = [...named]
    .filter((userId) => power.of(userId) >= power.invite)
    .sort((a, b) => (power.of(a) === power.of(b) ? 0 : power.of(b) - power.of(a)))
    .slice(0, MOST_INVITERS);
  const keys = inviters.map((stateKey) => ({ type: 'm.room.member', stateKey }));
  const members = await currentStateEvents(ctx, room.roomNid, keys);
  const joined = new Set(
    members.filter(({ event }) => membershipOf(event) === 'join').map(({ event }) => event.stateKey),
  );
  const servers = inviters.filter((userId) => joined.has(userId)).map(serverNameOf);
  return [...new Set(servers.filter((server) => server !== undefined))];
}

/**
 * Whether one of the rooms whose members may join has this user, or a user of this server; `unknown` where only other
 * servers can tell. "A joining server [must satisfy] at least one of the conditions specified by `m.room.join_rules`."
 */
export function meetsCondition(
  ctx: RoomsContext,
  joinRules: Event | undefined,
  viewer: Viewer,
): Promise<'yes' | 'no' | 'unknown'> {
  return isMemberOfAny(ctx, allowedRooms(joinRules), viewer);
}

/** Whether one of the rooms has this user, or a user of this server. */
export async function isMemberOfAny(
  ctx: RoomsContext,
  roomIds: Iterable<RoomId>,
  viewer: Viewer,
): Promise<'yes' | 'no' | 'unknown'> {
  let verdict: 'no' | 'unknown' = 'no';
  for (const roomId of roomIds) {
    // Each room by itself: mostly there is one, and the first that lets the user in ends it.
    const room = await getRoom(ctx, roomId);
    if (room === undefined || !(await isInRoom(ctx, room))) {
      verdict = 'unknown';
      continue;
    }
    if (await isJoined(ctx, room.roomNid, viewer)) return 'yes';
  }
  return verdict;
}

async function isJoined(ctx: RoomsContext, roomNid: number, viewer: Viewer): Promise<boolean> {
  if ('server' in viewer) return memberships.serverIsIn(ctx.db, roomNid, viewer.server);
  return (await memberships.of(ctx.db, roomNid, viewer.userId))?.membership === 'join';
}

/** The rooms whose members may join: the `m.room_membership` conditions. Malformed ones count as not met. */
export function allowedRooms(joinRules: Event | undefined): Set<RoomId> {
  const allow: Json = (joinRules === undefined ? undefined : own(joinRules.content, 'allow')) ?? [];
  const rooms = new Set<RoomId>();
  for (const condition of Array.isArray(allow) ? allow : []) {
    if (!isObject(condition) || stringAt(condition, 'type') !== 'm.room_membership') continue;
    const roomId = own(condition, 'room_id');
    if (isRoomId(roomId)) rooms.add(roomId);
  }
  return rooms;
}
