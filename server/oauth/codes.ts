/** Authorisation codes: https://spec.matrix.org/v1.19/client-server-api/#authorisation-code-grant */

import { sha256Base64Url } from '#keys/hash.ts';
import { equalSecrets, hashToken, newToken } from '#keys/tokens.ts';
import type { Tx } from '#storage/database.ts';
import * as oauthCodes from '#storage/oauth-codes.ts';
import * as oauthSessions from '#storage/oauth-sessions.ts';
import { endWaiting, removeDevices } from '../auth/accounts.ts';
import type { ServerContext } from '../context.ts';
import { isStillSignedIn, type Person } from '../sign-in/browser-sessions.ts';
import type { AuthorizationRequest } from './authorization-request.ts';
import type { Client } from './clients.ts';
import { OAuthError } from './errors.ts';
import { deviceOfScope } from './scope.ts';
import { openSession, type TokenAnswer } from './sessions.ts';

const LIFETIME_MS = 60_000;
/** For so long it is known that a code was there: who uses one again ends what it has given. */
const REMEMBERED_MS = 86_400_000;
/** RFC 7636, 4.1 */
const VERIFIER = /^[\w.~-]{43,128}$/;

/** Gives a code for what a person has granted; undefined where they have been signed out meanwhile. */
export async function issueCode(
  ctx: Pick<ServerContext, 'db' | 'clock'>,
  person: Pick<Person, 'userId' | 'origin' | 'tokenHash'>,
  request: Pick<AuthorizationRequest, 'client' | 'scope' | 'redirectUri' | 'codeChallenge'>,
): Promise<string | undefined> {
  const code = newToken('kac');
  const now = ctx.clock.now();
  const { scope, redirectUri, codeChallenge } = request;
  const granted = { clientId: request.client.client_id, scope, redirectUri, codeChallenge };
  const { userId, origin } = person;
  return await ctx.db.write('oauthCodes.add', async (tx) => {
    if (!(await isStillSignedIn(tx, person))) return undefined;
    await oauthCodes.add(
      tx,
      hashToken(code),
      { ...granted, userId, origin, expiresTs: now + LIFETIME_MS },
      now - REMEMBERED_MS,
    );
    return code;
  });
}

export interface CodeExchange {
  readonly client: Client;
  readonly code: string;
  readonly redirectUri: string;
  readonly verifier: string;
}

/** Tokens for a code: once. "If an authorization code is used more than once" what it gave is ended. */
export async function exchangeCode(ctx: ServerContext, exchange: CodeExchange): Promise<TokenAnswer> {
  const hash = hashToken(exchange.code);
  const outcome = await ctx.db.write('oauthCodes.exchange', async (tx) => {
    const now = ctx.clock.now();
    const code = await oauthCodes.of(tx, hash);
    // Nothing is taken from who has it by those who are not its client, or cannot prove that they began this.
    if (code === undefined || code.clientId !== exchange.client.client_id) return undefined;
    if (code.usedTs !== undefined) {
      await endWhatItGave(ctx, tx, { hash, code });
      return undefined;
    }
    if (code.expiresTs <= now || !isTheirs(code, exchange)) return undefined;
    await oauthCodes.use(tx, hash, now);
    const { userId, scope, origin } = code;
    return await openSession(ctx, tx, { userId, client: exchange.client, scope, origin, codeHash: hash });
  });
  if (outcome === undefined) throw new OAuthError('invalid_grant', 'The code is not valid, or not any more');
  return outcome;
}

function isTheirs(
  code: oauthCodes.OAuthCode,
  { redirectUri, verifier }: Pick<CodeExchange, 'redirectUri' | 'verifier'>,
): boolean {
  if (code.redirectUri !== redirectUri || !VERIFIER.test(verifier)) return false;
  return equalSecrets(sha256Base64Url(verifier), code.codeChallenge);
}

async function endWhatItGave(
  ctx: ServerContext,
  tx: Tx,
  { hash, code }: { readonly hash: string; readonly code: oauthCodes.OAuthCode },
): Promise<void> {
  const device = { userId: code.userId, deviceId: deviceOfScope(code.scope) };
  const session = await oauthSessions.of(tx, device);
  if (session?.codeHash !== hash) return;
  await removeDevices(ctx, tx, device.userId, [device.deviceId]);
  tx.afterCommit(() => endWaiting(ctx, device.userId));
}
