/** What second factors a user has, and whether one is asked for. */

import type { UserId } from '#keys/ids.ts';
import type { Reader, Tx } from '#storage/database.ts';
import * as passkeys from '#storage/passkeys.ts';
import * as recoveryCodes from '#storage/recovery-codes.ts';
import * as totpSecrets from '#storage/totp-secrets.ts';
import type { ServerContext } from '../context.ts';

/** The second factors that a user has set up. */
export interface Factors {
  /** Since when (milliseconds) there is an app with codes. */
  readonly totpTs: number | undefined;
  readonly passkeys: readonly passkeys.Passkey[];
  readonly recoveryCodes: number;
}

export async function factorsOf(reader: Reader, userId: UserId): Promise<Factors> {
  const totp = await totpSecrets.of(reader, userId);
  return {
    totpTs: totp?.confirmedTs,
    passkeys: await passkeys.ofUser(reader, userId),
    recoveryCodes: await recoveryCodes.count(reader, userId),
  };
}

/** Recovery codes alone are none: they let in whoever has lost the others. */
export function hasFactor({ totpTs, passkeys: keys }: Factors): boolean {
  return totpTs !== undefined || keys.length > 0;
}

/** What somebody who has shown their password has to do next: show a second factor, set one up, or nothing. */
export async function nextStep(
  { db, config }: Pick<ServerContext, 'db' | 'config'>,
  userId: UserId,
): Promise<'none' | 'show' | 'set_up'> {
  if (config.secondFactor === 'off') return 'none';
  if (hasFactor(await factorsOf(db, userId))) return 'show';
  return config.secondFactor === 'required' ? 'set_up' : 'none';
}

/** Whether the password alone says enough where nothing else can be shown: by clients that know no web page. */
export async function isPasswordEnough(
  ctx: Pick<ServerContext, 'db' | 'config'>,
  userId: UserId,
): Promise<boolean> {
  return ctx.config.legacyLoginWithoutSecondFactor || (await nextStep(ctx, userId)) === 'none';
}

export async function removeSecondFactors(tx: Tx, userId: UserId): Promise<void> {
  await totpSecrets.remove(tx, userId);
  await recoveryCodes.clear(tx, userId);
  await passkeys.clear(tx, userId);
}
