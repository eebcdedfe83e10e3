import type { EventId, RoomId, UserId } from '#keys/ids.ts';
import * as profiles from '#storage/profiles.ts';
import type { RoomsContext } from './context.ts';
import { membershipOf } from './event.ts';
import { changeMembership } from './membership-local.ts';
import { getRoom } from './room.ts';
import { currentStateEvent } from './state.ts';

const ATTEMPTS = 5;

/**
 * Puts a user's name and avatar into their member event in a room that they have joined. Who has left the room by then does
 * not come back by it, and of two names the later one stays. A room that does not allow it keeps the old ones.
 */
export async function showInRoom(ctx: RoomsContext, userId: UserId, roomId: RoomId): Promise<void> {
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
