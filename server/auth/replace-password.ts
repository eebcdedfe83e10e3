import type { UserId } from '#keys/ids.ts';
import * as devices from '#storage/devices.ts';
import * as emailValidations from '#storage/email-validations.ts';
import * as threepids from '#storage/threepids.ts';
import type { ServerContext } from '../context.ts';
import { endBeginnings, setPassword, signOut } from './accounts.ts';

/**
 * Gives a user another password: browsers and, if asked for, devices are signed out, but for the one that asks. False
 * where there is no such account in use.
 */
export async function replacePassword(
  ctx: ServerContext,
  userId: UserId,
  change: {
    readonly password: string;
    readonly logoutDevices: boolean;
    readonly ownDevice?: string | undefined;
  },
): Promise<boolean> {
  const { password, logoutDevices, ownDevice } = change;
  if (!(await setPassword(ctx, userId, password))) return false;
  await ctx.db.write('emailValidations.clear', async (tx) => {
    await endBeginnings(tx, userId);
    // A letter from before leads to no other password.
    for (const { address } of await threepids.ofUser(tx, userId)) await emailValidations.clear(tx, address);
  });
  if (!logoutDevices) return true;
  // "Whether the user's other access tokens, and their associated devices, should be revoked"
  const all = await devices.signedIn(ctx.db, userId);
  const others = all.filter((deviceId) => deviceId !== ownDevice);
  await signOut(ctx, userId, others);
  return true;
}
