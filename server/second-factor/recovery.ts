/** Recovery codes: written down by people, for the day on which they have lost their second factor. */

import { randomBytes } from 'node:crypto';
import type { UserId } from '#keys/ids.ts';
import { hashToken } from '#keys/tokens.ts';
import * as recoveryCodes from '#storage/recovery-codes.ts';
import type { ServerContext } from '../context.ts';
import { toBase32 } from './totp.ts';

type RecoveryContext = Pick<ServerContext, 'db' | 'limits'>;

const CODES = 10;
/** 80 bits: random enough to be stored as a plain hash. */
const CODE_BYTES = 10;

/** Gives a user new codes, which are shown once; the earlier ones are good no more. */
export async function newRecoveryCodes(ctx: RecoveryContext, userId: UserId): Promise<readonly string[]> {
  const codes = Array.from({ length: CODES }, () =>
    (toBase32(randomBytes(CODE_BYTES)).toLowerCase().match(/.{4}/g) ?? []).join('-'),
  );
  const hashes = codes.map((code) => hashOf(userId, code));
  await ctx.db.write('recoveryCodes.replace', (tx) => recoveryCodes.replace(tx, userId, hashes));
  return codes;
}

/** Uses a code up; false where it is none of the user's. Throws `M_LIMIT_EXCEEDED`. */
export async function useRecoveryCode(ctx: RecoveryContext, userId: UserId, code: string): Promise<boolean> {
  ctx.limits.take('second_factor', userId);
  return await ctx.db.write('recoveryCodes.take', (tx) =>
    recoveryCodes.take(tx, userId, hashOf(userId, code)),
  );
}

/** However it was written: letters of either case, with or without dashes. */
function hashOf(userId: UserId, code: string): string {
  return hashToken(`${userId} ${code.toLowerCase().replaceAll(/[^a-z2-7]/g, '')}`);
}
