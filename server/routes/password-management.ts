import type { FastifyInstance } from 'fastify';
import { notFound } from '#federation/errors.ts';
import { passwordChallenge, userToSetFor } from '../auth/password-challenge.ts';
import { checkNewPassword } from '../auth/password-policy.ts';
import { replacePassword } from '../auth/replace-password.ts';
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
    const change = { password, logoutDevices, ownDevice: requester?.deviceId };
    if (!(await replacePassword(ctx, userId, change))) throw notFound('No such account');
    ctx.interactiveAuth.finish(session);
    return {};
  });
}
