import type { UserId } from '#keys/ids.ts';
import { Lanes } from '#keys/lanes.ts';
import { showInRoom } from '#rooms/profile-in-room.ts';
import * as memberships from '#storage/memberships.ts';
import type { ServerContext } from '../context.ts';

const ROOMS_AT_ONCE = 8;

/**
 * Puts a user's name and avatar into the member events of all rooms that the user has joined: "homeservers should
 * update the m.room.member events of the user in every room". A room that does not allow it keeps the old ones.
 */
export async function showInRooms(ctx: ServerContext, userId: UserId): Promise<void> {
  const joined = (await memberships.ofUser(ctx.db, userId)).filter((row) => row.membership === 'join');
  const lanes = new Lanes(ROOMS_AT_ONCE, Number.POSITIVE_INFINITY);
  await Promise.all(joined.map(({ roomId }) => lanes.run(() => showInRoom(ctx, userId, roomId))));
}
