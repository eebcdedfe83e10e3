import { forbidden, userDeactivated } from '#federation/errors.ts';
import type { UserId } from '#keys/ids.ts';
import * as users from '#storage/users.ts';
import type { ServerContext } from '../context.ts';
import { verifyAccount } from './accounts.ts';

/**
 * Who signs in, if the password is right: for `/login` and for the page. What does not exist and what is wrong look the
 * same. Throws `M_FORBIDDEN`, `M_USER_DEACTIVATED` or `M_LIMIT_EXCEEDED`.
 */
export async function userByPassword(
  ctx: Pick<ServerContext, 'db' | 'limits'>,
  userId: UserId | undefined,
  { password, address }: { readonly password: string; readonly address: string },
): Promise<users.User> {
  ctx.limits.check('login_failed', address);
  ctx.limits.take('login_address', address);
  if (userId !== undefined) ctx.limits.take('login_account', userId);
  const user = await verifyAccount(ctx, userId, password);
  if (user !== undefined) return user;
  ctx.limits.take('login_failed', address);
  // That an account was deactivated is no secret: other servers are told.
  const known = userId && (await users.of(ctx.db, userId));
  if (known?.deactivatedTs !== undefined) throw userDeactivated();
  throw forbidden('Invalid user name or password');
}
