import { forbidden, type MatrixError, wrongCredentials } from '#federation/errors.ts';
import type { UserId } from '#keys/ids.ts';
import { type JsonObject, stringAt } from '#keys/json.ts';
import type { ServerContext } from '../context.ts';
import { refuseOAuthSession } from '../oauth/refuse-session.ts';
import { providersOf } from '../providers/sso-stage.ts';
import { isPasswordEnough } from '../second-factor/factors.ts';
import { canUsePassword, verifyAccount } from './accounts.ts';
import { identifiedUser } from './identifier.ts';
import type { Stage } from './interactive-auth.ts';
import type { Requester } from './requester.ts';

/**
 * Makes the requester confirm what the body asks for by user-interactive authentication: by password, or by the identity
 * provider that they sign in by. Answers the session, to be finished when the request has succeeded.
 */
export async function confirmByPassword(
  ctx: ServerContext,
  body: JsonObject,
  { requester, action, address }: { requester: Requester; action: string; address: string },
): Promise<string> {
  await refuseOAuthSession(ctx, requester);
  const { session } = await ctx.interactiveAuth.require(body, {
    scope: `${action} ${requester.userId}`,
    userId: requester.userId,
    flows: await flowsOf(ctx, requester.userId),
    check: async (stage, auth) =>
      stage === 'm.login.sso'
        ? wrongCredentials('Sign in on the page of this stage')
        : await checkPassword(ctx, auth, { requester, address }),
  });
  return session;
}

/**
 * A password where the user has one; single sign-on where a provider vouches for them. By single sign-on also those go who
 * sign in here with a second factor: no stage is for that, but their sign-in page asks for it.
 */
async function flowsOf(ctx: ServerContext, userId: UserId): Promise<readonly (readonly Stage[])[]> {
  const providers = await providersOf(ctx, userId);
  if (ctx.config.passwordLogin && !(await isPasswordEnough(ctx, userId))) return [['m.login.sso']];
  if (providers.length === 0) return [['m.login.password']];
  const hasPassword = await canUsePassword(ctx, userId);
  return hasPassword ? [['m.login.sso'], ['m.login.password']] : [['m.login.sso']];
}

/** The password stage: answers nothing for the password of the requester, else the refusal. */
export async function checkPassword(
  ctx: ServerContext,
  auth: JsonObject,
  { requester, address }: { requester: Requester; address: string },
): Promise<MatrixError | undefined> {
  ctx.limits.check('login_failed', address);
  const userId = await identifiedUser(ctx, auth);
  if (userId !== requester.userId) throw forbidden('Only the user of the access token can confirm this');
  const user = await verifyAccount(ctx, userId, stringAt(auth, 'password') ?? '');
  if (user !== undefined) return undefined;
  ctx.limits.take('login_failed', address);
  return wrongCredentials('Invalid password');
}
