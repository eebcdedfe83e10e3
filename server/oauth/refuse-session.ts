import { forbidden } from '#federation/errors.ts';
import * as oauthSessions from '#storage/oauth-sessions.ts';
import type { Requester } from '../auth/requester.ts';
import type { ServerContext } from '../context.ts';
import { accountUrl, issuerOf } from './metadata.ts';

/**
 * "The User-Interactive Authentication API is not compatible with the OAuth 2.0 API, so the endpoints that depend on it
 * for authentication can't be used when an access token is obtained with the OAuth 2.0 API."
 *
 * @throws MatrixError for a device that is signed in by OAuth
 */
export async function refuseOAuthSession(
  ctx: Pick<ServerContext, 'db' | 'config'>,
  device: Pick<Requester, 'userId' | 'deviceId'>,
): Promise<void> {
  const issuer = issuerOf(ctx.config);
  // Where OAuth was switched off since then, there is no other way.
  if (issuer === undefined || (await oauthSessions.of(ctx.db, device)) === undefined) return;
  throw forbidden(`Signed in by OAuth 2.0, this is done on the account page: ${accountUrl(issuer)}`);
}
