/** https://spec.matrix.org/v1.19/client-server-api/#token-revocation */

import type { UserId } from '#keys/ids.ts';
import { hashToken } from '#keys/tokens.ts';
import * as accessTokens from '#storage/access-tokens.ts';
import * as refreshTokens from '#storage/refresh-tokens.ts';
import { signOut } from '../auth/accounts.ts';
import type { ServerContext } from '../context.ts';

/**
 * Signs out the device of an access or refresh token that is good, whoever has it: "If the `client_id` is not provided,
 * or does not match the client associated with the token, the server SHOULD still revoke the token." What is not good
 * any more ends nothing.
 */
export async function revoke(ctx: ServerContext, token: string): Promise<void> {
  const device = (await deviceOfAccessToken(ctx, token)) ?? (await deviceOfRefreshToken(ctx, token));
  if (device !== undefined) await signOut(ctx, device.userId, [device.deviceId]);
}

interface Device {
  readonly userId: UserId;
  readonly deviceId: string;
}

async function deviceOfAccessToken(ctx: ServerContext, token: string): Promise<Device | undefined> {
  const owner = await accessTokens.ownerOf(ctx.db, hashToken(token));
  return owner !== undefined && isGood(ctx, owner.expiresTs) ? owner : undefined;
}

async function deviceOfRefreshToken(ctx: ServerContext, token: string): Promise<Device | undefined> {
  const known = await refreshTokens.of(ctx.db, hashToken(token));
  const isCurrent = known !== undefined && known.spentTs === undefined && isGood(ctx, known.expiresTs);
  return isCurrent ? known : undefined;
}

function isGood(ctx: ServerContext, expiresTs: number | undefined): boolean {
  return expiresTs === undefined || expiresTs > ctx.clock.now();
}
