/** https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3sync: the RoomSummary */
import type { UserId } from '#keys/ids.ts';
import { isStringArray, own, stringAt } from '#keys/json.ts';
import * as memberships from '#storage/memberships.ts';
import * as roomMembers from '#storage/room-members.ts';
import type { RoomsContext } from './context.ts';
import { currentStateEvents } from './state.ts';
import type { StoredEvent } from './stored-event.ts';

/** What a client needs to render a room without all of its members. */
export interface RoomSummary {
  /** Users to name the room after; undefined where it has a name or an alias of its own. */
  readonly heroes: readonly UserId[] | undefined;
  readonly joinedCount: number;
  readonly invitedCount: number;
}

/** "This should be the first 5 members of the room" */
const HEROES = 5;
/** The name in use, and that of the proposal. */
const SERVICE_MEMBERS = ['io.element.functional_members', 'm.member_hints'];
const MOST_SERVICE_MEMBERS = 100;

/** The summary of a room's current state for one user. */
export async function summaryFor(ctx: RoomsContext, roomNid: number, userId: UserId): Promise<RoomSummary> {
  const counts = await memberships.countsIn(ctx.db, roomNid);
  const named = await hasName(ctx, roomNid);
  return {
    heroes: named ? undefined : await heroesOf(ctx, roomNid, userId),
    joinedCount: counts.joined,
    invitedCount: counts.invited,
  };
}

/**
 * "The first 5 members of the room, ordered by stream ordering, which are joined or invited. The list must never
 * include the client's own user ID. When no joined or invited members are available, this should consist of the
 * banned and left users." Nor are users among them who serve the others, such as bots: a conversation of two
 * with a bot is named after the other one (MSC4171).
 */
export async function heroesOf(
  ctx: RoomsContext,
  roomNid: number,
  userId: UserId,
): Promise<readonly UserId[]> {
  const which = { besides: [userId, ...(await serviceMembers(ctx, roomNid))], limit: HEROES };
  const present = await roomMembers.first(ctx.db, roomNid, { ...which, memberships: ['join', 'invite'] });
  if (present.length > 0) return present;
  return roomMembers.first(ctx.db, roomNid, { ...which, memberships: ['leave', 'ban'] });
}

async function serviceMembers(ctx: RoomsContext, roomNid: number): Promise<readonly string[]> {
  const events = await currentStateEvents(
    ctx,
    roomNid,
    SERVICE_MEMBERS.map((type) => ({ type, stateKey: '' })),
  );
  return events.flatMap(({ event }) => {
    const named = own(event.content, 'service_members');
    return isStringArray(named) ? named.slice(0, MOST_SERVICE_MEMBERS) : [];
  });
}

/** "Required if the room's m.room.name or m.room.canonical_alias state events are unset or empty." */
async function hasName(ctx: RoomsContext, roomNid: number): Promise<boolean> {
  const events = await currentStateEvents(ctx, roomNid, [
    { type: 'm.room.name', stateKey: '' },
    { type: 'm.room.canonical_alias', stateKey: '' },
  ]);
  return events.some((stored) => nameIn(stored) !== '');
}

function nameIn({ event }: StoredEvent): string {
  return stringAt(event.content, event.type === 'm.room.name' ? 'name' : 'alias') ?? '';
}
