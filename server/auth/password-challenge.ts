/** What those must do who set a new password: https://spec.matrix.org/v1.19/client-server-api/#password-management */

import { type MatrixError, missingToken, threepidAuthFailed } from '#federation/errors.ts';
import type { UserId } from '#keys/ids.ts';
import type { JsonObject } from '#keys/json.ts';
import * as emailValidations from '#storage/email-validations.ts';
import * as threepids from '#storage/threepids.ts';
import type { ServerContext } from '../context.ts';
import { credentialsAt, proofOf } from '../email/proof.ts';
import { refuseOAuthSession } from '../oauth/refuse-session.ts';
import { checkPassword } from './confirm-password.ts';
import type { Challenge, Stage } from './interactive-auth.ts';
import type { Requester } from './requester.ts';

interface Asking {
  readonly requester: Requester | undefined;
  readonly address: string;
}

/**
 * "The homeserver may change the flows available depending on whether a valid access token is provided": with one the
 * password or an e-mail address of the user, without one an e-mail address.
 */
export async function passwordChallenge(
  ctx: ServerContext,
  { requester, address }: Asking,
): Promise<Challenge> {
  if (requester !== undefined) await refuseOAuthSession(ctx, requester);
  const email = (await canUseEmail(ctx, requester)) ? (['m.login.email.identity'] as const) : undefined;
  if (requester === undefined && email === undefined) throw missingToken();
  const flows = [
    ...(requester === undefined ? [] : [['m.login.password'] as const]),
    ...(email === undefined ? [] : [email]),
  ];
  return {
    scope: requester === undefined ? 'reset a password' : `change the password of ${requester.userId}`,
    flows,
    email: 'password',
    check: (stage, auth) =>
      stage === 'm.login.password' && requester !== undefined
        ? checkPassword(ctx, auth, { requester, address })
        : checkEmail(ctx, auth, requester),
    ...(requester === undefined && { onBegin: () => ctx.limits.take('interactive_auth', address) }),
  };
}

/**
 * Whose password it is that may be set: the requester's, or that of the user of the confirmed address. A proof is used up
 * by this.
 */
export async function userToSetFor(
  ctx: ServerContext,
  completed: ReadonlyMap<Stage, JsonObject>,
  requester: Requester | undefined,
): Promise<UserId> {
  const said = completed.get('m.login.email.identity');
  if (said === undefined) {
    if (requester === undefined) throw missingToken();
    return requester.userId;
  }
  return await ctx.db.write('emailValidations.use', async (tx) => {
    const proof = await proofOf(ctx, tx, { credentials: credentialsAt(said), purpose: 'password' });
    const owner = proof && (await threepids.ownerOf(tx, 'email', proof.address));
    if (proof === undefined || owner === undefined) throw threepidAuthFailed();
    if (requester !== undefined && owner !== requester.userId) throw threepidAuthFailed();
    if (!(await emailValidations.remove(tx, proof.sid))) throw threepidAuthFailed();
    return owner;
  });
}

async function canUseEmail(ctx: ServerContext, requester: Requester | undefined): Promise<boolean> {
  if (ctx.mailer === undefined) return false;
  if (requester === undefined) return true;
  const known = await threepids.ofUser(ctx.db, requester.userId);
  return known.some(({ medium }) => medium === 'email');
}

async function checkEmail(
  ctx: ServerContext,
  auth: JsonObject,
  requester: Requester | undefined,
): Promise<MatrixError | undefined> {
  const proof = await proofOf(ctx, ctx.db, { credentials: credentialsAt(auth), purpose: 'password' });
  const owner = proof && (await threepids.ownerOf(ctx.db, 'email', proof.address));
  const isRight = owner !== undefined && (requester === undefined || owner === requester.userId);
  return isRight ? undefined : threepidAuthFailed(401);
}
