import { forbidden, type MatrixError, wrongCredentials } from '#federation/errors.ts';
import { type JsonObject, stringAt } from '#keys/json.ts';
import type { ServerContext } from '../context.ts';
import { verifyAccount } from './accounts.ts';
import { identifiedUser } from './identifier.ts';
import type { Requester } from './requester.ts';

/**
 * Makes the requester confirm by password what the body asks for, as the password stage of user-interactive
 * authentication. Answers the session, to be finished when the request has succeeded.
 */
export async function confirmByPassword(
  ctx: ServerContext,
  body: JsonObject,
  { requester, action, address }: { requester: Requester; action: string; address: string },
): Promise<string> {
  const { session } = await ctx.interactiveAuth.require(body, {
    scope: `${action} ${requester.userId}`,
    flows: [['m.login.password']],
    check: (_, auth) => checkPassword(ctx, auth, { requester, address }),
  });
  return session;
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
