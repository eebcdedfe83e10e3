import type { EventId, RoomId, UserId } from '#keys/ids.ts';
import { Lanes } from '#keys/lanes.ts';
import { membershipOf } from '#rooms/event.ts';
import { changeMembership } from '#rooms/membership-local.ts';
import { getRoom } from '#rooms/room.ts';
import { currentStateEvent } from '#rooms/state.ts';
import * as memberships from '#storage/memberships.ts';
import * as profiles from '#storage/profiles.ts';
import type { ServerContext } from '../context.ts';

const ROOMS_AT_ONCE = 8;
const ATTEMPTS = 5;

/**
 * Puts a user's name and avatar into the member events of all rooms that the user has joined: "homeservers should
 * update the m.room.member events of the user in every room". A room that does not allow it keeps the old ones.
 */
export async function showInRooms(ctx: ServerContext, userId: UserId): Promise<void> {
  const joined = (await memberships.ofUser(ctx.db, userId)).filter((row) => row.membership === 'join');
  const lanes = new Lanes(ROOMS_AT_ONCE, Number.POSITIVE_INFINITY);
  await Promise.all(joined.map(({ roomId }) => lanes.run(() => showInRoom(ctx, userId, roomId))));
}

/** Who has left the room by then does not come back by it, and of two names the later one stays. */
async function showInRoom(ctx: ServerContext, userId: UserId, roomId: RoomId): Promise<void> {
  let before: EventId | undefined;
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const room = await getRoom(ctx, roomId);
    const member = room && (await currentStateEvent(ctx, room.roomNid, 'm.room.member', userId));
    if (member === undefined || membershipOf(member.event) !== 'join') return;
    const upon = member.event.eventId;
    // The room does not allow it.
    if (upon === before) return;
    before = upon;
    // Each attempt begins with what the one before found.
    const { displayname, avatar_url } = await profiles.of(ctx.db, userId);
    const sent = await changeMembership(ctx, {
      ...{ roomId, sender: userId, target: userId, membership: 'join', upon },
      profile: { displayname, avatar_url },
    });
    if (sent.kind !== 'forbidden') return;
  }
}
