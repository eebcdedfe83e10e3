import { leave } from '#federation/membership.ts';
import type { UserId } from '#keys/ids.ts';
import * as memberships from '#storage/memberships.ts';
import * as users from '#storage/users.ts';
import type { ServerContext } from '../context.ts';
import { unbindAll } from '../identity/bindings.ts';

/**
 * Makes a deactivated user leave all rooms, and identity servers forget them. What cannot be done now is tried again at
 * the next start.
 */
export async function leaveRooms(ctx: ServerContext, userId: UserId): Promise<void> {
  let left = (await unbindAll(ctx, userId)) === 'success';
  for (const { roomId, membership } of await memberships.ofUser(ctx.db, userId)) {
    if (membership === 'leave' || membership === 'ban') continue;
    if (ctx.shutdown.aborted) return;
    // One room after the other: nobody waits for it, and others want to write too.
    const result = await leave(ctx, { userId, roomId });
    if (result.kind !== 'ok') left = false;
  }
  if (left) await ctx.db.write('users.hasLeftRooms', (tx) => users.hasLeftRooms(tx, userId));
}

/** Makes those leave who were deactivated while the server was stopped, or whose leaving it interrupted. */
export async function leaveRoomsOfDeactivated(ctx: ServerContext): Promise<void> {
  for (const userId of await users.leavingRooms(ctx.db)) await leaveRooms(ctx, userId);
}
