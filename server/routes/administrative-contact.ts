/** https://spec.matrix.org/v1.19/client-server-api/#adding-account-administrative-contact-information */

import type { FastifyInstance } from 'fastify';
import { invalidParam, serverNotTrusted } from '#federation/errors.ts';
import { type JsonObject, objectAt } from '#keys/json.ts';
import * as threepids from '#storage/threepids.ts';
import { confirmByPassword } from '../auth/confirm-password.ts';
import { type Requester, requireRequester } from '../auth/requester.ts';
import { bodyObject, requiredString } from '../body.ts';
import type { ServerContext } from '../context.ts';
import { addProved } from '../email/add-proved.ts';
import { canonicalEmail } from '../email/address.ts';
import { secretAt } from '../email/proof.ts';

const PATH = '/_matrix/client/v3/account/3pid';

/** The addresses of a user. Identity servers have no part in it: nothing is bound there, and nothing unbound. */
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
    const address = emailAt(bodyObject(request));
    if (address !== undefined) {
      const threepid = { medium: 'email', address };
      await ctx.db.write('threepids.remove', (tx) => threepids.remove(tx, userId, threepid));
    }
    return { id_server_unbind_result: 'no-support' };
  });

  app.post(`${PATH}/bind`, async (request) => {
    await requireRequester(ctx, request);
    const body = bodyObject(request);
    for (const key of ['client_secret', 'id_server', 'id_access_token', 'sid']) requiredString(body, key);
    throw serverNotTrusted('This server binds nothing at identity servers');
  });

  // "If the homeserver does not know the original `id_server`, it MUST return [...] `no-support`."
  app.post(`${PATH}/unbind`, async (request) => {
    await requireRequester(ctx, request);
    emailAt(bodyObject(request));
    return { id_server_unbind_result: 'no-support' };
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

/** The e-mail address that a body names; undefined for any other identifier, which no account here has. */
function emailAt(body: JsonObject): string | undefined {
  const medium = requiredString(body, 'medium');
  const address = requiredString(body, 'address');
  if (medium !== 'email' && medium !== 'msisdn') throw invalidParam('medium is neither "email" nor "msisdn"');
  return medium === 'email' ? canonicalEmail(address) : undefined;
}
