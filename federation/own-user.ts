import type { UserId } from '#keys/ids.ts';
import * as users from '#storage/users.ts';
import type { FederationContext } from './context.ts';

/**
 * The account of a user of this server, which an application service may make as it is asked for: "such as a room
 * invite". Undefined where there is none.
 */
export async function ownUser(
  ctx: Pick<FederationContext, 'db' | 'bridged'>,
  userId: UserId,
): Promise<users.User | undefined> {
  const user = await users.of(ctx.db, userId);
  if (user !== undefined || (await ctx.bridged?.user(userId)) !== true) return user;
  return users.of(ctx.db, userId);
}
