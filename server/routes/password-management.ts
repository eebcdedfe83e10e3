import type { FastifyInstance } from 'fastify';
import { notFound } from '#federation/errors.ts';
import type { UserId } from '#keys/ids.ts';
import * as devices from '#storage/devices.ts';
import * as emailValidations from '#storage/email-validations.ts';
import * as threepids from '#storage/threepids.ts';
import { setPassword, signOut } from '../auth/accounts.ts';
import { passwordChallenge, userToSetFor } from '../auth/password-challenge.ts';
import { checkNewPassword } from '../auth/password-policy.ts';
import { findRequester } from '../auth/requester.ts';
import { bodyObject, optionalBoolean, optionalString, requiredString } from '../body.ts';
import type { ServerContext } from '../context.ts';

/** https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3accountpassword */
export function passwordManagementRoutes(app: FastifyInstance, ctx: ServerContext): void {
  app.post('/_matrix/client/v3/account/password', async (request) => {
    const requester = await findRequester(ctx, request);
    const body = bodyObject(request);
    const wished = optionalString(body, 'new_password');
    if (wished !== undefined) checkNewPassword(wished, ctx.config);
    const logoutDevices = optionalBoolean(body, 'logout_devices') ?? true;
    const challenge = await passwordChallenge(ctx, { requester, address: request.ip });
    const { session, completed } = await ctx.interactiveAuth.require(body, challenge);
    const password = requiredString(body, 'new_password');
    const userId = await userToSetFor(ctx, completed, requester);
    if (!(await setPassword(ctx, userId, password))) throw notFound('No such account');
    await forgetResets(ctx, userId);
    if (logoutDevices) await signOutOthers(ctx, userId, requester?.deviceId);
    ctx.interactiveAuth.finish(session);
    return {};
  });
}

/** A letter from before leads to no other password. */
async function forgetResets(ctx: ServerContext, userId: UserId): Promise<void> {
  await ctx.db.write('emailValidations.clear', async (tx) => {
    for (const { address } of await threepids.ofUser(tx, userId)) await emailValidations.clear(tx, address);
  });
}

/** "Whether the user's other access tokens, and their associated devices, should be revoked" */
async function signOutOthers(ctx: ServerContext, userId: UserId, own: string | undefined): Promise<void> {
  const all = await devices.signedIn(ctx.db, userId);
  const others = all.filter((deviceId) => deviceId !== own);
  await signOut(ctx, userId, others);
}
