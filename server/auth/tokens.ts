/**
 * Access tokens, and the refresh tokens by which a device gets new ones. Only hashes are stored.
 *
 * "The old refresh token remains valid until the new access token or refresh token is used, at which point the old
 * refresh token is revoked": a client that did not get the answer of `/refresh` asks again, and gets others.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#refreshing-access-tokens
 */

import type { UserId } from '#keys/ids.ts';
import { hashToken, newToken } from '#keys/tokens.ts';
import * as accessTokens from '#storage/access-tokens.ts';
import type { Tx } from '#storage/database.ts';
import * as oauthSessions from '#storage/oauth-sessions.ts';
import * as refreshTokens from '#storage/refresh-tokens.ts';
import * as users from '#storage/users.ts';
import type { ServerContext } from '../context.ts';

export type TokensContext = Pick<ServerContext, 'db' | 'clock'> & {
  readonly config: Pick<ServerContext['config'], 'accessTokenLifetime' | 'refreshTokenLifetime'>;
  readonly sessions: { forget(userId: UserId): void };
};

/** What a client gets; without a refresh token, the access token does not end by itself. */
export interface SessionTokens {
  readonly accessToken: string;
  readonly refreshToken?: string;
  readonly expiresInMs?: number;
}

type DeviceKey = { readonly userId: UserId; readonly deviceId: string };

/** How long a spent token may still come from a client that did not know better. */
const GRACE_MS = 15_000;
/** For so long tokens that have ended are remembered: they are told from those that never were. */
const REMEMBERED_MS = 7 * 86_400_000;

/** Gives a device new tokens: such as expire and can be refreshed, or one that does neither. */
export async function issueTokens(
  ctx: Pick<TokensContext, 'clock' | 'config'>,
  tx: Tx,
  { userId, deviceId }: DeviceKey,
  { isRefreshable }: { readonly isRefreshable: boolean },
): Promise<SessionTokens> {
  const now = ctx.clock.now();
  const accessToken = newToken('kat');
  const access = { hash: hashToken(accessToken), userId, deviceId, now };
  if (!isRefreshable) {
    await accessTokens.add(tx, access);
    return { accessToken };
  }
  const { accessTokenLifetime, refreshTokenLifetime } = ctx.config;
  const refreshToken = newToken('krf');
  const refreshHash = hashToken(refreshToken);
  const expiresTs = refreshTokenLifetime === undefined ? undefined : now + refreshTokenLifetime;
  await refreshTokens.add(tx, { hash: refreshHash, userId, deviceId, expiresTs });
  await accessTokens.add(tx, { ...access, expiresTs: now + accessTokenLifetime, refreshHash });
  return { accessToken, refreshToken, expiresInMs: accessTokenLifetime };
}

export type Refreshed =
  | { readonly kind: 'refreshed'; readonly tokens: SessionTokens }
  | { readonly kind: 'unknown' | 'locked' };

/** The API by which a device gets new tokens: the one by which it was signed in, "clients MUST only use" that. */
export interface RefreshApi {
  /** True for the devices that were signed in by it. */
  readonly admits: (tx: Tx, device: DeviceKey) => Promise<boolean>;
  /** Ends what a thief may have. */
  readonly endStolen: (tx: Tx, device: DeviceKey, now: number) => Promise<void>;
}

/** `POST /refresh`. */
const legacyApi: RefreshApi = {
  admits: async (tx, device) => (await oauthSessions.of(tx, device)) === undefined,
  endStolen: endTokens,
};

/** New tokens for a refresh token. One that was spent before has been stolen, or has a thief's before it. */
export async function refresh(
  ctx: TokensContext,
  refreshToken: string,
  api: RefreshApi = legacyApi,
): Promise<Refreshed> {
  const hash = hashToken(refreshToken);
  const known = await refreshTokens.of(ctx.db, hash);
  if (known === undefined) return { kind: 'unknown' };
  const outcome = await ctx.db.write('tokens.refresh', async (tx) => refreshIn(ctx, tx, { hash, api }));
  ctx.sessions.forget(known.userId);
  return outcome;
}

async function refreshIn(
  ctx: TokensContext,
  tx: Tx,
  { hash, api }: { readonly hash: string; readonly api: RefreshApi },
): Promise<Refreshed> {
  const now = ctx.clock.now();
  const token = await refreshTokens.of(tx, hash);
  if (token === undefined || (token.expiresTs !== undefined && token.expiresTs <= now)) {
    return { kind: 'unknown' };
  }
  if (!(await api.admits(tx, token))) return { kind: 'unknown' };
  const user = await users.of(tx, token.userId);
  if (user?.lockedTs !== undefined) return { kind: 'locked' };
  if (token.spentTs !== undefined) {
    if (now - token.spentTs > GRACE_MS) await api.endStolen(tx, token, now);
    return { kind: 'unknown' };
  }
  const before = await refreshTokens.before(tx, hash);
  if (before !== undefined) await spend(tx, before.hash, now);
  if (token.nextHash !== undefined) {
    // Nobody has used what was given out for it before: the answer was lost.
    await accessTokens.expireOfRefresh(tx, token.nextHash, now);
    await refreshTokens.remove(tx, token.nextHash);
  }
  const tokens = await issueTokens(ctx, tx, token, { isRefreshable: true });
  if (tokens.refreshToken !== undefined) {
    await refreshTokens.setNext(tx, hash, hashToken(tokens.refreshToken));
  }
  await refreshTokens.removeSpent(tx, token, now - REMEMBERED_MS);
  await accessTokens.removeExpired(tx, token, now - REMEMBERED_MS);
  return { kind: 'refreshed', tokens };
}

/** Notes that an access token is in use: the refresh token for which it was given out has done its duty. */
export async function spend(tx: Tx, refreshHash: string, now: number): Promise<void> {
  await refreshTokens.spend(tx, refreshHash, now);
  await accessTokens.expireOfRefresh(tx, refreshHash, now);
}

/** Ends the tokens of a device, which stays: its user signs it in again. */
async function endTokens(tx: Tx, device: DeviceKey, now: number): Promise<void> {
  await refreshTokens.removeOfDevice(tx, device.userId, device.deviceId);
  await accessTokens.expireOfDevice(tx, device, now);
}
