/** https://spec.matrix.org/v1.19/client-server-api/#login */

import type { FastifyInstance } from 'fastify';
import { forbidden, unknown, userDeactivated } from '#federation/errors.ts';
import type { UserId } from '#keys/ids.ts';
import type { JsonObject } from '#keys/json.ts';
import * as users from '#storage/users.ts';
import { localUserId, signIn, verifyAccount } from '../auth/accounts.ts';
import { userNamed } from '../auth/interactive-auth.ts';
import { checkDeviceId, signedInAnswer } from '../auth/sign-in.ts';
import { bodyObject, optionalString, requiredString } from '../body.ts';
import type { ServerContext } from '../context.ts';

/** `GET` and `POST /_matrix/client/v3/login`: by password only. */
export function loginRoutes(app: FastifyInstance, ctx: ServerContext): void {
  app.get('/_matrix/client/v3/login', async () => ({ flows: [{ type: 'm.login.password' }] }));

  app.post('/_matrix/client/v3/login', async (request) => {
    const body = bodyObject(request);
    const type = requiredString(body, 'type');
    if (type !== 'm.login.password') throw unknown(400, `Login type ${type} is not supported`);
    const deviceId = checkDeviceId(optionalString(body, 'device_id'));
    const displayName = optionalString(body, 'initial_device_display_name');
    const userId = await authenticate(ctx, body, request.ip);
    const session = await signIn(ctx, { userId, deviceId, displayName });
    return signedInAnswer(ctx, userId, session);
  });
}

/** Who signs in, if the password is right. What does not exist and what is wrong look the same. */
async function authenticate(ctx: ServerContext, body: JsonObject, address: string): Promise<UserId> {
  const userId = localUserId(userNamed(body), ctx.serverName);
  const password = requiredString(body, 'password');
  ctx.limits.check('login_failed', address);
  ctx.limits.take('login_address', address);
  if (userId !== undefined) ctx.limits.take('login_account', userId);
  const user = await verifyAccount(ctx, userId, password);
  if (user !== undefined) return user.userId;
  ctx.limits.take('login_failed', address);
  // That an account was deactivated is no secret: other servers are told.
  const known = userId && (await users.of(ctx.db, userId));
  if (known?.deactivatedTs !== undefined) throw userDeactivated();
  throw forbidden('Invalid user name or password');
}
