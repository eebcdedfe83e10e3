import type { UserId } from '#keys/ids.ts';
import * as memberships from '#storage/memberships.ts';
import type { RoomsContext } from './context.ts';
import type { PowerLevels } from './power.ts';
import type { Room } from './room.ts';

/** Of our users in a room the one with the most power; undefined where there is none. */
export async function mostPowerful(
  ctx: RoomsContext,
  { roomNid }: Room,
  power: PowerLevels,
  without?: UserId,
): Promise<UserId | undefined> {
  let most: UserId | undefined;
  for (const userId of await memberships.joinedLocalUsers(ctx.db, roomNid, ctx.serverName)) {
    if (userId !== without && (most === undefined || power.of(userId) > power.of(most))) most = userId;
  }
  return most;
}
