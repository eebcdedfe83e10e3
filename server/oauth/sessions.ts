/** The sessions that OAuth opens: devices, as `/login` makes them, of which it is known for which client and scope. */

import { MatrixError } from '#federation/errors.ts';
import type { UserId } from '#keys/ids.ts';
import type { JsonObject } from '#keys/json.ts';
import { hashToken } from '#keys/tokens.ts';
import type { Tx } from '#storage/database.ts';
import type { Origin } from '#storage/device-origins.ts';
import * as oauthSessions from '#storage/oauth-sessions.ts';
import * as refreshTokens from '#storage/refresh-tokens.ts';
import * as users from '#storage/users.ts';
import { endWaiting, removeDevices, signInWithin } from '../auth/accounts.ts';
import { type RefreshApi, refresh, type SessionTokens } from '../auth/tokens.ts';
import type { ServerContext } from '../context.ts';
import { type Client, nameOf } from './clients.ts';
import { OAuthError } from './errors.ts';
import { deviceOfScope } from './scope.ts';

/** https://www.rfc-editor.org/rfc/rfc6749#section-5.1 */
export type TokenAnswer = JsonObject;

/** What a user has granted. */
export interface Granted {
  readonly userId: UserId;
  readonly client: Client;
  readonly scope: string;
  readonly origin: Origin | undefined;
  readonly codeHash?: string;
}

/** Signs a device in for what a user has granted, in the caller's write; undefined where the account cannot be used. */
export async function openSession(
  ctx: ServerContext,
  tx: Tx,
  { userId, client, scope, origin, codeHash }: Granted,
): Promise<TokenAnswer | undefined> {
  const user = await users.of(tx, userId);
  if (user === undefined || user.deactivatedTs !== undefined || user.lockedTs !== undefined) return undefined;
  const tokens = await signInWithin(ctx, tx, userId, {
    deviceId: deviceOfScope(scope),
    displayName: nameOf(client),
    isRefreshable: true,
    origin,
    alsoWrite: async (_, device) => {
      const session = { clientId: client.client_id, scope, createdTs: ctx.clock.now(), codeHash };
      await oauthSessions.set(tx, { ...device, ...session });
    },
  }).catch(refuseDevice);
  tx.afterCommit(() => ctx.sessions.forget(userId));
  return tokenAnswer(tokens, scope);
}

/** Tokens for a refresh token: https://spec.matrix.org/v1.19/client-server-api/#refresh-token-grant */
export async function refreshSession(
  ctx: ServerContext,
  { client, token }: { readonly client: Client; readonly token: string },
): Promise<TokenAnswer> {
  const known = await refreshTokens.of(ctx.db, hashToken(token));
  const session = known && (await oauthSessions.of(ctx.db, known));
  if (session === undefined) throw badRefreshToken();
  const api: RefreshApi = {
    admits: async (tx, device) => (await oauthSessions.of(tx, device))?.clientId === client.client_id,
    // "The homeserver SHOULD consider that the session is compromised [...] and SHOULD revoke the session."
    endStolen: async (tx, { userId, deviceId }) => {
      await removeDevices(ctx, tx, userId, [deviceId]);
      tx.afterCommit(() => endWaiting(ctx, userId));
    },
  };
  const outcome = await refresh(ctx, token, api);
  switch (outcome.kind) {
    case 'refreshed':
      return tokenAnswer(outcome.tokens, session.scope);
    case 'locked':
      // With a 4xx "the client should consider the session logged out", with a 5xx it tries again: locks are opened.
      throw new OAuthError('temporarily_unavailable', 'This account has been locked');
    case 'unknown':
      throw badRefreshToken();
  }
}

function tokenAnswer({ accessToken, refreshToken, expiresInMs }: SessionTokens, scope: string): TokenAnswer {
  if (refreshToken === undefined || expiresInMs === undefined)
    throw new Error('a session of OAuth is refreshable');
  return {
    access_token: accessToken,
    token_type: 'Bearer',
    expires_in: Math.floor(expiresInMs / 1_000),
    refresh_token: refreshToken,
    scope,
  };
}

/** The id of a device may be taken by what is no device, or the provider's session has ended: nothing is written. */
function refuseDevice(error: unknown): never {
  if (error instanceof MatrixError) throw new OAuthError('invalid_grant', error.message);
  throw error;
}

function badRefreshToken(): OAuthError {
  return new OAuthError('invalid_grant', 'The refresh token is not valid, or not any more');
}
