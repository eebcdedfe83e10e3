import type { UserId } from '#keys/ids.ts';
import { Lanes } from '#keys/lanes.ts';
import { changeMembership } from '#rooms/membership-local.ts';
import * as memberships from '#storage/memberships.ts';
import * as profiles from '#storage/profiles.ts';
import type { ServerContext } from '../context.ts';

const ROOMS_AT_ONCE = 8;

/**
 * Puts a user's name and avatar into the member events of all rooms that the user has joined: "homeservers should
 * update the m.room.member events of the user in every room". A room that does not allow it keeps the old ones.
 */
export async function showInRooms(ctx: ServerContext, userId: UserId): Promise<void> {
  const { displayname, avatar_url } = await profiles.of(ctx.db, userId);
  const joined = (await memberships.ofUser(ctx.db, userId)).filter((row) => row.membership === 'join');
  const lanes = new Lanes(ROOMS_AT_ONCE, Number.POSITIVE_INFINITY);
  const change = {
    sender: userId,
    target: userId,
    membership: 'join',
    profile: { displayname, avatar_url },
  } as const;
  await Promise.all(
    joined.map(({ roomId }) => lanes.run(() => changeMembership(ctx, { roomId, ...change }))),
  );
}
