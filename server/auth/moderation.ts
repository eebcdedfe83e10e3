/** https://spec.matrix.org/v1.19/client-server-api/#account-moderation */

import type { UserId } from '#keys/ids.ts';
import * as browserSessions from '#storage/browser-sessions.ts';
import * as users from '#storage/users.ts';
import { removeSecondFactors } from '../second-factor/factors.ts';
import { type AccountsContext, endWaiting } from './accounts.ts';

/** Locks or unlocks an account: nothing can be done with one that is locked. False where there is none in use. */
export async function setLocked(ctx: AccountsContext, userId: UserId, locked: boolean): Promise<boolean> {
  const since = locked ? ctx.clock.now() : undefined;
  const done = await ctx.db.write('users.setLocked', (tx) => users.setLocked(tx, userId, since));
  if (done) endWaiting(ctx, userId);
  return done;
}

/** Suspends an account, or ends that: what one may still do is in `route-access.ts`. False where there is none in use. */
export async function setSuspended(
  ctx: AccountsContext,
  userId: UserId,
  suspended: boolean,
): Promise<boolean> {
  const since = suspended ? ctx.clock.now() : undefined;
  const done = await ctx.db.write('users.setSuspended', (tx) => users.setSuspended(tx, userId, since));
  if (done) endWaiting(ctx, userId);
  return done;
}

/** Spares a user the rate limits, or no longer. False where there is no such account in use. */
export async function setUnlimited(
  ctx: AccountsContext,
  userId: UserId,
  isUnlimited: boolean,
): Promise<boolean> {
  const done = await ctx.db.write('users.setUnlimited', (tx) => users.setUnlimited(tx, userId, isUnlimited));
  if (done) ctx.limits?.setUnlimited(userId, isUnlimited);
  return done;
}

/** Removes the second factors of a user who has lost them. False where there is no such account in use. */
export async function endSecondFactors(ctx: AccountsContext, userId: UserId): Promise<boolean> {
  return await ctx.db.write('users.endSecondFactors', async (tx) => {
    const user = await users.of(tx, userId);
    if (user === undefined || user.deactivatedTs !== undefined) return false;
    await removeSecondFactors(tx, userId);
    await browserSessions.removeOfUser(tx, userId);
    return true;
  });
}
