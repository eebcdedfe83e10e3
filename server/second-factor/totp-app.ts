/** The app of a user that shows codes: set up, and asked. */

import type { UserId } from '#keys/ids.ts';
import * as totpSecrets from '#storage/totp-secrets.ts';
import type { ServerContext } from '../context.ts';
import { fromBase32, newSecret, stepOfCode } from './totp.ts';

type AppContext = Pick<ServerContext, 'db' | 'clock' | 'seal' | 'limits'>;

/** The secret that the app is to be given; the same until it is set up, so that a page can be shown again. */
export async function secretToSetUp(ctx: AppContext, userId: UserId): Promise<string | undefined> {
  const known = await totpSecrets.of(ctx.db, userId);
  if (known?.confirmedTs !== undefined) return undefined;
  const begun = known && ctx.seal.unseal(purposeOf(userId), known.sealedSecret);
  if (begun !== undefined) return begun;
  const secret = newSecret();
  const sealedSecret = ctx.seal.seal(purposeOf(userId), secret);
  const createdTs = ctx.clock.now();
  await ctx.db.write('totpSecrets.begin', (tx) => totpSecrets.begin(tx, userId, { sealedSecret, createdTs }));
  return secret;
}

/** Sets the app up by the first code that it shows; false where the code is not right. */
export async function setUpApp(ctx: AppContext, userId: UserId, code: string): Promise<boolean> {
  return await checkCode(ctx, userId, { code, isFirst: true });
}

/** Whether an app that is set up shows this code, which is good once. Throws `M_LIMIT_EXCEEDED`. */
export async function isCodeOfApp(ctx: AppContext, userId: UserId, code: string): Promise<boolean> {
  return await checkCode(ctx, userId, { code, isFirst: false });
}

async function checkCode(
  ctx: AppContext,
  userId: UserId,
  { code, isFirst }: { code: string; isFirst: boolean },
): Promise<boolean> {
  ctx.limits.take('second_factor', userId);
  const now = ctx.clock.now();
  return await ctx.db.write('totpSecrets.accept', async (tx) => {
    const known = await totpSecrets.of(tx, userId);
    if (known === undefined || (known.confirmedTs === undefined) !== isFirst) return false;
    const secret = ctx.seal.unseal(purposeOf(userId), known.sealedSecret);
    const step = secret === undefined ? undefined : stepOfCode(fromBase32(secret), code, now);
    if (step === undefined || !(await totpSecrets.accept(tx, userId, step))) return false;
    if (isFirst) await totpSecrets.confirm(tx, userId, now);
    return true;
  });
}

function purposeOf(userId: UserId): string {
  return `totp ${userId}`;
}
