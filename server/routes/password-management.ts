import type { FastifyInstance } from 'fastify';
import { invalidParam, notFound } from '#federation/errors.ts';
import * as devices from '#storage/devices.ts';
import { faultOfPassword, setPassword, signOut } from '../auth/accounts.ts';
import { confirmByPassword } from '../auth/confirm-password.ts';
import { requireRequester } from '../auth/requester.ts';
import { bodyObject, optionalBoolean, requiredString } from '../body.ts';
import type { ServerContext } from '../context.ts';

/** https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3accountpassword */
export function passwordManagementRoutes(app: FastifyInstance, ctx: ServerContext): void {
  app.post('/_matrix/client/v3/account/password', async (request) => {
    const requester = await requireRequester(ctx, request);
    const { userId, deviceId } = requester;
    const body = bodyObject(request);
    const action = 'change the password of';
    const session = await confirmByPassword(ctx, body, { requester, action, address: request.ip });
    const password = requiredString(body, 'new_password');
    const fault = faultOfPassword(password);
    if (fault !== undefined) throw invalidParam(fault);
    const logoutDevices = optionalBoolean(body, 'logout_devices') ?? true;
    if (!(await setPassword(ctx, userId, password))) throw notFound('No such account');
    if (logoutDevices) {
      const all = await devices.signedIn(ctx.db, userId);
      await signOut(
        ctx,
        userId,
        all.filter((each) => each !== deviceId),
      );
    }
    ctx.interactiveAuth.finish(session);
    return {};
  });
}
