/** https://spec.matrix.org/v1.19/client-server-api/#adding-account-administrative-contact-information */

import type { FastifyInstance } from 'fastify';
import { MatrixError } from '#federation/errors.ts';
import { type JsonObject, objectAt } from '#keys/json.ts';
import * as threepids from '#storage/threepids.ts';
import { confirmByPassword } from '../auth/confirm-password.ts';
import { type Requester, requireRequester } from '../auth/requester.ts';
import { bodyObject, requiredString } from '../body.ts';
import type { ServerContext } from '../context.ts';
import { addProved } from '../email/add-proved.ts';
import { secretAt } from '../email/proof.ts';
import { addressIn } from '../identity/access.ts';
import { bindAddress, unbindAddress } from '../identity/bindings.ts';

const PATH = '/_matrix/client/v3/account/3pid';

/** The addresses of a user; and which of them identity servers know, where the operator allows one. */
export function administrativeContactRoutes(app: FastifyInstance, ctx: ServerContext): void {
  app.get(PATH, async (request) => {
    const { userId } = await requireRequester(ctx, request);
    const known = await threepids.ofUser(ctx.db, userId);
    return {
      threepids: known.map(({ medium, address, validatedTs, addedTs }) => ({
        medium,
        address,
        validated_at: validatedTs,
        added_at: addedTs,
      })),
    };
  });

  app.post(`${PATH}/add`, async (request) => {
    const requester = await requireRequester(ctx, request);
    const body = bodyObject(request);
    return await confirmAndAdd(ctx, body, { requester, credentials: body, address: request.ip });
  });

  // The deprecated form of the same. It too makes an address one by which the account can be recovered.
  app.post(PATH, async (request) => {
    const requester = await requireRequester(ctx, request);
    const body = bodyObject(request);
    const credentials = objectAt(body, 'three_pid_creds') ?? objectAt(body, 'threePidCreds') ?? {};
    return await confirmAndAdd(ctx, body, { requester, credentials, address: request.ip });
  });

  app.post(`${PATH}/delete`, async (request) => {
    const { userId } = await requireRequester(ctx, request);
    ctx.limits.take('account_data', userId);
    const body = bodyObject(request);
    const address = addressIn(body);
    await ctx.db.write('threepids.remove', (tx) => threepids.remove(tx, userId, address));
    // It is gone from the account, whatever an identity server says.
    const result = await unbindAddress(ctx, userId, address, body).catch((error: unknown) => {
      if (!(error instanceof MatrixError)) throw error;
      ctx.log.info({ err: error }, 'an identity server did not forget an address');
      return 'no-support' as const;
    });
    return { id_server_unbind_result: result };
  });

  app.post(`${PATH}/bind`, async (request) => {
    const { userId } = await requireRequester(ctx, request);
    const body = bodyObject(request);
    for (const key of ['client_secret', 'id_server', 'id_access_token', 'sid']) requiredString(body, key);
    ctx.limits.take('identity', userId);
    await bindAddress(ctx, userId, body);
    return {};
  });

  app.post(`${PATH}/unbind`, async (request) => {
    const { userId } = await requireRequester(ctx, request);
    const body = bodyObject(request);
    const address = addressIn(body);
    ctx.limits.take('identity', userId);
    return { id_server_unbind_result: await unbindAddress(ctx, userId, address, body) };
  });
}

async function confirmAndAdd(
  ctx: ServerContext,
  body: JsonObject,
  given: { readonly requester: Requester; readonly credentials: JsonObject; readonly address: string },
): Promise<JsonObject> {
  const { requester, credentials, address } = given;
  // What is wrong with the request is told before anybody is asked for a password.
  secretAt(credentials, 'sid');
  secretAt(credentials, 'client_secret');
  const action = 'add an address to';
  const session = await confirmByPassword(ctx, body, { requester, action, address });
  await addProved(ctx, requester.userId, credentials);
  ctx.interactiveAuth.finish(session);
  return {};
}
